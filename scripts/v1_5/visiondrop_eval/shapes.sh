#!/usr/bin/env bash
# Shapes: a few coloured shapes and six kinds of questions, for the small model that ships with the repository. Score:
# exact match. Nothing to fetch: questions and pictures are in playground/shapes, CKPT is the model there by default.
# QUESTIONS and ANSWERS name other files of the same form, for example a part of the questions.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
shapes=playground/shapes
if [[ -z "${CKPT:-}" && ! -d $shapes/llava-shapes ]]; then
    echo "error: no CKPT and no $shapes/llava-shapes; run this in the repository, or set CKPT to a checkpoint" >&2
    exit 2
fi
CKPT="${CKPT:-$shapes/llava-shapes}"
MAX_NEW_TOKENS="${MAX_NEW_TOKENS:-8}"
BATCH_SIZE="${BATCH_SIZE:-64}"
. "$here/common.sh"
answers="$DATA/shapes/answers/$NAME.jsonl"
questions="${QUESTIONS:-$shapes/questions.jsonl}"
scorer=("$PYTHON" -m llava.eval.eval_shapes --question-file "$questions"
    --annotation-file "${ANSWERS:-$shapes/answers.jsonl}" --result-file "$answers")

run "${scorer[@]}" --check
answer model_vqa_loader "$answers" --question-file "$questions" --image-folder "$shapes/images"
score shapes "$answers" "${scorer[@]}"
