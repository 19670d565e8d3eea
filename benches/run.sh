#!/usr/bin/env bash
# Builds Heddle as it is released and compares it with other proxies; arguments go to the comparison
# (--help says which).
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
benches/setup.sh
cargo build --release --locked -p heddle --bin heddle -p heddle-bench --bins
# A crate of its own: only this needs pingora. Without cmake it cannot be built, and is left out by name.
cargo build --release --locked --manifest-path benches/pingora/Cargo.toml \
    --target-dir "${CARGO_TARGET_DIR:-target}/pingora" || echo "pingora: not built, left out"
exec "${CARGO_TARGET_DIR:-target}/release/compare" "$@"
