#!/usr/bin/env bash
# PyramidDrop in LLaVA-NeXT's training, stage "finetune": image tokens go after layers 8, 16 and 24, as published.
METHOD="${METHOD:-pyramiddrop}"
if [[ "$METHOD" == pyramiddrop ]]; then
    LAYER_LIST="${LAYER_LIST:-[8,16,24]}" IMAGE_TOKEN_RATIO_LIST="${IMAGE_TOKEN_RATIO_LIST:-[0.5,0.25,0.125]}"
fi
source "$(dirname -- "${BASH_SOURCE[0]}")/../finetune.sh"
