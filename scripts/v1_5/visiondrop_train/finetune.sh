#!/usr/bin/env bash
# VisionDrop in training, stage "finetune": the rule of inference at 64 image tokens (RETAIN). Nothing is published for it.
METHOD="${METHOD:-visiondrop}"
[[ "$METHOD" == none || -n "${PRESET:-}${DOMINANT:-}" ]] || RETAIN="${RETAIN:-64}"
source "$(dirname -- "${BASH_SOURCE[0]}")/../finetune.sh"
