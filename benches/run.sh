#!/usr/bin/env bash
# Builds Heddle as it is released and compares it with other proxies; arguments go to the comparison
# (--help says which).
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
benches/setup.sh
cargo build --release --locked -p heddle --bin heddle -p heddle-bench --bins
exec "${CARGO_TARGET_DIR:-target}/release/compare" "$@"
