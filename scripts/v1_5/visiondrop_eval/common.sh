# Sourced by every benchmark script: settings from the environment, one process per GPU, one merged answers file.
#
#   CKPT         checkpoint, a folder or a hub id (required)
#   DATA         folder of benchmark data                      playground/data/eval
#   METHOD       visiondrop, visionzip, pyramiddrop or none    visiondrop
#   RETAIN       average image tokens per LLM layer            32
#   DOMINANT CONTEXTUAL LAYER_LIST IMAGE_TOKEN_LIST IMAGE_TOKEN_RATIO_LIST
#                a schedule of your own, instead of RETAIN
#   CONV_MODE    conversation template                         vicuna_v1
#   BATCH_SIZE   questions answered together                   1
#   MODEL_BASE   base of a LoRA or projector-only checkpoint
#   DEVICE       auto, cuda, mps or cpu                        auto
#   CHUNKS       processes on this machine                     number of GPUs in CUDA_VISIBLE_DEVICES, or 1
#   NAME         stem of the files that are written            <checkpoint>_<method>_<budget>
#   PYTHON       interpreter                                   python
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
model_flags=(--model-path "$CKPT" --conv-mode "${CONV_MODE:-vicuna_v1}" --temperature 0 --method "$METHOD"
    --batch-size "${BATCH_SIZE:-1}" --device "${DEVICE:-auto}")
[[ -z "${MODEL_BASE:-}" ]] || model_flags+=(--model-base "$MODEL_BASE")
for flag in dominant contextual layer_list image_token_list image_token_ratio_list; do
    variable="${flag^^}"
    [[ -z "${!variable:-}" ]] || { model_flags+=("--$flag" "${!variable}") && budget="_custom"; }
done
if [[ "$METHOD" != none && -z "$budget" ]]; then
    model_flags+=(--retain "${RETAIN:-32}")
    budget="_${RETAIN:-32}"
fi
NAME="${NAME:-$(basename "$CKPT")_$METHOD$budget}"

# answer MODULE MERGED FLAGS...: ask all questions, in chunks, and put the answers into MERGED.
answer() {
    local module="$1" merged="$2" chunks index piece pids=() pieces=() failed=0
    shift 2
    local folder="${merged%.jsonl}.chunks"
    if ((world > 1)); then chunks="$world"; else chunks="${CHUNKS:-${#gpus[@]}}"; fi
    ((chunks > 0)) || chunks=1
    mkdir -p "$folder"
    for ((index = 0; index < chunks; index++)); do
        piece="$folder/${chunks}_$index.jsonl"
        pieces+=("$piece")
        ((world == 1 || index == rank)) || continue
        one_chunk "$module" "$piece" "$chunks" "$index" "$@" &
        pids+=("$!:$piece.log")
    done
    for piece in "${pids[@]}"; do
        wait "${piece%%:*}" || { failed=1 && echo "error: a chunk failed: $(tail -n 1 "${piece#*:}") (log: ${piece#*:})" >&2; }
    done
    ((failed == 0)) || exit 1
    if ((rank > 0)); then exit 0; fi
    "$PYTHON" -m llava.eval.merge --answers-file "$merged" --wait "$((world > 1 ? 86400 : 0))" "${pieces[@]}"
}

# one_chunk MODULE PIECE CHUNKS INDEX FLAGS...: its output goes to a log, and to the terminal if it is the only one.
one_chunk() {
    local module="$1" piece="$2" chunks="$3" index="$4"
    shift 4
    local slot=$((world > 1 ? local_rank : index))
    if ((${#gpus[@]} > 0)); then export CUDA_VISIBLE_DEVICES="${gpus[slot % ${#gpus[@]}]}"; fi
    local command=("$PYTHON" -m "llava.eval.$module" "${model_flags[@]}" "$@"
        --answers-file "$piece" --num-chunks "$chunks" --chunk-idx "$index")
    if ((chunks == 1)); then
        "${command[@]}" 2>&1 | tee "$piece.log"
    else
        "${command[@]}" >"$piece.log" 2>&1
    fi
}

# score BENCHMARK ANSWERS COMMAND...: run a scorer, show what it prints and keep its last line for the report.
score() {
    local benchmark="$1" answers="$2" output
    shift 2
    output="$DATA/results/$NAME/$benchmark.txt"
    mkdir -p "$(dirname "$output")"
    "$@" | tee "$output"
    "$PYTHON" -m llava.eval.record --scores "$output" --answers-file "$answers" --results "$DATA/results"
}

# upload FILE WHERE: the last word of a benchmark that a server scores.
upload() {
    echo "to be scored by its server: upload $1 to $2"
}
