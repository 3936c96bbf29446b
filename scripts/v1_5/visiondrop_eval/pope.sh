#!/usr/bin/env bash
# POPE (COCO): is there a ... in the image? Score: the mean of three F1.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
. "$here/common.sh"
folder="$DATA/pope"
answers="$folder/answers/$NAME.jsonl"
scorer=("$PYTHON" -m llava.eval.eval_pope --annotation-dir "$folder/coco"
    --question-file "$folder/llava_pope_test.jsonl" --result-file "$answers")

run "${scorer[@]}" --check
answer model_vqa_loader "$answers" --question-file "$folder/llava_pope_test.jsonl" --image-folder "$folder/val2014"
score pope "$answers" "${scorer[@]}"
