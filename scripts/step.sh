#!/usr/bin/env bash
# Runs one step of the tests by its name and exits by it: `scripts/step.sh clippy`.
# `scripts/test.sh` runs and counts them all. Exit code 77 means skipped, for the reason printed last.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

skip() {
    say "skipped: $*"
    exit 77
}

# The conformance vectors of the repository, and those that lie beside the clone or that HEDDLE_VECTORS names (folders).
vectors() {
    shopt -s nullglob
    local dir files=(e2e/vectors/*.jsonl)
    for dir in ${HEDDLE_VECTORS:-../shared/vectors}; do files+=("$dir"/*.jsonl); done
    ((${#files[@]})) || skip "no vector files in e2e/vectors, and none in a folder named by HEDDLE_VECTORS"
    cargo run --locked --quiet -p heddle-e2e --bin conformance -- "${files[@]}"
}

deny() {
    cargo deny --version >/dev/null 2>&1 || skip "cargo-deny is not installed (cargo install cargo-deny)"
    cargo deny --offline check --hide-inclusion-graph bans licenses sources
}

case ${1:?which step?} in
setup) scripts/setup.sh test ;;
fmt)
    cargo fmt --all -- --check --color never
    cargo fmt --manifest-path sample-bank/broker/Cargo.toml -- --check --color never
    ;;
shell) git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck --external-sources ;;
clippy) cargo clippy --locked --workspace --all-targets -- -D warnings ;;
doc) RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps ;;
deny) deny ;;
build)
    build_heddle
    build_broker
    build_bank
    ;;
unit) cargo test --locked --no-fail-fast --workspace --exclude heddle-e2e --lib --bins --tests ;;
doctest) cargo test --locked --no-fail-fast --doc -p heddle-core ;;
conformance) vectors ;;
e2e) cargo test --locked --no-fail-fast -p heddle-e2e ;;
demo) "$HEDDLE_BIN" demo --once ;;
*) fail "unknown step '$1'" ;;
esac
