#!/usr/bin/env bash
# Installs what the demo needs, builds Heddle, the bank and its embedded broker, and opens the bank; arguments go to
# `heddle-bank demo`. What needs a language that cannot be had is left out by name.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

scripts/setup.sh demo
[[ " $* " =~ --kafka[=\ ]apache ]] && scripts/setup.sh kafka
say "building heddle, the bank and its broker into $TARGET (some minutes the first time)"
build_heddle
build_broker
build_bank
exec "$HEDDLE_BANK_BIN" demo "$@"
