# shellcheck shell=bash
# Sourced by every benchmark script: settings from the environment, one process per GPU, one merged answers file.
#
#   CKPT            checkpoint, a folder or a hub id (required)
#   DATA            folder of benchmark data                      playground/data/eval
#   METHOD          visiondrop, visionzip, pyramiddrop, random    visiondrop
#                   or none
#   RETAIN          average image tokens per LLM layer            32
#   DOMINANT CONTEXTUAL LAYER_LIST IMAGE_TOKEN_LIST IMAGE_TOKEN_RATIO_LIST KEEP
#                   a schedule of your own, instead of RETAIN
#   SEED            of the method random                          0
#   CONV_MODE       conversation template                         vicuna_v1
#   BATCH_SIZE      questions answered together                   1
#   MAX_NEW_TOKENS  length limit of an answer                     the runner's
#   MODEL_BASE      base of a LoRA or projector-only checkpoint
#   DEVICE          auto, cuda, mps or cpu                        auto
#   CHUNKS          processes on this machine                     number of GPUs in CUDA_VISIBLE_DEVICES, or 1
#   NAME            stem of the files that are written            <checkpoint>_<method>_<budget>
#   PYTHON          interpreter                                   python
#
# Under torchrun, accelerate launch or Slurm every task runs one chunk (RANK of WORLD_SIZE); task 0 merges and scores.
set -euo pipefail

fail() {
    echo "error: $*" >&2
    exit 2
}

[[ -n "${CKPT:-}" ]] || fail "CKPT must name a checkpoint; run: CKPT=path/to/llava-v1.5-7b bash $0"
DATA="${DATA:-playground/data/eval}"
METHOD="${METHOD:-visiondrop}"
PYTHON="${PYTHON:-python}"
rank="${RANK:-${SLURM_PROCID:-0}}"
world="${WORLD_SIZE:-${SLURM_NTASKS:-1}}"
local_rank="${LOCAL_RANK:-${SLURM_LOCALID:-0}}"
IFS=',' read -ra gpus <<<"${CUDA_VISIBLE_DEVICES:-}"

budget=""
flags=(--model-path "$CKPT" --conv-mode "${CONV_MODE:-vicuna_v1}" --temperature 0 --method "$METHOD"
    --batch-size "${BATCH_SIZE:-1}" --device "${DEVICE:-auto}")
[[ -z "${MODEL_BASE:-}" ]] || flags+=(--model-base "$MODEL_BASE")
[[ -z "${SEED:-}" ]] || flags+=(--seed "$SEED")
[[ -z "${MAX_NEW_TOKENS:-}" ]] || flags+=(--max_new_tokens "$MAX_NEW_TOKENS")
for flag in dominant contextual layer_list image_token_list image_token_ratio_list keep; do
    setting="${flag^^}"
    if [[ -n "${!setting:-}" ]]; then
        flags+=("--$flag" "${!setting}")
        budget="_custom"
    fi
done
if [[ "$METHOD" != none && -z "$budget" ]]; then
    flags+=(--retain "${RETAIN:-32}")
    budget="_${RETAIN:-32}"
fi
NAME="${NAME:-$(basename "$CKPT")_$METHOD$budget${SEED:+_seed$SEED}}"

# Jobs in the background do not hear Ctrl-C; without this they would go on alone.
trap 'jobs -p | xargs -r kill 2>/dev/null || true' EXIT

# answer RUNNER MERGED FLAGS...: ask all questions, in chunks, and put the answers into MERGED.
answer() {
    local runner="$1" merged="$2" chunks index piece log failed=0
    local -a command pieces=() logs=() running=()
    shift 2
    chunks="${CHUNKS:-${#gpus[@]}}"
    if ((world > 1)); then chunks="$world"; elif ((chunks < 1)); then chunks=1; fi
    mkdir -p "${merged%.jsonl}.chunks"
    for ((index = 0; index < chunks; index++)); do
        piece="${merged%.jsonl}.chunks/${chunks}_$index.jsonl"
        pieces+=("$piece")
        ((world == 1 || index == rank)) || continue
        command=("$PYTHON" -m "llava.eval.$runner" "${flags[@]}" "$@"
            --answers-file "$piece" --num-chunks "$chunks" --chunk-idx "$index")
        if ((${#gpus[@]} > 0)); then
            command=(env "CUDA_VISIBLE_DEVICES=${gpus[(world > 1 ? local_rank : index) % ${#gpus[@]}]}" "${command[@]}")
        fi
        if ((chunks == 1)); then
            "${command[@]}"
        else
            "${command[@]}" >"$piece.log" 2>&1 &
            running+=("$!")
            logs+=("$piece.log")
        fi
    done
    for index in "${!running[@]}"; do
        log="${logs[index]}"
        wait "${running[index]}" || { failed=1 && echo "error: a chunk failed, see $log: $(tail -n 1 "$log")" >&2; }
    done
    ((failed == 0)) || exit 1
    if ((rank > 0)); then exit 0; fi
    "$PYTHON" -m llava.eval.merge --answers-file "$merged" --wait "$((world > 1 ? 86400 : 0))" "${pieces[@]}"
}

# score BENCHMARK ANSWERS COMMAND...: run a scorer, show what it prints and keep it, with its last line for the report.
score() {
    local answers="$2" output="$DATA/results/$NAME/$1"
    shift 2
    mkdir -p "$(dirname "$output")"
    "$@" | tee "$output.txt"
    "$PYTHON" -m llava.eval.record --scores "$output.txt" --answers-file "$answers" --output "$output.json"
}

# upload FILE WHERE: the last word of a benchmark that a server scores.
upload() {
    echo "to be scored by its server: upload $1 to $2"
}
