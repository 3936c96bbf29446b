#!/usr/bin/env bash
# Shapes: a few coloured shapes, six kinds of questions, and a small model that really sees. Score: exact match.
# Nothing to fetch: questions, pictures and model are in playground/shapes. QUESTIONS and ANSWERS name other files of
# the same form, for example a part of the questions.
shapes=playground/shapes
CKPT="${CKPT:-$shapes/llava-shapes}"
MAX_NEW_TOKENS="${MAX_NEW_TOKENS:-8}"
BATCH_SIZE="${BATCH_SIZE:-64}"
source "$(dirname "$0")/common.sh"
answers="$DATA/shapes/answers/$NAME.jsonl"
questions="${QUESTIONS:-$shapes/questions.jsonl}"

answer model_vqa_loader "$answers" --question-file "$questions" --image-folder "$shapes/images"
score shapes "$answers" "$PYTHON" -m llava.eval.eval_shapes --question-file "$questions" \
    --annotation-file "${ANSWERS:-$shapes/answers.jsonl}" --result-file "$answers"
