#!/usr/bin/env bash
# MMBench in Chinese: as mmbench.sh, with the Chinese table and instruction.
source "$(dirname "$0")/mmbench.sh" mmbench_cn mmbench_dev_cn_20231003 cn
