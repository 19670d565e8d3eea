#!/usr/bin/env bash
# Installs what the tour needs, builds heddle and runs it; arguments go to `heddle demo`.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

scripts/setup.sh demo
say "building heddle into $TARGET (some minutes the first time)"
build_heddle
exec "$HEDDLE_BIN" demo "$@"
