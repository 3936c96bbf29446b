#!/usr/bin/env bash
# LLaVA-Bench in the wild: open answers, compared with GPT-4's by GPT-4. Ends in the file to be graded.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
. "$here/common.sh"
folder="$DATA/llava-bench-in-the-wild"
answers="$folder/answers/$NAME.jsonl"

answer model_vqa "$answers" --question-file "$folder/questions.jsonl" --image-folder "$folder/images"
echo "to be graded by GPT-4: $answers, with context.jsonl and answers_gpt4.jsonl of the dataset"
