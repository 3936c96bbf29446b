#!/usr/bin/env bash
# SEED-Bench: multiple choice about pictures and video frames. Score: accuracy over both; an upload
# file too.
source "$(dirname "$0")/common.sh"
folder="$DATA/seed_bench"
answers="$folder/answers/$NAME/merge.jsonl"

answer model_vqa_loader "$answers" --question-file "$folder/llava-seed-bench.jsonl" --image-folder "$folder"
"$PYTHON" "$scripts/convert_seed_for_submission.py" --annotation-file "$folder/SEED-Bench.json" \
    --result-file "$answers" --result-upload-file "$folder/answers_upload/$NAME.jsonl"
score seed "$answers" "$PYTHON" -m llava.eval.eval_seed --annotation-file "$folder/SEED-Bench.json" \
    --result-file "$answers"
