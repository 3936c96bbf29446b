# shellcheck shell=bash
# Sourced by every benchmark script: settings from the environment, one process per GPU, one merged answers file.
# Needs bash 4.4 or later. What is written behind a script's name is handed on to the runner (`pope.sh --show 3`).
#
#   CKPT            checkpoint, a folder or a hub id (required)
#   DATA            folder of benchmark data                      playground/data/eval
#   METHOD          any method of docs/methods.md, or none        visiondrop
#   RETAIN          average image tokens per LLM layer            32
#   PRESET          paper-192, paper-128, paper-64 or paper-32: the settings published for that budget, instead of
#                   RETAIN; for Qwen-VL and InternVL one of METHOD in docs/hf.md, such as "visiondrop 11.1%"
#   DOMINANT CONTEXTUAL LAYER_LIST IMAGE_TOKEN_LIST IMAGE_TOKEN_RATIO_LIST KEEP
#                   a schedule of your own, instead of RETAIN
#   SEED            of the method random                          0
#   SPLIT           question file without its ending, where a benchmark has several; each script has its default
#   CONV_MODE       conversation template                         vicuna_v1, or the checkpoint's chat template
#   BATCH_SIZE      questions answered together                   1
#   MAX_NEW_TOKENS  length limit of an answer                     the runner's
#   MODEL_BASE      base of a LoRA or projector-only checkpoint
#   DEVICE          auto, cuda, mps or cpu                        auto
#   CHUNKS          processes on this machine                     number of GPUs in CUDA_VISIBLE_DEVICES, or 1
#   OVERWRITE       1: answer again what has been answered
#   NAME            stem of the files that are written            <checkpoint>_<method>_<budget>
#   PYTHON          interpreter                                   python
#
# Under torchrun, accelerate launch or srun every task runs one chunk (RANK of WORLD_SIZE); task 0 merges and scores.
set -euo pipefail

scripts="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)" # the folder of the converters
example=llava-v1.5-7b
. "$scripts/evaluation_head.sh"
DATA="${DATA:-playground/data/eval}"
METHOD="${METHOD:-visiondrop}"
PYTHON="${PYTHON:-python}"
extra=("$@")

# number SETTING LOWEST DEFAULT: a setting, known to be a plain number. Bash runs commands that hide in others when it
# calculates, and takes those with a leading zero as octal.
number() {
    local LC_ALL=C value="${!1:-$3}"
    if ! [[ "$value" =~ ^(0|[1-9][0-9]{0,4})$ ]] || ((value < $2)); then
        fail "$1 must be a whole number from $2 to 99999, without leading zeros: got $(printf '%.100q' "$value")"
    fi
    echo "$value"
}

# name SETTING VALUE: refuse what is no name of a file in the folder where it is to lie.
name() {
    local LC_ALL=C
    if [[ ! "$2" =~ ^[^./-][^/]*$ || "$2" == *[[:cntrl:]]* ]]; then
        fail "$1 must be the name of a file, without a slash and without . or - in front: got $(printf '%.100q' "$2")"
    fi
}

# torchrun and accelerate say who this is by RANK and WORLD_SIZE, srun by the numbers of its step: a batch script that
# calls this without srun is one task, whatever it asked for.
if [[ -n "${RANK:-}${WORLD_SIZE:-}" ]]; then
    rank="$(number RANK 0 0)"
    world="$(number WORLD_SIZE 1 1)"
    local_rank="$(number LOCAL_RANK 0 0)"
    [[ -n "${RANK:-}" ]] || ((world == 1)) || fail "RANK must say which of WORLD_SIZE=$world processes this is: unset"
else
    rank="$(number SLURM_PROCID 0 0)"
    world="$(number SLURM_STEP_NUM_TASKS 1 1)"
    [[ -n "${LOCAL_RANK:-}" ]] && place=LOCAL_RANK || place=SLURM_LOCALID
    local_rank="$(number "$place" 0 0)"
fi
((rank < world)) ||
    fail "RANK (SLURM_PROCID) must be below WORLD_SIZE (SLURM_STEP_NUM_TASKS): got $rank of $world; set both or neither"
# torchrun leaves the choice of GPU to its processes; srun and a person make it in CUDA_VISIBLE_DEVICES.
IFS=',' read -ra gpus <<<"${CUDA_VISIBLE_DEVICES-${LOCAL_RANK-}}"
chunks="$(number CHUNKS 1 "$((${#gpus[@]} > 0 ? ${#gpus[@]} : 1))")"
began="$(date +%s)"

schedule=()
budget=""
for flag in dominant contextual layer_list image_token_list image_token_ratio_list keep; do
    setting="${flag^^}"
    if [[ -n "${!setting:-}" ]]; then
        schedule+=("--$flag" "${!setting}")
        budget+="_$(tr -cs '0-9.\n' '-' <<<"${!setting}" | sed 's/^-//; s/-$//')"
    fi
done
if [[ "$METHOD" != none && -n "${PRESET:-}" ]]; then
    schedule+=(--preset "$PRESET")
    budget+="_${PRESET// /-}"
fi
if [[ "$METHOD" != none && (-n "${RETAIN:-}" || -z "$budget") ]]; then
    RETAIN="${RETAIN:-${DEFAULT_RETAIN:-32}}" # scripts/v1_6 has defaults of its own
    schedule+=(--retain "$RETAIN")
    budget="_$RETAIN"
fi
template=(--conv-mode "${CONV_MODE:-${DEFAULT_CONV_MODE:-}}")
[[ -n "${template[1]}" ]] || template=(--usual-conv-mode vicuna_v1) # a checkpoint's chat template goes before it
flags=(--model-path "$CKPT" "${template[@]}" --temperature 0
    --method "$METHOD" "${schedule[@]}" --batch-size "${BATCH_SIZE:-1}" --device "${DEVICE:-auto}")
[[ -z "${MODEL_BASE:-}" ]] || flags+=(--model-base "$MODEL_BASE")
[[ -z "${MAX_NEW_TOKENS:-}" ]] || flags+=(--max_new_tokens "$MAX_NEW_TOKENS")
[[ -z "${SEED:-}" ]] || flags+=(--seed "$SEED")
[[ "${OVERWRITE:-0}" == 0 ]] || flags+=(--overwrite)
# Chunks that use one device together take each its part of the memory that is free.
devices="$((${#gpus[@]} > 0 ? ${#gpus[@]} : 1))"
((world > 1)) || flags+=(--device-share "$(((chunks + devices - 1) / devices))")
checkpoint="$(basename -- "$CKPT")"
[[ "$checkpoint" != checkpoint-* ]] || checkpoint="$(basename -- "$(dirname -- "$CKPT")")_$checkpoint"
NAME="${NAME:-${checkpoint}_$METHOD$budget${SEED:+_seed$SEED}}"
name NAME "$NAME"
[[ -z "${SPLIT:-}" ]] || name SPLIT "$SPLIT"

# A process that this script starts hears when the script is killed, where the system can tell it (Linux).
bound=(setpriv --pdeathsig TERM)
"${bound[@]}" true 2>/dev/null || bound=()

# run COMMAND...: it runs behind this script, which waits: bash hears only then, at once, that it is to stop.
run() {
    "${bound[@]}" "$@" &
    wait "$!"
}

# stop: end what still runs, asked first, after five seconds without asking.
stop() {
    local -a left
    mapfile -t left <<<"$(jobs -pr)"
    [[ -n "${left[0]}" ]] || return 0
    kill "${left[@]}" 2>/dev/null || true
    for _ in {1..50}; do
        [[ -n "$(jobs -pr)" ]] || return 0
        sleep 0.1
    done
    kill -9 "${left[@]}" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# can COMMAND...: whether a command finds what it needs besides the answers, before hours are spent on them; else
# `reason` says why not.
can() {
    reason="$("$@" --check 2>&1)" || { reason="${reason#error: }" && return 1; }
}

# answer RUNNER MERGED FLAGS...: ask all questions, in chunks, and put the answers into MERGED.
answer() {
    local runner="$1" merged="$2" parts="$chunks" index code failed=0
    local -a command pieces=() mine=() running=()
    shift 2
    if ((world > 1)); then parts="$world"; fi
    mkdir -p -- "${merged%.jsonl}.chunks"
    for ((index = 0; index < parts; index++)); do
        pieces+=("${merged%.jsonl}.chunks/${parts}_$index.jsonl")
        ((world == 1 || index == rank)) || continue
        command=("$PYTHON" -m "llava.eval.$runner" "${flags[@]}" "$@" "${extra[@]}"
            --answers-file "${pieces[index]}" --num-chunks "$parts" --chunk-idx "$index")
        if ((${#gpus[@]} > 0)); then
            command=(env "CUDA_VISIBLE_DEVICES=${gpus[(world > 1 ? local_rank : index) % ${#gpus[@]}]}" "${command[@]}")
        fi
        if ((parts == 1)); then
            run "${command[@]}"
        else
            echo "chunk $index of $parts: progress in ${pieces[index]}.log"
            "${bound[@]}" "${command[@]}" >"${pieces[index]}.log" 2>&1 &
            running+=("$!")
            mine+=("${pieces[index]}")
        fi
    done
    for index in "${!running[@]}"; do
        code=0
        wait "${running[index]}" || code=$?
        ((code == 0)) || { failed=1 && report_failure "$code" "${mine[index]}"; }
    done
    ((failed == 0)) || exit 1
    if ((rank > 0)); then exit 0; fi
    run "$PYTHON" -m llava.eval.merge --answers-file "$merged" --wait "$((world > 1 ? 604800 : 0))" --since "$began" \
        "${pieces[@]}"
}

# report_failure CODE PIECE: say which chunk failed and its last words; in a file too, for task 0 on another machine.
report_failure() {
    local last
    last="$(tr '\r' '\n' <"$2.log" | grep -v '^ *$' | tail -n 1 || true)"
    echo "error: a chunk failed with exit code $1, see $2.log: $last" | tee "$2.failed" >&2
}

# score BENCHMARK ANSWERS COMMAND...: run a scorer, show what it prints and keep it, with its last line for the report.
score() {
    local answers="$2" output="$DATA/results/$NAME/$1" code=0
    shift 2
    mkdir -p -- "$(dirname -- "$output")"
    run "$@" >"$output.txt" || code=$?
    cat -- "$output.txt"
    ((code == 0)) || exit "$code"
    run "$PYTHON" -m llava.eval.record --scores "$output.txt" --answers-file "$answers" --output "$output.json"
}

# upload BENCHMARK ANSWERS FILE WHERE: the last word of a benchmark that a server scores.
upload() {
    echo "to be scored by its server: upload $3 to $4"
    echo "then keep the score for the report: $PYTHON -m llava.eval.record --benchmark $1 --score SCORE" \
        "--answers-file $2 --output $DATA/results/$NAME/$1.json"
}
