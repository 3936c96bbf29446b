#!/usr/bin/env bash
# VQAv2 test-dev: soft accuracy of ten annotators, scored by the server. Ends in the upload file.
source "$(dirname "$0")/common.sh"
folder="$DATA/vqav2" split="${SPLIT:-llava_vqav2_mscoco_test-dev2015}"
answers="$folder/answers/$split/$NAME/merge.jsonl"

answer model_vqa_loader "$answers" --question-file "$folder/$split.jsonl" --image-folder "$folder/test2015"
"$PYTHON" "$scripts/convert_vqav2_for_submission.py" --dir "$folder" --split "$split" --ckpt "$NAME"
upload vqav2 "$answers" "$folder/answers_upload/$split/$NAME.json" \
    "https://eval.ai/web/challenges/challenge-page/830 (test-dev)"
