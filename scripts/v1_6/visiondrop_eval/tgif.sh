#!/usr/bin/env bash
# TGIF-QA, for LLaVA-1.6: scripts/v1_5/visiondrop_eval/tgif.sh with the defaults of common.sh beside this script.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here="$(dirname -- "$(readlink -f -- "$0")")" && [ -f "$here/common.sh" ] || here=scripts/v1_6/visiondrop_eval
[ -f "$here/common.sh" ] || { echo "error: no common.sh beside this script; start it in the repository" >&2; exit 2; }
. "$here/common.sh" tgif "$@"
