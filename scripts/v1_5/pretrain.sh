#!/usr/bin/env bash
# LLaVA-1.5, first stage: the projector learns to show pictures to the language model (558k captions).
source "$(dirname -- "${BASH_SOURCE[0]}")/../train/common.sh"
recipe llava-v1.5-pretrain lmsys/vicuna-13b-v1.5 plain 256 32 zero2 \
    --mm_projector_type mlp2x_gelu --tune_mm_mlp_adapter True --learning_rate 1e-3 --save_steps 24000 \
    --model_max_length 2048
