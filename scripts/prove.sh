#!/usr/bin/env bash
# The suites of `make test` at the size that published figures need. Hours, not minutes.
set -euo pipefail
export HEDDLE_CASES="${HEDDLE_CASES:-100000}" # cases of each law
export HEDDLE_SCALE="${HEDDLE_SCALE:-10}"     # factor on requests and durations of the end-to-end tests
export HEDDLE_KILLS="${HEDDLE_KILLS:-150}"    # kills of each kill test of the bank, on each engine
export HEDDLE_STEP_LIMIT="${HEDDLE_STEP_LIMIT:-14400}"
exec "$(dirname -- "${BASH_SOURCE[0]}")/test.sh" "$@"
