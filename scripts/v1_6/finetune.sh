#!/usr/bin/env bash
# LLaVA-NeXT, second stage: everything is trained, the tower at a tenth of the rate. PROJECTOR: of stage 1.
source "$(dirname -- "${BASH_SOURCE[0]}")/../train/common.sh"
recipe llava-v1.6-finetune lmsys/vicuna-7b-v1.5 v1 128 4 zero2 \
    --mm_projector_type mlp2x_gelu --image_aspect_ratio anyres --mm_patch_merge_type spatial_unpad \
    --unfreeze_mm_vision_tower True --mm_vision_tower_lr 2e-6 --group_by_modality_length True \
    --learning_rate 2e-5 --save_steps 50000 --model_max_length 4096
