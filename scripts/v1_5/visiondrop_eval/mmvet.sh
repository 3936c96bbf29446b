#!/usr/bin/env bash
# MM-Vet: open answers, graded by GPT-4. Ends in the file to be graded; nothing is sent anywhere.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
. "$here/common.sh"
folder="$DATA/mm-vet"
answers="$folder/answers/$NAME.jsonl"

answer model_vqa "$answers" --question-file "$folder/llava-mm-vet.jsonl" --image-folder "$folder/images"
run "$PYTHON" "$scripts/convert_mmvet_for_eval.py" --src "$answers" --dst "$folder/results/$NAME.json" \
    --question-file "$folder/llava-mm-vet.jsonl"
echo "to be graded by GPT-4: give $folder/results/$NAME.json to https://huggingface.co/spaces/whyu/MM-Vet_Evaluator"
