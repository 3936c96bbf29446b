#!/usr/bin/env bash
# Shapes: a few coloured shapes and six kinds of questions, for the small model that ships with the repository. Score:
# exact match. Nothing to fetch: questions and pictures are in playground/shapes, and CKPT is the model there by default.
# QUESTIONS and ANSWERS name other files of the same form, for example a part of the questions.
shapes=playground/shapes
if [[ -z "${CKPT:-}" && ! -d $shapes/llava-shapes ]]; then
    echo "error: no CKPT and no $shapes/llava-shapes; run this in the repository, or set CKPT to a checkpoint" >&2
    exit 2
fi
CKPT="${CKPT:-$shapes/llava-shapes}"
MAX_NEW_TOKENS="${MAX_NEW_TOKENS:-8}"
BATCH_SIZE="${BATCH_SIZE:-64}"
source "$(dirname "$0")/common.sh"
answers="$DATA/shapes/answers/$NAME.jsonl"
questions="${QUESTIONS:-$shapes/questions.jsonl}"

answer model_vqa_loader "$answers" --question-file "$questions" --image-folder "$shapes/images"
score shapes "$answers" "$PYTHON" -m llava.eval.eval_shapes --question-file "$questions" \
    --annotation-file "${ANSWERS:-$shapes/answers.jsonl}" --result-file "$answers"
