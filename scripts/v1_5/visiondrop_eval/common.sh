# shellcheck shell=bash
# Sourced by every benchmark script: settings from the environment, one process per GPU, one merged answers file.
# Needs bash 4.4 or later.
#
#   CKPT            checkpoint, a folder or a hub id (required)
#   DATA            folder of benchmark data                      playground/data/eval
#   METHOD          visiondrop, visionzip, pyramiddrop or none    visiondrop
#   RETAIN          average image tokens per LLM layer            32
#   DOMINANT CONTEXTUAL LAYER_LIST IMAGE_TOKEN_LIST IMAGE_TOKEN_RATIO_LIST
#                   a schedule of your own, instead of RETAIN
#   SPLIT           question file without its ending, where a benchmark has several; each script has its default
#   CONV_MODE       conversation template                         vicuna_v1
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

fail() {
    echo "error: $*" >&2
    exit 2
}

[[ -n "${CKPT:-}" ]] || fail "CKPT must name a checkpoint; run: CKPT=path/to/llava-v1.5-7b bash $0"
DATA="${DATA:-playground/data/eval}"
METHOD="${METHOD:-visiondrop}"
PYTHON="${PYTHON:-python}"
scripts="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)" # the folder of the converters
# The job step's number of tasks: a batch script that calls this without srun is one task, whatever it asked for.
rank="${RANK:-${SLURM_PROCID:-0}}"
world="${WORLD_SIZE:-${SLURM_STEP_NUM_TASKS:-1}}"
local_rank="${LOCAL_RANK:-${SLURM_LOCALID:-0}}"
began="$(date +%s)"
# torchrun leaves the choice of GPU to its processes; srun and a person make it in CUDA_VISIBLE_DEVICES.
IFS=',' read -ra gpus <<<"${CUDA_VISIBLE_DEVICES-${LOCAL_RANK-}}"

schedule=()
budget=""
for flag in dominant contextual layer_list image_token_list image_token_ratio_list; do
    setting="${flag^^}"
    if [[ -n "${!setting:-}" ]]; then
        schedule+=("--$flag" "${!setting}")
        budget+="_$(tr -cs '0-9.\n' '-' <<<"${!setting}" | sed 's/^-//; s/-$//')"
    fi
done
if [[ "$METHOD" != none && (-n "${RETAIN:-}" || -z "$budget") ]]; then
    schedule+=(--retain "${RETAIN:-32}")
    budget="_${RETAIN:-32}"
fi
flags=(--model-path "$CKPT" --conv-mode "${CONV_MODE:-vicuna_v1}" --temperature 0 --method "$METHOD" "${schedule[@]}"
    --batch-size "${BATCH_SIZE:-1}" --device "${DEVICE:-auto}")
[[ -z "${MODEL_BASE:-}" ]] || flags+=(--model-base "$MODEL_BASE")
[[ -z "${MAX_NEW_TOKENS:-}" ]] || flags+=(--max_new_tokens "$MAX_NEW_TOKENS")
[[ "${OVERWRITE:-0}" == 0 ]] || flags+=(--overwrite)
checkpoint="$(basename "$CKPT")"
[[ "$checkpoint" != checkpoint-* ]] || checkpoint="$(basename "$(dirname "$CKPT")")_$checkpoint"
NAME="${NAME:-${checkpoint}_$METHOD$budget}"

# Jobs in the background do not hear Ctrl-C; without this they would go on alone.
trap 'jobs -p | xargs -r kill 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# answer RUNNER MERGED FLAGS...: ask all questions, in chunks, and put the answers into MERGED.
answer() {
    local runner="$1" merged="$2" chunks="${CHUNKS:-${#gpus[@]}}" index code failed=0
    local -a command pieces=() mine=() running=()
    shift 2
    if ((world > 1)); then chunks="$world"; elif ((chunks < 1)); then chunks=1; fi
    mkdir -p "${merged%.jsonl}.chunks"
    for ((index = 0; index < chunks; index++)); do
        pieces+=("${merged%.jsonl}.chunks/${chunks}_$index.jsonl")
        ((world == 1 || index == rank)) || continue
        command=("$PYTHON" -m "llava.eval.$runner" "${flags[@]}" "$@"
            --answers-file "${pieces[index]}" --num-chunks "$chunks" --chunk-idx "$index")
        if ((${#gpus[@]} > 0)); then
            command=(env "CUDA_VISIBLE_DEVICES=${gpus[(world > 1 ? local_rank : index) % ${#gpus[@]}]}" "${command[@]}")
        fi
        if ((chunks == 1)); then
            "${command[@]}"
        else
            echo "chunk $index of $chunks: progress in ${pieces[index]}.log"
            "${command[@]}" >"${pieces[index]}.log" 2>&1 &
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
    "$PYTHON" -m llava.eval.merge --answers-file "$merged" --wait "$((world > 1 ? 604800 : 0))" --since "$began" \
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
    local answers="$2" output="$DATA/results/$NAME/$1"
    shift 2
    mkdir -p "$(dirname "$output")"
    "$@" | tee "$output.txt"
    "$PYTHON" -m llava.eval.record --scores "$output.txt" --answers-file "$answers" --output "$output.json"
}

# upload BENCHMARK ANSWERS FILE WHERE: the last word of a benchmark that a server scores.
upload() {
    echo "to be scored by its server: upload $3 to $4"
    echo "then keep the score for the report: $PYTHON -m llava.eval.record --benchmark $1 --score SCORE" \
        "--answers-file $2 --output $DATA/results/$NAME/$1.json"
}
