#!/usr/bin/env bash
# GQA testdev-balanced: one word per question, exact match. Score: accuracy.
source "$(dirname "$0")/common.sh"
folder="$DATA/gqa" split="${SPLIT:-llava_gqa_testdev_balanced}"
answers="$folder/answers/$split/$NAME/merge.jsonl"
predictions="$folder/answers/$split/$NAME/testdev_balanced_predictions.json"

answer model_vqa_loader "$answers" --question-file "$folder/$split.jsonl" --image-folder "$folder/data/images"
"$PYTHON" "$scripts/convert_gqa_for_eval.py" --src "$answers" --dst "$predictions"
score gqa "$answers" "$PYTHON" -m llava.eval.eval_gqa --predictions "$predictions" \
    --questions "$folder/data/testdev_balanced_questions.json"
