#!/usr/bin/env bash
# MMBench: multiple choice, asked with its options in every order. A table with answers is scored here; a workbook for
# other tools is written too. Score: circular accuracy. The Chinese script gives its language as first argument.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
benchmark=mmbench table=mmbench_dev_20230712 language=en
if [ "${1:-}" = cn ]; then shift && benchmark=mmbench_cn table=mmbench_dev_cn_20231003 language=cn; fi
. "$here/common.sh"
folder="$DATA/$benchmark" split="${SPLIT:-$table}"
answers="$folder/answers/$split/$NAME.jsonl"
labels=(--annotation-file "$folder/$split.tsv")
# MMBench's server scored the first dev table by the questions and letters of the later one, which has several names.
for later in MMBench_DEV_EN_legacy mmbench_dev_20231003 mmbench_dev_en_20231003; do
    later="$folder/$later.tsv"
    if [[ "$split" == mmbench_dev_20230712 && -f "$later" ]]; then labels=(--annotation-file "$later" --as-server); fi
done
scorer=("$PYTHON" -m llava.eval.eval_mmbench --benchmark "$benchmark" "${labels[@]}" --result-file "$answers")
writer=("$PYTHON" "$scripts/convert_mmbench_for_submission.py" --annotation-file "$folder/$split.tsv"
    --result-dir "$folder/answers/$split" --upload-dir "$folder/answers_upload/$split" --experiment "$NAME")

scored=1 written=1
can "${scorer[@]}" || scored=0
unscored="$reason"
can "${writer[@]}" || written=0
((scored || written)) || fail "$unscored"
((scored)) || echo "it will not be scored here: $unscored" >&2
((written)) || echo "no workbook will be written: $reason" >&2
answer model_vqa_mmbench "$answers" --question-file "$folder/$split.tsv" --single-pred-prompt --lang "$language"
if ((scored)); then score "$benchmark" "$answers" "${scorer[@]}"; fi
if ((written)); then
    run "${writer[@]}"
    echo "to be read by other tools (MMBench's server closed on 31 March 2026):" \
        "$folder/answers_upload/$split/$NAME.xlsx"
fi
if ((!scored)); then echo "not scored: this table has no answers; docs/evaluation.md says where there are some"; fi
