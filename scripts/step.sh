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

# Runs cargo's tests, and what failed of them once more, alone: a shared machine stalls now and then, and most of these
# tests are about real processes under load. What passes then is said by name; many failures are no accident.
tests() { # cargo's selection…
    local log code=0 binary name tried=0 passed=0
    log=$(mktemp)
    cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$log" || code=$?
    if ((code != 0)); then
        while read -r binary name; do
            ((++tried <= 5)) || continue
            say "once more, alone: $binary $name"
            if cargo test --locked "$@" --test "$binary" -- --exact "$name" 2>&1 </dev/null | sed 's/^/  | /'; then
                ((++passed))
            fi
        done < <(failures "$log")
        say "second try: $passed of $tried passed"
        if ((tried > 0 && passed == tried)) && ! grep -q '^error: could not compile' "$log"; then code=0; fi
    fi
    rm -f -- "$log"
    return "$code"
}

# The failed tests of a log of cargo: their binary and their name.
failures() { # log
    awk '
        /^ +Running tests\// { binary = $NF; sub(/.*deps\//, "", binary); sub(/-[0-9a-f]+\)$/, "", binary) }
        /^ +Running unittests/ { binary = "" }
        /^failures:$/ { listed = 1; count = 0; next }
        listed && /^    [A-Za-z_][A-Za-z0-9_:]*$/ { names[count++] = $1; next }
        /^test result: / {
            if (listed) for (i = 0; i < count; i++) print (binary == "" ? "-" : binary), names[i]
            listed = 0
        }
    ' "$1"
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
unit) tests --workspace --exclude heddle-e2e --lib --bins --tests ;;
doctest) cargo test --locked --no-fail-fast --doc -p heddle-core ;;
conformance) vectors ;;
e2e) tests -p heddle-e2e ;;
tour) "$HEDDLE_BIN" demo --once ;;
demo) "$HEDDLE_BANK_BIN" demo --once ;;
*) fail "unknown step '$1'" ;;
esac
