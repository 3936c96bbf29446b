#!/usr/bin/env bash
# TextVQA val, with OCR tokens in the prompt as LLaVA-1.5's numbers have it. Score: soft accuracy.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
. "$here/common.sh"
folder="$DATA/textvqa" split="${SPLIT:-llava_textvqa_val_v051_ocr}"
answers="$folder/answers/$NAME.jsonl"
scorer=("$PYTHON" -m llava.eval.eval_textvqa --result-file "$answers"
    --annotation-file "$folder/TextVQA_0.5.1_val.json")

run "${scorer[@]}" --check
answer model_vqa_loader "$answers" --question-file "$folder/$split.jsonl" --image-folder "$folder/train_images"
score textvqa "$answers" "${scorer[@]}"
