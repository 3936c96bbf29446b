#!/usr/bin/env bash
# VizWiz test: soft accuracy of ten annotators, scored by the server. Ends in the upload file.
source "$(dirname "$0")/common.sh"
folder="$DATA/vizwiz" split="${SPLIT:-llava_test}"
answers="$folder/answers/$NAME.jsonl"

answer model_vqa_loader "$answers" --question-file "$folder/$split.jsonl" --image-folder "$folder/test"
"$PYTHON" "$scripts/convert_vizwiz_for_submission.py" --annotation-file "$folder/$split.jsonl" \
    --result-file "$answers" --result-upload-file "$folder/answers_upload/$NAME.json"
upload vizwiz "$answers" "$folder/answers_upload/$NAME.json" \
    "https://eval.ai/web/challenges/challenge-page/2185"
