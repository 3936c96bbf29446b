#!/usr/bin/env bash
# MME: two yes-or-no questions per picture, 14 subtasks. Score: perception and cognition together.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
. "$here/common.sh"
folder="$DATA/MME"
answers="$folder/answers/$NAME.jsonl"
scorer=("$PYTHON" -m llava.eval.eval_mme --result-file "$answers" --question-file "$folder/llava_mme.jsonl"
    --data "$folder/MME_Benchmark_release_version" --output-dir "$folder/eval_tool/answers/$NAME")

run "${scorer[@]}" --check
answer model_vqa_loader "$answers" --question-file "$folder/llava_mme.jsonl" \
    --image-folder "$folder/MME_Benchmark_release_version"
score mme "$answers" "${scorer[@]}"
