#!/usr/bin/env bash
# Everything that CI runs, step by step. A failed step does not stop the ones after it, so one
# run shows all there is to mend. The last line is `N passed, N failed, N skipped`: tests and
# conformance cases as their runners count them, every other step as one.
#
#   scripts/test.sh              all steps
#   scripts/test.sh fmt unit     these only
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

STEPS=(setup fmt shell clippy doc build unit doctest conformance e2e tour demo)
# Only when named: it needs cargo-deny, whose build takes longer than ours. The tidy test holds the
# versions that deny.toml asks for.
OPTIONAL=(deny)
# No step may hang: seconds after which it is ended and counts as failed.
LIMIT=${HEDDLE_STEP_LIMIT:-1800}

logs=$(mktemp -d)
trap 'rm -rf -- "$logs"' EXIT
passed=0 failed=0 skipped=0
table=()
broken=()

# Sums up a log: `passed failed skipped`, from cargo test's result lines or a plain closing line.
counts() {
    awk '
        /^test result: / {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) p += $(i - 1)
                if ($i ~ /^failed/) f += $(i - 1)
                if ($i ~ /^ignored/) s += $(i - 1)
            }
        }
        /^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$/ { p += $1; f += $3; s += $5 }
        /^second try: [0-9]+ of [0-9]+ passed$/ { p += $3; f -= $3 }
        END { print p + 0, f + 0, s + 0 }
    ' "$1"
}

run() { # step
    local name=$1 log="$logs/$1" started=$SECONDS code=0 verdict=ok p=0 f=0 s=0 pid
    heading "$name"
    # `timeout` puts the step in a process group of its own and ends all of it. The output goes
    # through a file, since a pipe would wait for whatever the step left running.
    : >"$log"
    timeout --kill-after=20 "$LIMIT" scripts/step.sh "$name" >"$log" 2>&1 </dev/null &
    pid=$!
    tail --follow --sleep-interval=0.2 --lines=+1 --pid="$pid" -- "$log"
    wait "$pid" || code=$?
    if ((code == 124 || code == 137)); then say "ended after $LIMIT s (HEDDLE_STEP_LIMIT)"; fi

    if ((code == 77)); then
        s=1 verdict=skipped
    else
        case $name in
        unit | doctest | conformance | e2e)
            read -r p f s < <(counts "$log")
            # Failed without a failed test: it did not compile, or it died.
            if ((code != 0 && f == 0)); then f=1; fi
            if ((code == 0 && p == 0)); then
                say "$name ran no test"
                f=1
            fi
            ;;
        *) if ((code == 0)); then p=1; else f=1; fi ;;
        esac
    fi
    if ((f > 0)); then
        verdict=FAILED
        broken+=("$name")
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    table+=("$(printf '%-12s %-8s %5d s %7d passed %5d failed %5d skipped' \
        "$name" "$verdict" $((SECONDS - started)) "$p" "$f" "$s")")
}

steps=("$@")
((${#steps[@]})) || steps=("${STEPS[@]}")
for step in "${steps[@]}"; do
    [[ " ${STEPS[*]} ${OPTIONAL[*]} " == *" $step "* ]] ||
        fail "unknown step '$step'; there are: ${STEPS[*]} ${OPTIONAL[*]}"
done

export HEDDLE_BIN="$TARGET/quick/heddle"
export HEDDLE_BANK_BROKER="$TARGET/broker/debug/heddle-bank-broker"
export HEDDLE_BANK_BIN="$TARGET/quick/heddle-bank"
export RUST_BACKTRACE="${RUST_BACKTRACE:-1}"
say "heddle: building into $TARGET"
for step in "${steps[@]}"; do run "$step"; done

heading "sum"
printf '%s\n' "${table[@]}"
((${#broken[@]} == 0)) || say "failed: ${broken[*]}"
say "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
