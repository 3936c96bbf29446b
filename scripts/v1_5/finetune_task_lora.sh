#!/usr/bin/env bash
# A finished LLaVA-1.5 goes on with your own data, as a LoRA adapter.
source "$(dirname -- "${BASH_SOURCE[0]}")/../train/common.sh"
recipe llava-v1.5-task-lora liuhaotian/llava-v1.5-13b v1 128 16 zero3 \
    --lora_enable True --lora_r 128 --lora_alpha 256 --mm_projector_lr 2e-5 \
    --mm_projector_type mlp2x_gelu --image_aspect_ratio pad --group_by_modality_length True \
    --learning_rate 2e-4 --save_steps 50000 --model_max_length 2048
