#!/usr/bin/env bash
# ScienceQA test: multiple choice, with and without picture. Score: accuracy on the questions with a picture.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
. "$here/common.sh"
folder="$DATA/scienceqa"
answers="$folder/answers/$NAME.jsonl"
scorer=("$PYTHON" -m llava.eval.eval_science_qa --base-dir "$folder" --result-file "$answers"
    --output-file "$folder/answers/${NAME}_output.jsonl" --output-result "$folder/answers/${NAME}_result.json")

run "${scorer[@]}" --check
answer model_vqa_science "$answers" --question-file "$folder/llava_test_CQM-A.json" \
    --image-folder "$folder/images/test" --single-pred-prompt
score sqa "$answers" "${scorer[@]}"
