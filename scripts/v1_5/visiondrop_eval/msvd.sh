#!/usr/bin/env bash
# MSVD-QA: open questions about short clips. Score: exact match; ends in the file for the usual grading by GPT.
# NUM_FRAMES: frames of a video that are looked at (8).
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
. "$here/common.sh"
folder="$DATA/GPT_Zero_Shot_QA/MSVD_Zero_Shot_QA" split="${SPLIT:-llava_msvd_qa}"
answers="$folder/answers/$NAME/merge.jsonl"
scorer=("$PYTHON" -m llava.eval.eval_videoqa --dataset msvd --questions "$folder/test_q.json"
    --answers "$folder/test_a.json" --result-file "$answers" --gpt-file "$folder/answers/$NAME/gpt.jsonl")

run "${scorer[@]}" --check
answer model_vqa_loader "$answers" --question-file "$folder/$split.jsonl" --image-folder "$folder/videos" \
    --num-frames "${NUM_FRAMES:-8}"
score msvd "$answers" "${scorer[@]}"
