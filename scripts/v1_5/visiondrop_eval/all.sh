#!/usr/bin/env bash
# Every benchmark whose data is there; the others are named. One that fails does not stop the next.
#   CKPT=path/to/llava-v1.5-7b bash scripts/v1_5/visiondrop_eval/all.sh [BENCHMARK...]
# Settings as in common.sh, without SPLIT.
set -uo pipefail
unset SPLIT # names a file of one benchmark
here="$(dirname "$0")"
names=("$@")
((${#names[@]} > 0)) || names=(gqa mmbench mmbench_cn mme pope sqa textvqa vizwiz vqav2 seed mmvet llavabench)
finished=() skipped=() failed=()
for name in "${names[@]}"; do
    "${PYTHON:-python}" -m llava.eval.prepare "$name" --data "${DATA:-playground/data/eval}"
    case $? in
    0) bash "$here/$name.sh" && finished+=("$name") || failed+=("$name") ;;
    1) skipped+=("$name") ;;
    *) failed+=("$name") ;;
    esac
done
echo "run: ${finished[*]:-none}"
echo "skipped, data incomplete: ${skipped[*]:-none}"
echo "failed: ${failed[*]:-none}"
((${#failed[@]} == 0))
