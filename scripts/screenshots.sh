#!/usr/bin/env bash
# Takes the pictures of docs/img: a proxy with traffic, in headless Chromium. Needs chromium, curl and
# python3; HEDDLE_BIN names the program, else a release build is made.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

for tool in chromium curl python3; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install $tool"
done
if [[ -z ${HEDDLE_BIN:-} ]]; then
    cargo build --release --locked -p heddle --bin heddle
    HEDDLE_BIN="$TARGET/release/heddle"
fi

work=$(mktemp -d)
started=()
end() {
    for id in "${started[@]}"; do kill "$id" 2>/dev/null || true; done
    wait
    rm -rf -- "$work"
}
trap end EXIT

# service PORT FAILS: answers, and fails so many of a hundred requests.
cat >"$work/service.py" <<'PY'
import http.server, random, sys, time
fails = int(sys.argv[2])
class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        time.sleep(random.expovariate(200))
        body = b"hello\n"
        self.send_response(503 if random.randrange(100) < fails else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("127.0.0.1", int(sys.argv[1])), Service).serve_forever()
PY
service() {
    python3 "$work/service.py" "$1" "$2" &
    started+=($!)
}
for port in 19401 19402 19411 19421; do service "$port" 1; done
service 19403 100

cat >"$work/heddle.yaml" <<'YAML'
admin: {listen: 127.0.0.1:19490}
listeners:
  - {name: outbound, listen: 127.0.0.1:19440}
discovery:
  static:
    accounts-v1: ["127.0.0.1:19401", "127.0.0.1:19402", "127.0.0.1:19403"]
    accounts-v2: ["127.0.0.1:19411"]
    ledger: ["127.0.0.1:19421"]
rules:
  - apiVersion: heddle.dev/v1alpha1
    kind: Route
    metadata: {name: accounts}
    spec:
      service: accounts
      rules:
        - to: [{service: accounts-v1, weight: 95}, {service: accounts-v2, weight: 5}]
      retries: {on: [connect, 503], max: 2}
YAML
"$HEDDLE_BIN" proxy -c "$work/heddle.yaml" >"$work/heddle.log" 2>&1 &
started+=($!)
for _ in $(seq 100); do
    curl -fs http://127.0.0.1:19490/ready >/dev/null && break
    sleep 0.1
done

# About a minute of traffic, from four callers.
for _ in 1 2 3 4; do
    (
        for _ in $(seq 600); do
            curl -s -H 'Host: accounts' 'http://127.0.0.1:19440/?n=[1-20]' >/dev/null
            curl -s -H 'Host: ledger' 'http://127.0.0.1:19440/?n=[1-5]' >/dev/null
            curl -s -H 'Host: nobody' http://127.0.0.1:19440/ >/dev/null
        done
    ) &
    started+=($!)
done
sleep 8

mkdir -p docs/img
shot() { # FILE SIZE SCHEME URL
    chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/chromium" \
        --window-size="$2" --timeout=9000 ${3:+--blink-settings=preferredColorScheme=$3} \
        --screenshot="$PWD/docs/img/$1" "$4" >"$work/chromium.log" 2>&1 || fail "chromium failed: $(tail -3 "$work/chromium.log")"
    say "docs/img/$1"
}
page=http://127.0.0.1:19490/
shot dashboard-light.png 1280,1600 1 "$page"
shot dashboard-dark.png 1280,1600 0 "$page"
shot dashboard-phone.png 500,2200 1 "$page"
COLUMNS=80 "$HEDDLE_BIN" top --once --admin 127.0.0.1:19490
