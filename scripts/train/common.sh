# shellcheck shell=bash
# Sourced by every training recipe: settings from the environment, and the number of devices turned into batches so
# that the global batch stays the published one. What is written behind a script's name is handed on to training
# (`finetune.sh --max_steps 10`). Needs bash 4.4 or later.
#
#   MODEL           language model or LLaVA to start from: a folder or hub id   each recipe's
#   DATA            LLaVA's JSON of conversations (required)
#   IMAGES          folder of its pictures                                      playground/data
#   TOWER           vision tower                                                openai/clip-vit-large-patch14-336
#   PROJECTOR       pretrained projector, for fine-tuning a language model
#   OUTPUT          folder that is written                                      checkpoints/<recipe>[-METHOD[-RETAIN]]
#   VERSION         conversation template                                       each recipe's
#   DEVICES         devices of one machine                                      CUDA_VISIBLE_DEVICES, or 1
#   NODES NODE_RANK MASTER_ADDR MASTER_PORT    machines, which of them this is, and the first's name; under Slurm its own
#   GLOBAL_BATCH    samples of a step                                           as published
#   BATCH           samples of a device at once; the rest is accumulated        as published
#   SHARDING        zero2, zero3, zero3_offload (DeepSpeed), fsdp or none       as published with DeepSpeed, else none
#   METHOD, RETAIN or PRESET, or LAYER_LIST IMAGE_TOKEN_LIST IMAGE_TOKEN_RATIO_LIST DOMINANT CONTEXTUAL
#                   reduction in training                                       none
#   BF16            True or False                                               True
#   PYTHON          interpreter                                                 python
set -euo pipefail

fail() {
    echo "error: $*" >&2
    exit 2
}

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || fail "bash must be 4.4 or later: this is $BASH_VERSION"
[[ "${BASH_SOURCE[0]}" != "$0" ]] || fail "common.sh is what the training recipes share; run one of them"
[[ -n "${DATA:-}" ]] || fail "DATA must name LLaVA's JSON of conversations; run: DATA=my_data.json bash $0"
PYTHON="${PYTHON:-python}"
scripts="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
extra=("$@")

# count SETTING DEFAULT: a setting, known to be a whole number of at least 1 (bash would calculate what it holds).
count() {
    local LC_ALL=C value="${!1:-$2}"
    [[ "$value" =~ ^[1-9][0-9]{0,6}$ ]] || fail "$1 must be a whole number of at least 1: got $(printf '%.60q' "$value")"
    echo "$value"
}

visible="${CUDA_VISIBLE_DEVICES:-0}"
listed=(${visible//,/ })
DEVICES="$(count DEVICES "${#listed[@]}")"
NODES="$(count NODES "${SLURM_NNODES:-1}")"

# machines: which machine of several this is, and the first one's name. Guessed, each would wait for itself.
machines() {
    NODE_RANK="${NODE_RANK:-${SLURM_NODEID:-}}"
    if ((NODES == 1)); then
        NODE_RANK="${NODE_RANK:-0}" MASTER_ADDR="${MASTER_ADDR:-127.0.0.1}"
    elif [[ -z "${MASTER_ADDR:-}" && -n "${SLURM_JOB_NODELIST:-}" ]]; then
        MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST")"
        MASTER_ADDR="${MASTER_ADDR%%$'\n'*}"
    fi
    [[ -n "${MASTER_ADDR:-}" ]] || fail "MASTER_ADDR must name the first of $NODES machines: got none"
    [[ "$NODE_RANK" =~ ^[0-9]{1,6}$ ]] && ((10#$NODE_RANK < NODES)) ||
        fail "NODE_RANK must be this machine's number, from 0 to $((NODES - 1)): got $(printf '%.60q' "$NODE_RANK")"
}

# recipe NAME MODEL VERSION GLOBAL_BATCH BATCH SHARDING FLAGS...: run training with published settings, those of the
# environment in their place.
recipe() {
    local name="$1" model="${MODEL:-$2}" version="${VERSION:-$3}" all one sharding devices steps method=""
    [[ "${METHOD:-none}" == none ]] || method="-$METHOD${RETAIN:+-$RETAIN}"
    all="$(count GLOBAL_BATCH "$4")"
    one="$(count BATCH "$5")"
    devices=$((DEVICES * NODES))
    machines
    ((one * devices <= all)) || one=$((all / devices))
    ((one >= 1 && all % (one * devices) == 0)) ||
        fail "GLOBAL_BATCH must be shared out evenly: got $all for $devices devices with $one at once; set it to" \
            "a multiple of $devices, or BATCH"
    steps=$((all / (one * devices)))
    sharding="${SHARDING:-$("$PYTHON" -c "import deepspeed" 2>/dev/null && echo "$6" || echo none)}"
    shift 6
    local flags=(
        --model_name_or_path "$model" --version "$version"
        --data_path "$DATA" --image_folder "${IMAGES:-playground/data}"
        --vision_tower "${TOWER:-openai/clip-vit-large-patch14-336}"
        --mm_vision_select_layer -2 --mm_use_im_start_end False --mm_use_im_patch_token False
        --bf16 "${BF16:-True}" --output_dir "${OUTPUT:-checkpoints/$name$method}"
        --per_device_train_batch_size "$one" --gradient_accumulation_steps "$steps"
        --num_train_epochs 1 --weight_decay 0. --warmup_ratio 0.03 --lr_scheduler_type cosine
        --logging_steps 1 --eval_strategy no --save_strategy steps --save_total_limit 1
        --gradient_checkpointing True --dataloader_num_workers 4 --max_grad_norm 0
        "$@"
    )
    # DeepSpeed's published files clip no gradient, so no other way does either; zero3_offload clips at 1.
    case "$sharding" in
    zero2 | zero3) flags+=(--deepspeed "$scripts/$sharding.json") ;;
    zero3_offload) flags+=(--deepspeed "$scripts/$sharding.json" --max_grad_norm 1.0) ;;
    fsdp) flags+=(--fsdp full_shard --fsdp_config "$scripts/fsdp.json") ;;
    none) ;;
    *) fail "SHARDING must be zero2, zero3, zero3_offload, fsdp or none: got $(printf '%.60q' "$sharding")" ;;
    esac
    [[ -z "${PROJECTOR:-}" ]] || flags+=(--pretrain_mm_mlp_adapter "$PROJECTOR")
    local setting
    for setting in METHOD RETAIN PRESET LAYER_LIST IMAGE_TOKEN_LIST IMAGE_TOKEN_RATIO_LIST DOMINANT CONTEXTUAL; do
        [[ -z "${!setting:-}" ]] || flags+=("--${setting,,}" "${!setting}")
    done
    echo "$name$method: $all samples a step, $one at once on $devices devices, accumulated $steps times, $sharding" >&2
    if ((devices == 1)); then
        exec "$PYTHON" -m llava.train.train "${flags[@]}" "${extra[@]}"
    fi
    exec "$PYTHON" -m torch.distributed.run --nnodes "$NODES" --nproc_per_node "$DEVICES" \
        --node_rank "$NODE_RANK" --master_addr "$MASTER_ADDR" \
        --master_port "$(count MASTER_PORT 29500)" -m llava.train.train "${flags[@]}" "${extra[@]}"
}
