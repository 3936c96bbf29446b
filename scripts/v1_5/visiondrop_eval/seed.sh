#!/usr/bin/env bash
# SEED-Bench: multiple choice about pictures and video frames. Score: accuracy over both, or over the pictures where
# the questions are about these alone; an upload file too.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
. "$here/common.sh"
folder="$DATA/seed_bench"
answers="$folder/answers/$NAME/merge.jsonl"
scorer=("$PYTHON" -m llava.eval.eval_seed --annotation-file "$folder/SEED-Bench.json" --result-file "$answers")

run "${scorer[@]}" --check
answer model_vqa_loader "$answers" --question-file "$folder/llava-seed-bench.jsonl" --image-folder "$folder"
score seed "$answers" "${scorer[@]}"
run "$PYTHON" "$scripts/convert_seed_for_submission.py" --annotation-file "$folder/SEED-Bench.json" \
    --result-file "$answers" --result-upload-file "$folder/answers_upload/$NAME.jsonl" >/dev/null
echo "for the leaderboard: $folder/answers_upload/$NAME.jsonl"
