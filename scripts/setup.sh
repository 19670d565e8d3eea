#!/usr/bin/env bash
# Installs what is missing, through ordinary package managers, and says so. Idempotent.
#
#   scripts/setup.sh build   a C compiler, protoc (etcd's protocol), Rust
#   scripts/setup.sh demo    build, and the languages of the bank's services, as far as they can be had
#   scripts/setup.sh kafka   Apache Kafka, for the bank's pipeline
#   scripts/setup.sh test    demo, and the tools of the gates and the end-to-end tests
#   scripts/setup.sh bench   build, and the proxies and load generators to compare with
#   scripts/setup.sh all     everything
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

updated=false

# Runs a command as root: directly when we are root, by sudo otherwise.
as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif have sudo; then
        if [[ ${CI:-} == true ]]; then sudo -n "$@"; else sudo "$@"; fi
    else
        fail "cannot run '$*': it needs root, and there is no sudo. Run it as root yourself, then start again."
    fi
}

# apt COMMAND=PACKAGE…: installs the packages whose command is missing.
apt() {
    local pair missing=()
    for pair in "$@"; do
        have "${pair%%=*}" || missing+=("${pair#*=}")
    done
    ((${#missing[@]})) || return 0
    install "${missing[@]}"
}

# install PACKAGE…: by apt-get, as root.
install() {
    have apt-get || fail "missing: $*. This script installs with apt-get only; install them with your system's package manager, then start again."
    say "installing by apt-get: $*"
    if ! $updated; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
        updated=true
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

# optional COMMAND=PACKAGE…: as apt, but what cannot be had is named, and the rest goes on.
optional() {
    local pair
    # Subshells, since whatever cannot be installed ends them. Together first: that takes one update.
    (apt "$@") && return
    for pair in "$@"; do
        (apt "$pair") || say "${pair%%=*} is not here (Debian: apt-get install ${pair#*=}); the demo goes on without it"
    done
}

rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    if ! have cargo && [[ -x $HOME/.cargo/bin/cargo ]]; then
        fail "cargo is in $HOME/.cargo/bin, which is not in PATH. Run: . \"$HOME/.cargo/env\""
    fi
    have cargo || fail "cargo is missing. Install rustup with your system's package manager (Debian 13: apt-get install rustup), run 'rustup default stable', then start again. Heddle needs Rust $wanted or later."
    found=$(rustc --version | awk '{ print $2 }')
    if [[ $(printf '%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1) != "$wanted" ]]; then
        fail "rustc is $found, Heddle needs $wanted or later. Run: rustup update stable"
    fi
    local component
    for component in fmt clippy; do
        cargo "$component" --version >/dev/null 2>&1 && continue
        have rustup || fail "'cargo $component' is missing, and there is no rustup to add it. Install it as you installed cargo."
        say "adding by rustup: $component"
        rustup --quiet component add "${component/#fmt/rustfmt}"
    done
    say "rust: $(rustc --version)"
}

build() {
    apt git=git cc=gcc c++=g++ make=make protoc=protobuf-compiler
    # The types that protoc itself knows are a package of their own.
    if have apt-get && [[ ! -f /usr/include/google/protobuf/descriptor.proto ]]; then install libprotobuf-dev; fi
    rust
}

demo() {
    build
    apt curl=curl
    optional python3=python3 node=nodejs go=golang-go javac=default-jdk-headless
}

kafka() {
    apt java=default-jre-headless mvn=maven
    e2e/setup/install.sh kafka
}

tests() {
    demo
    apt shellcheck=shellcheck
    if [[ -x e2e/setup/install.sh ]]; then e2e/setup/install.sh; fi
}

bench() {
    build
    if [[ -x benches/setup.sh ]]; then benches/setup.sh; fi
}

case ${1:-all} in
build) build ;;
demo) demo ;;
kafka) kafka ;;
test) tests ;;
bench) bench ;;
all)
    tests
    bench
    ;;
*) fail "unknown set '$1': build, demo, kafka, test, bench or all" ;;
esac
say "setup: all there"
