#!/usr/bin/env bash
# LLaVA-Bench in the wild: open answers, compared with GPT-4's by GPT-4. Ends in the file to be graded.
source "$(dirname "$0")/common.sh"
folder="$DATA/llava-bench-in-the-wild"
answers="$folder/answers/$NAME.jsonl"

answer model_vqa "$answers" --question-file "$folder/questions.jsonl" --image-folder "$folder/images"
echo "to be graded by GPT-4: $answers, with context.jsonl and answers_gpt4.jsonl of the dataset"
