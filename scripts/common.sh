# Sourced by the other scripts: where things are, and how to speak.
# shellcheck shell=bash

# The root of the clone, wherever it lies and whatever the caller's directory is.
ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
export ROOT
cd -- "$ROOT" || exit

# CI clones into a new folder each time. Its build cache lives outside the clone, so that
# only the first run on a machine builds the dependencies.
if [[ ${CI:-} == true && -z ${CARGO_TARGET_DIR:-} ]]; then
    export CARGO_TARGET_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/heddle/target"
    export CARGO_INCREMENTAL=0 # nothing is built twice from the same folder
fi
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
export TARGET

# Two at a time: the machines this project is sized for have two cores.
export CARGO_BUILD_JOBS="${CARGO_BUILD_JOBS:-2}"

say() { printf '%s\n' "$*"; }
heading() { printf '\n=== %s\n' "$*"; }
fail() {
    printf 'heddle: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Builds the binary of the demo, the end-to-end tests and the benchmarks' dry runs, and
# names it in HEDDLE_BIN.
build_heddle() {
    cargo build --locked --profile quick -p heddle --bin heddle
    export HEDDLE_BIN="$TARGET/quick/heddle"
}

# Builds the embedded broker of the bank, a workspace of its own, and names it in HEDDLE_BANK_BROKER.
build_broker() {
    cargo build --locked --manifest-path sample-bank/broker/Cargo.toml --target-dir "$TARGET/broker"
    export HEDDLE_BANK_BROKER="$TARGET/broker/debug/heddle-bank-broker"
}

# Builds the reference bank and names it in HEDDLE_BANK_BIN.
build_bank() {
    cargo build --locked --profile quick -p heddle-bank --bin heddle-bank
    export HEDDLE_BANK_BIN="$TARGET/quick/heddle-bank"
}
