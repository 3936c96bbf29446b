#!/usr/bin/env bash
# MMBench: multiple choice, asked with its options in every order. Ends in the upload file; a split with answers
# (dev) is scored here too. Score: circular accuracy. The Chinese script gives its own name, table and language.
source "$(dirname "$0")/common.sh"
benchmark="${1:-mmbench}" split="${SPLIT:-${2:-mmbench_dev_20230712}}"
folder="$DATA/$benchmark"
answers="$folder/answers/$split/$NAME.jsonl"

answer model_vqa_mmbench "$answers" --question-file "$folder/$split.tsv" --single-pred-prompt --lang "${3:-en}"
"$PYTHON" "$scripts/convert_mmbench_for_submission.py" --annotation-file "$folder/$split.tsv" \
    --result-dir "$folder/answers/$split" --upload-dir "$folder/answers_upload/$split" --experiment "$NAME"
upload "$benchmark" "$answers" "$folder/answers_upload/$split/$NAME.xlsx" \
    "https://mmbench.opencompass.org.cn/mmbench-submission"
if [[ "$split" == *dev* || "$split" == *DEV* ]]; then
    score "$benchmark" "$answers" "$PYTHON" -m llava.eval.eval_mmbench --benchmark "$benchmark" \
        --annotation-file "$folder/$split.tsv" --result-file "$answers"
fi
