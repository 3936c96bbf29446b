#!/usr/bin/env bash
# MME: two yes-or-no questions per picture, 14 subtasks. Score: perception and cognition together.
source "$(dirname "$0")/common.sh"
folder="$DATA/MME"
answers="$folder/answers/$NAME.jsonl"

answer model_vqa_loader "$answers" --question-file "$folder/llava_mme.jsonl" \
    --image-folder "$folder/MME_Benchmark_release_version"
score mme "$answers" "$PYTHON" -m llava.eval.eval_mme --result-file "$answers" \
    --data "$folder/MME_Benchmark_release_version" --output-dir "$folder/eval_tool/answers/$NAME"
