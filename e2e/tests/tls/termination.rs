//! Clients that are welcome.

use crate::certificates::{Authority, Kind};
use crate::support::{client_auth, curl, finished, metric, python, tls};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use serde_json::Value;
use std::process::Command;

fn bank(authority: &Authority, echo: &Echo, more: &str) -> Proxy {
    let setup = Setup::new()
        .listener(
            "outbound",
            &format!(
                "identify: [{{static: bank}}]\n{}",
                tls(authority, "bank", more)
            ),
        )
        .replicas("bank", &[echo.address()]);
    Proxy::start(&setup)
}

pub(crate) fn curl_speaks_both_protocols_by_alpn_and_the_service_is_told_of_https() {
    let (authority, echo) = (Authority::new(), Echo::start("bank"));
    authority.issue("bank", &["bank.example"], Kind::Server);
    let proxy = bank(&authority, &echo, "");
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let mut command = curl(proxy.outbound(), "bank.example", &authority.ca());
        command
            .args([option, "-w", "\n%{http_version} %{http_code}"])
            .args(["-H", "x-forwarded-client-cert: By=spiffe://evil"]);
        let said = finished(&mut command);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        let (body, line) = said.stdout.rsplit_once('\n').expect("two lines");
        assert_eq!(line, format!("{version} 200"));
        let echoed: Value = serde_json::from_str(body).expect("the echo answers in JSON");
        let text = echoed.to_string();
        assert!(text.contains("proto=https"), "{text}");
        assert!(text.contains("x-forwarded-proto"), "{text}");
        assert!(!text.contains("x-forwarded-client-cert"), "{text}");
    }
    assert_eq!(
        metric(&proxy, "heddle_tls_handshakes_total", &["outbound"]),
        2.0
    );
    assert!(
        metric(
            &proxy,
            "heddle_tls_certificate_expiry_timestamp_seconds",
            &["bank.pem"]
        ) > 1e9
    );
}

pub(crate) fn the_server_name_chooses_the_certificate() {
    let (authority, echo) = (Authority::new(), Echo::start("bank"));
    authority.issue("one", &["one.example"], Kind::Server);
    authority.issue("wild", &["*.two.example"], Kind::Server);
    authority.issue("exact", &["x.two.example"], Kind::Server);
    let certificates = ["one", "wild", "exact"]
        .map(|name| authority.pair(name))
        .join(", ");
    let extra = format!("identify: [{{static: bank}}]\ntls: {{certificates: [{certificates}]}}");
    let setup = Setup::new()
        .listener("outbound", &extra)
        .replicas("bank", &[echo.address()]);
    let proxy = Proxy::start(&setup);
    let program = "
import ssl, socket, sys
context = ssl.create_default_context(cafile=sys.argv[2])
context.check_hostname = False
with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as plain:
    with context.wrap_socket(plain, server_hostname=sys.argv[3] or None) as secured:
        print(','.join(name for _, name in secured.getpeercert()['subjectAltName']), secured.version(), end='')
";
    let table = [
        ("one.example", "one.example"),
        ("a.two.example", "*.two.example"),
        ("X.two.example", "x.two.example"),
        ("a.b.two.example", "one.example"),
        ("unknown.example", "one.example"),
        ("", "one.example"),
    ];
    for (asked, shown) in table {
        let port = proxy.outbound().port().to_string();
        let said = python(
            program,
            &[&port, &authority.ca().display().to_string(), asked],
        );
        assert_eq!(
            said.stdout,
            format!("{shown} TLSv1.3"),
            "{asked}: {}",
            said.stderr
        );
    }
}

pub(crate) fn a_request_for_a_host_that_the_certificate_does_not_cover_is_misdirected() {
    let (authority, echo) = (Authority::new(), Echo::start("bank"));
    authority.issue("bank", &["bank.example", "also.example"], Kind::Server);
    let proxy = bank(&authority, &echo, "");
    let table = [
        ("bank.example", "200"),
        ("also.example", "200"),
        ("other.example", "421"),
        ("OTHER.example:443", "421"),
        ("bank.example:443", "200"),
    ];
    for option in ["--http1.1", "--http2"] {
        for (host, status) in table {
            let mut command = curl(proxy.outbound(), "bank.example", &authority.ca());
            command.args([option, "-o", "/dev/null", "-w", "%{http_code}"]);
            command.arg("-H").arg(format!("host: {host}"));
            let said = finished(&mut command);
            assert_eq!(said.stdout, status, "{option} {host}: {}", said.stderr);
        }
    }
}

pub(crate) fn callers_with_a_good_certificate_are_served_and_old_versions_are_not() {
    let (authority, echo) = (Authority::new(), Echo::start("bank"));
    authority.issue("bank", &["bank.example"], Kind::Server);
    authority.issue("caller", &["spiffe://mesh/ns/a/sa/b"], Kind::Client);
    let proxy = bank(&authority, &echo, &client_auth(&authority, "require"));
    let mut command = curl(proxy.outbound(), "bank.example", &authority.ca());
    command.arg("--cert").arg(authority.file("caller.pem"));
    command.arg("--key").arg(authority.file("caller.key"));
    let said = finished(&mut command);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let address = proxy.outbound().to_string();
    for (version, served) in [
        ("-tls1", false),
        ("-tls1_1", false),
        ("-tls1_2", true),
        ("-tls1_3", true),
    ] {
        let mut command = Command::new("openssl");
        command
            .args([
                "s_client",
                "-connect",
                &address,
                "-servername",
                "bank.example",
                version,
            ])
            .args([
                "-cipher",
                "ALL:@SECLEVEL=0",
                "-verify_return_error",
                "-CAfile",
            ])
            .arg(authority.ca())
            .arg("-cert")
            .arg(authority.file("caller.pem"))
            .arg("-key")
            .arg(authority.file("caller.key"))
            .stdin(std::process::Stdio::null());
        let said = finished(&mut command);
        assert_eq!(
            !said.stdout.contains("Cipher is (NONE)"),
            served,
            "{version}: {}",
            said.stdout
        );
    }
}
