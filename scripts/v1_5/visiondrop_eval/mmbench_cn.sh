#!/usr/bin/env bash
# MMBench in Chinese: as mmbench.sh, with the Chinese table and instruction.
benchmark=mmbench_cn split=mmbench_dev_cn_20231003 lang=cn
source "$(dirname "$0")/mmbench.sh"
