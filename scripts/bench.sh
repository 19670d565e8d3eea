#!/usr/bin/env bash
# Installs the proxies to compare with, builds heddle as it is released, and compares; arguments go to the comparison.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

scripts/setup.sh bench
[[ -x benches/run.sh ]] || fail "benches/run.sh is missing: this clone has no comparison"
exec benches/run.sh "$@"
