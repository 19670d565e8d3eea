//! Endpoints that speak TLS: real servers, and such as must not be believed.

use crate::certificates::{Authority, Kind};
use crate::support::metric;
use heddle_e2e::process::Running;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::wire::{Message, Wire};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

/// Answers `GET` with the server name, the protocol and whether the caller showed a certificate.
const NODE: &str = "
const http2 = require('http2'), fs = require('fs');
const [cert, key, ca, wants, allow] = process.argv.slice(1);
const server = http2.createSecureServer({
  cert: fs.readFileSync(cert), key: fs.readFileSync(key), ca: fs.readFileSync(ca),
  requestCert: wants === 'yes', rejectUnauthorized: wants === 'yes', allowHTTP1: allow === 'both',
  ALPNProtocols: allow === 'http1' ? ['http/1.1'] : undefined,
}, (request, response) => {
  const scheme = request.httpVersion === '2.0' ? request.headers[':scheme'] : 'none';
  const name = request.socket.servername || 'no-name';
  response.end(`${request.httpVersion} ${scheme} ${name} ${request.socket.authorized}`);
});
server.on('tlsClientError', () => {});
server.listen(0, '127.0.0.1', () => console.log('port ' + server.address().port));
";

pub(crate) struct Server {
    _running: Running,
    pub(crate) address: SocketAddr,
}

pub(crate) fn node(authority: &Authority, name: &str, wants: &str, allow: &str) -> Server {
    let mut command = Command::new("node");
    command.arg("-e").arg(NODE).arg("--");
    command
        .arg(authority.file(&format!("{name}.pem")))
        .arg(authority.file(&format!("{name}.key")))
        .arg(authority.ca())
        .args([wants, allow]);
    listening(command)
}

fn listening(mut command: Command) -> Server {
    let mut running = Running::start(&mut command);
    let line = running.wait_for_line("port ", Duration::from_secs(20));
    let port = line.trim_start_matches("port ").trim();
    let port: u16 = port.parse().expect("a port");
    Server {
        _running: running,
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
    }
}

fn proxy(sets: &[(&str, String)]) -> Proxy {
    let mut top = "discovery:\n  static:\n".to_owned();
    for (name, set) in sets {
        top.push_str(&format!("    {name}: {set}\n"));
    }
    Proxy::start(&Setup::new().top(top.trim_end()))
}

pub(crate) fn ask(proxy: &Proxy, host: &str) -> Message {
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    wire.read_response()
}

fn set(address: SocketAddr, protocol: &str, tls: &str) -> String {
    format!("{{endpoints: [\"{address}\"], protocol: {protocol}, tls: {{{tls}}}}}")
}

pub(crate) fn node_is_spoken_to_over_tls_in_both_protocols_with_and_without_a_certificate() {
    let authority = Authority::new();
    authority.issue("server", &["accounts.example"], Kind::Server);
    authority.issue("address", &["127.0.0.1"], Kind::Server);
    authority.issue("caller", &["spiffe://mesh/a"], Kind::Client);
    let (open, by_address) = (
        node(&authority, "server", "no", "both"),
        node(&authority, "address", "no", "both"),
    );
    let closed = node(&authority, "server", "yes", "both");
    let ca = format!("ca: {}", authority.ca().display());
    let named = format!("{ca}, serverName: accounts.example");
    let file = |name: &str| authority.file(name).display().to_string();
    let identity = format!(
        "{named}, cert: {}, key: {}",
        file("caller.pem"),
        file("caller.key")
    );
    let proxy = proxy(&[
        ("one", set(open.address, "http1", &named)),
        ("two", set(open.address, "http2", &named)),
        ("same", set(open.address, "same", &named)),
        ("address", set(by_address.address, "http1", &ca)),
        ("with", set(closed.address, "http2", &identity)),
        ("without", set(closed.address, "http1", &named)),
    ]);
    let table = [
        ("one", "1.1 none accounts.example false"),
        ("two", "2.0 https accounts.example false"),
        ("same", "1.1 none accounts.example false"),
        ("address", "1.1 none no-name false"),
        ("with", "2.0 https accounts.example true"),
    ];
    for (host, expected) in table {
        let answer = ask(&proxy, host);
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, expected),
            "{host}"
        );
    }
    assert_eq!(ask(&proxy, "without").status(), 502);
}

pub(crate) fn no_endpoint_is_believed_that_does_not_prove_its_name() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for issuer in [&authority, &stranger] {
        issuer.issue("good", &["accounts.example"], Kind::Server);
    }
    authority.issue("other", &["ledger.example"], Kind::Server);
    authority.issue("expired", &["accounts.example"], Kind::Expired);
    authority.issue("not-yet", &["accounts.example"], Kind::NotYet);
    authority.issue("client", &["accounts.example"], Kind::Client);
    let named = format!(
        "ca: {}, serverName: accounts.example",
        authority.ca().display()
    );
    let table = [
        (
            node(&stranger, "good", "no", "both"),
            named.clone(),
            "certificate-unknown-issuer",
        ),
        (
            node(&authority, "other", "no", "both"),
            named.clone(),
            "certificate-other-name",
        ),
        (
            node(&authority, "expired", "no", "both"),
            named.clone(),
            "certificate-expired",
        ),
        (
            node(&authority, "not-yet", "no", "both"),
            named.clone(),
            "certificate-not-yet-valid",
        ),
        (
            node(&authority, "client", "no", "both"),
            named.clone(),
            "certificate-other-purpose",
        ),
        (
            node(&authority, "good", "no", "both"),
            "serverName: accounts.example".to_owned(),
            "certificate-unknown-issuer",
        ),
    ];
    for (server, tls, reason) in table {
        let proxy = proxy(&[("bad", set(server.address, "http1", &tls))]);
        let answer = ask(&proxy, "bad");
        let error = answer.head.get("heddle-err").unwrap_or_default();
        assert_eq!(answer.status(), 502, "{reason}: {}", answer.text());
        assert!(
            error.starts_with("connect") && error.contains("TLS: "),
            "{reason}: {error}"
        );
        let counted = metric(
            &proxy,
            "heddle_upstream_tls_handshake_failures_total",
            &[reason],
        );
        assert!(counted >= 1.0, "{reason}: {error}");
        assert!(
            metric(&proxy, "heddle_attempts_total", &["connect"]) >= 1.0,
            "{reason}"
        );
    }
}

pub(crate) fn a_server_without_h2_is_told_from_a_broken_one() {
    let authority = Authority::new();
    authority.issue("server", &["accounts.example"], Kind::Server);
    let program = "
import ssl, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header('content-length', '2'); self.end_headers(); self.wfile.write(b'ok')
server = HTTPServer(('127.0.0.1', 0), Answer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print('port', server.server_port, flush=True)
server.serve_forever()
";
    let mut command = Command::new("python3");
    command.arg("-c").arg(program);
    command
        .arg(authority.file("server.pem"))
        .arg(authority.file("server.key"));
    let server = listening(command);
    let named = format!(
        "ca: {}, serverName: accounts.example",
        authority.ca().display()
    );
    let proxy = proxy(&[
        ("one", set(server.address, "http1", &named)),
        ("two", set(server.address, "http2", &named)),
    ]);
    assert_eq!(ask(&proxy, "one").text(), "ok");
    let answer = ask(&proxy, "two");
    let error = answer.head.get("heddle-err").unwrap_or_default();
    assert!(answer.status() == 502 && error.contains("h2"), "{error}");
}

pub(crate) fn a_silent_server_costs_the_connect_timeout() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = silent.local_addr().expect("a bound socket has an address");
    let authority = Authority::new();
    let named = format!(
        "ca: {}, serverName: accounts.example",
        authority.ca().display()
    );
    let proxy = proxy(&[("silent", set(address, "http1", &named))]);
    let answer = ask(&proxy, "silent");
    let error = answer.head.get("heddle-err").unwrap_or_default();
    assert_eq!(answer.status(), 504, "{error}");
    assert!(error.contains("connect timed out"), "{error}");
}
