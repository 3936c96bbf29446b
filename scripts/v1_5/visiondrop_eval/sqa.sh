#!/usr/bin/env bash
# ScienceQA test: multiple choice, with and without picture. Score: accuracy on the questions with a picture.
source "$(dirname "$0")/common.sh"
folder="$DATA/scienceqa"
answers="$folder/answers/$NAME.jsonl"

answer model_vqa_science "$answers" --question-file "$folder/llava_test_CQM-A.json" \
    --image-folder "$folder/images/test" --single-pred-prompt
score sqa "$answers" "$PYTHON" -m llava.eval.eval_science_qa --base-dir "$folder" --result-file "$answers" \
    --output-file "$folder/answers/${NAME}_output.jsonl" --output-result "$folder/answers/${NAME}_result.json"
