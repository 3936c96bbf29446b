#!/usr/bin/env bash
# POPE (COCO): is there a ... in the image? Score: the mean of three F1.
source "$(dirname "$0")/common.sh"
folder="$DATA/pope"
answers="$folder/answers/$NAME.jsonl"

answer model_vqa_loader "$answers" --question-file "$folder/llava_pope_test.jsonl" --image-folder "$folder/val2014"
score pope "$answers" "$PYTHON" -m llava.eval.eval_pope --annotation-dir "$folder/coco" \
    --question-file "$folder/llava_pope_test.jsonl" --result-file "$answers"
