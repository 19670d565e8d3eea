//! Ports run out: in a network namespace that has eight of them.

use heddle_e2e::binary::heddle;
use heddle_e2e::needs::{Need, require};
use heddle_e2e::process;
use std::process::Command;
use std::time::Duration;

/// Everything is in the namespace, since nothing can be reached from outside.
const SCRIPT: &str = r#"set -eu
ip link set lo up
echo "40000 40007" >/proc/sys/net/ipv4/ip_local_port_range
python3 backend.py &
backend=$!
"$HEDDLE" proxy -c heddle.yaml >proxy.log 2>&1 &
proxy=$!
trap 'kill $proxy $backend' EXIT
until curl -g -s -o /dev/null http://URL/; do sleep 0.1; done
until curl -sf -o /dev/null http://127.0.0.1:19990/ready; do sleep 0.1; done
h2load -n 24 -c 1 -m 24 http://127.0.0.1:14140/ | grep '^status codes'
curl -s -o /dev/null -w 'afterwards %{http_code}\n' http://127.0.0.1:14140/
curl -s http://127.0.0.1:19990/metrics
"#;

const BACKEND: &str = r#"
import http.server, socket, time
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in "ADDRESS" else socket.AF_INET
class Slow(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        time.sleep(1)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
Server(("ADDRESS", 19001), Slow).serve_forever()
"#;

const CONFIGURATION: &str = r#"
admin: {listen: 127.0.0.1:19990}
listeners:
  - name: outbound
    listen: 127.0.0.1:14140
    identify: [{static: echo}]
discovery:
  static:
    echo: {endpoints: ["URL"], protocol: http1}
"#;

#[test]
fn without_ports_requests_are_refused_and_the_endpoint_is_not_blamed() {
    run_out_of_them("127.0.0.1", "127.0.0.1:19001");
}

/// There the system says the same as of an address that it cannot reach at all.
#[test]
fn without_ports_an_endpoint_over_ipv6_is_not_blamed_either() {
    run_out_of_them("::1", "[::1]:19001");
}

/// The endpoint is at `address`, which a URL calls `url`.
fn run_out_of_them(address: &str, url: &str) {
    if !require(&[Need::Curl, Need::H2load, Need::Python]) {
        return;
    }
    let may = Command::new("unshare").args(["-n", "true"]).output();
    if !may.is_ok_and(|done| done.status.success()) {
        // What the user may do is nothing that could be installed.
        eprintln!("skipped: this user may not make a network namespace");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in [
        ("test.sh", SCRIPT),
        ("backend.py", BACKEND),
        ("heddle.yaml", CONFIGURATION),
    ] {
        let text = text.replace("ADDRESS", address).replace("URL", url);
        std::fs::write(folder.path().join(name), text).expect("the folder is ours");
    }
    let mut command = Command::new("unshare");
    command
        .args(["-n", "bash", "test.sh"])
        .env("HEDDLE", heddle())
        .current_dir(folder.path());
    let said = process::succeed(&mut command, Duration::from_secs(120));
    let metric = |series: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(series));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or(0.0)
    };
    // Some of the 24 found a port, and the others a reason.
    let overloaded = metric(
        "heddle_answers_total{listener=\"outbound\",service=\"/svc/echo\",kind=\"overloaded\"}",
    );
    assert!((12.0..24.0).contains(&overloaded), "{overloaded}: {said}");
    let lacking =
        metric("heddle_upstream_refused_total{replica_set=\"/#/static/echo\",cap=\"ports\"}");
    assert!(lacking >= overloaded, "{lacking}: {said}");
    assert!(said.contains("afterwards 200"), "{said}");
    assert!(metric("heddle_ejections_total{replica_set=\"/#/static/echo\"}") == 0.0);
}
