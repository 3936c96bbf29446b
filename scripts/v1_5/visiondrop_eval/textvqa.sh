#!/usr/bin/env bash
# TextVQA val, with OCR tokens in the prompt as LLaVA-1.5's numbers have it. Score: soft accuracy.
source "$(dirname "$0")/common.sh"
folder="$DATA/textvqa" split="${SPLIT:-llava_textvqa_val_v051_ocr}"
answers="$folder/answers/$NAME.jsonl"

answer model_vqa_loader "$answers" --question-file "$folder/$split.jsonl" --image-folder "$folder/train_images"
score textvqa "$answers" "$PYTHON" -m llava.eval.eval_textvqa --result-file "$answers" \
    --annotation-file "$folder/TextVQA_0.5.1_val.json"
