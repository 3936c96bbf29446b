#!/usr/bin/env bash
# A finished LLaVA-1.5 goes on with your own data.
source "$(dirname -- "${BASH_SOURCE[0]}")/../train/common.sh"
recipe llava-v1.5-task liuhaotian/llava-v1.5-13b v1 128 16 zero3 \
    --mm_projector_type mlp2x_gelu --image_aspect_ratio pad --group_by_modality_length True \
    --learning_rate 2e-5 --save_steps 50000 --model_max_length 2048
