#!/usr/bin/env bash
# LLaVA-NeXT, first stage, as PyramidDrop's repository trains it (7B); pictures in tiles.
source "$(dirname -- "${BASH_SOURCE[0]}")/../train/common.sh"
recipe llava-v1.6-pretrain lmsys/vicuna-7b-v1.5 plain 256 8 zero2 \
    --mm_projector_type mlp2x_gelu --image_aspect_ratio anyres --mm_patch_merge_type spatial_unpad \
    --tune_mm_mlp_adapter True --learning_rate 1e-3 --save_steps 50000 --model_max_length 4096
