//! Every example starts as it is, on ports of its own.

use heddle_e2e::binary::{heddle, repository};
use heddle_e2e::process::{Running, run};
use heddle_e2e::script::within;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

fn examples() -> Vec<PathBuf> {
    let folder = repository().join("examples");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("there are examples")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    socket
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// The example with every loopback port that it listens on replaced by a free one.
fn moved(text: &str) -> (String, Vec<SocketAddr>) {
    let mut ports: BTreeMap<String, u16> = BTreeMap::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        if let Some(at) = line.find("listen: ") {
            let rest = &line[at + 8..];
            let address: String = rest
                .chars()
                .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
                .collect();
            if let Some((_, port)) = address.rsplit_once(':') {
                let free = *ports.entry(port.to_owned()).or_insert_with(free_port);
                line = line.replacen(&address, &format!("127.0.0.1:{free}"), 1);
            }
        }
        lines.push(line);
    }
    let mut text = lines.join("\n") + "\n";
    if !text.lines().any(|line| line.starts_with("admin:")) && text.contains("listeners:") {
        let admin = *ports.entry("9990".to_owned()).or_insert_with(free_port);
        text = format!("admin: {{listen: 127.0.0.1:{admin}}}\n{text}");
    }
    let addresses = ports
        .values()
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))
        .collect();
    (text, addresses)
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a writable folder");
    for entry in std::fs::read_dir(from).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        let target = to.join(path.file_name().expect("a file has a name"));
        if path.is_dir() {
            copy_folder(&path, &target)
        } else {
            drop(std::fs::copy(&path, &target))
        }
    }
}

/// What the TLS examples tell their readers to make.
fn make_certificate(folder: &Path) {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).expect("sound names");
    std::fs::create_dir_all(folder).expect("a writable folder");
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).expect("a writable folder");
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())
        .expect("a writable folder");
}

#[test]
fn every_example_starts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy_folder(&repository().join("examples"), folder.path());
    make_certificate(&folder.path().join("tls"));
    let mut started = 0;
    for example in examples() {
        let name = example
            .file_name()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        let checked = run(
            Command::new(heddle())
                .arg("check")
                .arg(folder.path().join(&name)),
            Duration::from_secs(20),
        );
        assert_eq!(
            checked.code,
            Some(0),
            "heddle check {name}: {}",
            checked.stderr
        );
        let text = std::fs::read_to_string(&example).expect("a readable example");
        if !text.contains("listeners:") {
            continue;
        }
        let (text, addresses) = moved(&text);
        let copy = folder.path().join(&name);
        std::fs::write(&copy, text).expect("a writable folder");
        let mut proxy = Running::start(Command::new(heddle()).arg("proxy").arg("-c").arg(&copy));
        for address in &addresses {
            within(
                Duration::from_secs(20),
                &format!("{name} listens on {address}"),
                || {
                    assert!(proxy.is_alive(), "{name} ended: {}", proxy.output());
                    TcpStream::connect_timeout(address, Duration::from_millis(200)).is_ok()
                },
            );
        }
        proxy.stop();
        started += 1;
    }
    assert!(started >= 15, "only {started} examples are proxies");
}
