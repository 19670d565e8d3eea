//! TLS towards endpoints as documents and `discovery.tls` configure it, and with nginx.

use crate::certificates::{Authority, Kind};
use crate::origination::{ask, node};
use crate::support::metric;
use heddle_e2e::needs::Need;
use heddle_e2e::process::Running;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::within;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

fn trusting(authority: &Authority) -> String {
    format!(
        "ca: {}, serverName: accounts.example",
        authority.ca().display()
    )
}

pub(crate) fn a_cluster_document_says_how_its_endpoints_are_spoken_to() {
    let authority = Authority::new();
    authority.issue("server", &["accounts.example"], Kind::Server);
    let server = node(&authority, "server", "no", "both");
    let (address, tls) = (server.address, trusting(&authority));
    let mut setup = Setup::new();
    for (name, protocol) in [("one", "http1"), ("two", "http2")] {
        let spec = format!("{{endpoints: [\"{address}\"], protocol: {protocol}, tls: {{{tls}}}}}");
        setup = setup.document("Cluster", name, &spec);
    }
    // In plaintext, a TLS server understands nothing.
    let plain = format!("{{endpoints: [\"{address}\"], protocol: http1}}");
    let proxy = Proxy::start(&setup.document("Cluster", "plain", &plain));
    assert_eq!(ask(&proxy, "one").text(), "1.1 none accounts.example false");
    assert_eq!(
        ask(&proxy, "two").text(),
        "2.0 https accounts.example false"
    );
    assert_eq!(ask(&proxy, "plain").status(), 502);
}

pub(crate) fn the_longest_prefix_counts_and_a_sets_own_tls_more() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("server", &["accounts.example"], Kind::Server);
    let server = node(&authority, "server", "no", "both");
    let (address, port) = (server.address, server.address.port());
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    for name in ["accounts", "other"] {
        std::fs::write(folder.path().join(name), format!("127.0.0.1 {port}\n")).expect("ours");
    }
    let (good, bad) = (trusting(&authority), trusting(&stranger));
    let top = format!(
        "discovery:\n  files: {{dir: {}}}\n  static:\n    mine: {{endpoints: [\"{address}\"], protocol: http1, tls: {{{good}}}}}\n    prefixed: {{endpoints: [\"{address}\"], protocol: http1}}\n  tls:\n    /#/files: {{{good}}}\n    /#/files/other: {{{bad}}}\n    /#/static: {{{bad}}}",
        folder.path().display()
    );
    let proxy = Proxy::start(&Setup::new().top(&top));
    for (host, status) in [
        ("accounts", 200),
        ("other", 502),
        ("mine", 200),
        ("prefixed", 502),
    ] {
        let answer = ask(&proxy, host);
        assert_eq!(answer.status(), status, "{host}: {}", answer.text());
        let failed = metric(
            &proxy,
            "heddle_upstream_tls_handshake_failures_total",
            &["certificate-unknown-issuer", host],
        );
        assert_eq!(failed > 0.0, status == 502, "{host}");
    }
}

const NGINX: &str = "
daemon off; pid {folder}/pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {
    listen 127.0.0.1:{port} ssl http2;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {cert}; ssl_certificate_key {key};
    return 200 '$server_protocol $ssl_protocol $ssl_server_name';
  }
}
";

pub(crate) fn nginx_is_spoken_to_over_tls() {
    let authority = Authority::new();
    authority.issue("server", &["accounts.example"], Kind::Server);
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address: SocketAddr = held.local_addr().expect("a bound socket has an address");
    drop(held);
    let text = NGINX
        .replace("{folder}", &folder.path().display().to_string())
        .replace("{port}", &address.port().to_string())
        .replace(
            "{cert}",
            &authority.file("server.pem").display().to_string(),
        )
        .replace("{key}", &authority.file("server.key").display().to_string());
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, text).expect("the folder is ours");
    let mut command = Need::Nginx.command();
    let mut running = Running::start(command.arg("-p").arg(folder.path()).arg("-c").arg(file));
    within(Duration::from_secs(20), "nginx listens", || {
        assert!(running.is_alive(), "nginx has ended: {}", running.output());
        TcpStream::connect(address).is_ok()
    });
    let tls = trusting(&authority);
    let mut setup = Setup::new();
    for (name, protocol) in [("one", "http1"), ("two", "http2")] {
        let spec = format!("{{endpoints: [\"{address}\"], protocol: {protocol}, tls: {{{tls}}}}}");
        setup = setup.document("Cluster", name, &spec);
    }
    let proxy = Proxy::start(&setup);
    for _ in 0..3 {
        for (host, version) in [("one", "HTTP/1.1"), ("two", "HTTP/2.0")] {
            let answer = ask(&proxy, host);
            assert_eq!(answer.status(), 200, "{}", answer.text());
            assert_eq!(answer.text(), format!("{version} TLSv1.3 accounts.example"));
        }
    }
    // The connections were kept.
    for set in ["one", "two"] {
        let opened = metric(&proxy, "heddle_upstream_connections_opened_total", &[set]);
        let reused = metric(&proxy, "heddle_upstream_connections_reused_total", &[set]);
        assert_eq!(opened + reused, 3.0, "{set}");
        assert!(
            opened <= 2.0,
            "{set}: {opened} were opened, one for each worker at most"
        );
    }
}
