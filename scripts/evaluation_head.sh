# shellcheck shell=bash
# Sourced at the beginning of both common.sh, of v1_5 and v1_6: what they refuse before anything else.
#
#   example         a checkpoint's name, for the complaint about none

fail() {
    echo "error: $*" >&2
    exit 2
}

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || fail "bash must be 4.4 or later: this is $BASH_VERSION"
[[ "${BASH_SOURCE[1]}" != "$0" ]] || fail "common.sh is what the benchmark scripts share; run one of them, as pope.sh"
# shellcheck disable=SC2154 # `example` is set by who sources this
[[ -n "${CKPT:-}" ]] || fail "CKPT must name a checkpoint; run: CKPT=path/to/$example bash $0"
