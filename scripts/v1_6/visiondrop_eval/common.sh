# shellcheck shell=bash
# Sourced by every benchmark script here with its name: LLaVA-1.6's defaults, then the script of that name for v1.5, which
# takes all settings of its common.sh from the environment.
#
#   CKPT            checkpoint, a folder or a hub id (required)
#   RETAIN          average image tokens per LLM layer of a picture of five views, 2880 patches; a smaller picture keeps
#                   the same share of its own. The paper's budgets are 640, 320 and 160      320
#   CONV_MODE       conversation template; auto is the checkpoint's own: vicuna_v1, mistral_instruct,
#                   chatml_direct (34B)                                                      auto
example=llava-v1.6-vicuna-7b
. "$(dirname -- "${BASH_SOURCE[0]}")/../../evaluation_head.sh"
name="$1"
shift
export DEFAULT_RETAIN=320 DEFAULT_CONV_MODE=auto
# shellcheck disable=SC2154 # `here` is set by the script
exec bash "$here/../../v1_5/visiondrop_eval/$name.sh" "$@"
