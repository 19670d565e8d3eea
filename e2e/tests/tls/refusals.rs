//! Clients that are not: none gets in, each is counted, and the proxy stays.

use crate::certificates::{Authority, Kind};
use crate::support::{client_auth, curl, finished, metric, python, tls};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::eventually;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn guarded(authority: &Authority, echo: &Echo, mode: &str) -> Proxy {
    authority.issue("bank", &["bank.example"], Kind::Server);
    let tls = tls(authority, "bank", &client_auth(authority, mode));
    let setup = Setup::new()
        .listener("outbound", &format!("identify: [{{static: bank}}]\n{tls}"))
        .replicas("bank", &[echo.address()]);
    Proxy::start(&setup)
}

pub(crate) fn no_bad_client_certificate_gets_in() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let echo = Echo::start("bank");
    authority.issue("expired", &["a"], Kind::Expired);
    authority.issue("not-yet", &["a"], Kind::NotYet);
    authority.issue("server", &["a"], Kind::Server);
    stranger.issue("caller", &["a"], Kind::Client);
    // (issuer, certificate, the reason that is counted)
    let table = [
        (&stranger, "caller", "certificate-unknown-issuer"),
        (&authority, "expired", "certificate-expired"),
        (&authority, "not-yet", "certificate-not-yet-valid"),
        (&authority, "server", "certificate-other-purpose"),
    ];
    for mode in ["require", "optional"] {
        let proxy = guarded(&authority, &echo, mode);
        for version in ["--tls-max 1.2", "--tlsv1.3"] {
            for (issuer, name, reason) in table {
                let before = metric(&proxy, "heddle_tls_handshake_failures_total", &[reason]);
                let mut command = curl(proxy.outbound(), "bank.example", &authority.ca());
                command.args(version.split(' '));
                command
                    .arg("--cert")
                    .arg(issuer.file(&format!("{name}.pem")));
                command
                    .arg("--key")
                    .arg(issuer.file(&format!("{name}.key")));
                let said = finished(&mut command);
                assert_ne!(
                    said.code,
                    Some(0),
                    "{mode} {version} {name}: {}",
                    said.stdout
                );
                eventually(&format!("{reason} is counted"), || {
                    metric(&proxy, "heddle_tls_handshake_failures_total", &[reason]) > before
                });
            }
        }
        let mut bare = curl(proxy.outbound(), "bank.example", &authority.ca());
        assert_eq!(finished(&mut bare).code == Some(0), mode == "optional");
    }
    assert_eq!(
        echo.requests(),
        1,
        "only the bare caller of `optional` is served"
    );
}

pub(crate) fn no_session_is_resumed_across_names_or_without_a_certificate() {
    let authority = Authority::new();
    let echo = Echo::start("bank");
    authority.issue("bank", &["bank.example", "other.example"], Kind::Server);
    authority.issue("caller", &["a"], Kind::Client);
    let (open, closed) = (
        tls(&authority, "bank", ""),
        tls(&authority, "bank", &client_auth(&authority, "require")),
    );
    let setup = Setup::new()
        .listener("outbound", &format!("identify: [{{static: bank}}]\n{open}"))
        .listener(
            "guarded",
            &format!("identify: [{{static: bank}}]\n{closed}"),
        )
        .replicas("bank", &[echo.address()]);
    let proxy = Proxy::start(&setup);
    // Prints for each connection whether it resumed the first one's session, or `refused`.
    let program = "
import ssl, socket, sys
ca, cert, key, version = sys.argv[1:5]
def context(with_cert):
    c = ssl.create_default_context(cafile=ca)
    c.maximum_version = getattr(ssl.TLSVersion, version)
    if with_cert: c.load_cert_chain(cert, key)
    return c
def ask(c, port, name, session):
    try:
        with socket.create_connection(('127.0.0.1', int(port))) as plain:
            with c.wrap_socket(plain, server_hostname=name, session=session) as s:
                s.sendall(b'GET / HTTP/1.1\\r\\nhost: ' + name.encode() + b'\\r\\nconnection: close\\r\\n\\r\\n')
                answer = b''
                while True:
                    part = s.recv(65536)
                    if not part: break
                    answer += part
                print('resumed' if s.session_reused else 'full', answer[9:12].decode() or 'refused')
                return s.session
    except (ssl.SSLError, OSError):
        print('refused')
open_port, guarded_port = sys.argv[5:7]
c = context(False)
session = ask(c, open_port, 'bank.example', None)
ask(c, open_port, 'bank.example', session)
ask(c, open_port, 'other.example', session)
ask(c, guarded_port, 'bank.example', session)
c = context(True)
session = ask(c, guarded_port, 'bank.example', None)
ask(c, guarded_port, 'bank.example', session)
";
    let path = |name: &str| authority.file(name).display().to_string();
    let ports = ["outbound", "guarded"].map(|name| proxy.address(name).port().to_string());
    for version in ["TLSv1_2", "TLSv1_3"] {
        let said = python(
            program,
            &[
                &path("ca.pem"),
                &path("caller.pem"),
                &path("caller.key"),
                version,
                &ports[0],
                &ports[1],
            ],
        );
        let lines: Vec<_> = said.stdout.lines().collect();
        let [first, same, other_name, guarded, with_cert, again] = lines[..] else {
            panic!("{}{}", said.stdout, said.stderr)
        };
        assert_eq!((first, same), ("full 200", "resumed 200"), "{version}");
        assert_eq!(other_name, "full 200", "{version}: another name");
        assert!(guarded.ends_with("refused"), "{version}: {guarded}");
        assert_eq!((with_cert, again), ("full 200", "full 200"), "{version}");
    }
}

pub(crate) fn plaintext_is_told_so_and_not_served() {
    let (authority, echo) = (Authority::new(), Echo::start("bank"));
    let proxy = guarded(&authority, &echo, "require");
    let mut stream = TcpStream::connect(proxy.outbound()).expect("it listens");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: bank.example\r\n\r\n")
        .expect("it reads");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a socket");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("a socket");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"),
        "{answer}"
    );
    assert_eq!(echo.requests(), 0);
    eventually("it is counted", || {
        metric(
            &proxy,
            "heddle_tls_handshake_failures_total",
            &["plaintext-http"],
        ) == 1.0
    });
}

pub(crate) fn garbage_ends_in_a_count() {
    let (authority, echo) = (Authority::new(), Echo::start("bank"));
    let proxy = guarded(&authority, &echo, "optional");
    let hello = [22_u8, 3, 1, 0, 5, 1, 0, 0, 1, 0];
    let count = 1000_u32;
    for n in 0..count {
        let mut stream = TcpStream::connect(proxy.outbound()).expect("it listens");
        let mut bytes: Vec<u8> = (0..64_u32)
            .map(|i| (n.wrapping_mul(31).wrapping_add(i * i) % 251) as u8)
            .collect();
        match n % 4 {
            0 => bytes[0] = 22,
            1 => bytes.splice(0..0, hello).for_each(drop),
            2 => bytes[0] = 0x80,
            _ => bytes.truncate(1),
        }
        // It may have closed already.
        stream.write_all(&bytes).ok();
    }
    eventually("every one is counted", || {
        metric(&proxy, "heddle_tls_handshake_failures_total", &[]) >= f64::from(count)
    });
    let said = finished(&mut curl(proxy.outbound(), "bank.example", &authority.ca()));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(!proxy.log().contains("panic"), "{}", proxy.log());
}
