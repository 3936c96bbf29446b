#!/usr/bin/env bash
# GQA testdev-balanced: one word per question, exact match. Score: accuracy.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
. "$here/common.sh"
folder="$DATA/gqa" split="${SPLIT:-llava_gqa_testdev_balanced}"
answers="$folder/answers/$split/$NAME/merge.jsonl"
predictions="$folder/answers/$split/$NAME/testdev_balanced_predictions.json"
scorer=("$PYTHON" -m llava.eval.eval_gqa --predictions "$predictions"
    --questions "$folder/data/testdev_balanced_questions.json")

run "${scorer[@]}" --check
answer model_vqa_loader "$answers" --question-file "$folder/$split.jsonl" --image-folder "$folder/data/images"
run "$PYTHON" "$scripts/convert_gqa_for_eval.py" --src "$answers" --dst "$predictions"
score gqa "$answers" "${scorer[@]}"
