#!/usr/bin/env bash
# VQAv2 test-dev: soft accuracy of ten annotators, scored by the server. Ends in the upload file.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
. "$here/common.sh"
folder="$DATA/vqav2" split="${SPLIT:-llava_vqav2_mscoco_test-dev2015}"
answers="$folder/answers/$split/$NAME/merge.jsonl"
writer=("$PYTHON" "$scripts/convert_vqav2_for_submission.py" --dir "$folder" --split "$split" --ckpt "$NAME")

run "${writer[@]}" --check
answer model_vqa_loader "$answers" --question-file "$folder/$split.jsonl" --image-folder "$folder/test2015"
run "${writer[@]}"
upload vqav2 "$answers" "$folder/answers_upload/$split/$NAME.json" \
    "https://eval.ai/web/challenges/challenge-page/830 (test-dev)"
