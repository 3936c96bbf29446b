#!/usr/bin/env bash
# Every benchmark whose data is there; the others are named. One that fails does not stop the next.
#   CKPT=path/to/llava-v1.5-7b bash scripts/v1_5/visiondrop_eval/all.sh [BENCHMARK...]
# Settings as in common.sh, without SPLIT. Ends with 0 when at least one was run and none failed.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_5/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
set -uo pipefail
unset SPLIT # names a file of one benchmark
names=("$@")
((${#names[@]} > 0)) || names=(gqa mmbench mmbench_cn mme pope sqa textvqa vizwiz vqav2 seed mmvet llavabench
    msvd msrvtt tgif activitynet)
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
((${#failed[@]} == 0 && ${#finished[@]} > 0))
