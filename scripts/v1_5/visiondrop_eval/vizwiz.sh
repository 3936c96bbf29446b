#!/usr/bin/env bash
# VizWiz test: soft accuracy of ten annotators, scored by the organisers. Ends in the upload file.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
. "$here/common.sh"
folder="$DATA/vizwiz" split="${SPLIT:-llava_test}"
answers="$folder/answers/$NAME.jsonl"
writer=("$PYTHON" "$scripts/convert_vizwiz_for_submission.py" --annotation-file "$folder/$split.jsonl"
    --result-file "$answers" --result-upload-file "$folder/answers_upload/$NAME.json")

run "${writer[@]}" --check
answer model_vqa_loader "$answers" --question-file "$folder/$split.jsonl" --image-folder "$folder/test"
run "${writer[@]}"
upload vizwiz "$answers" "$folder/answers_upload/$NAME.json" \
    "https://eval.ai/web/challenges/challenge-page/2185 (closed in December 2025 as users report: send it by e-mail)"
