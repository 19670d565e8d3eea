//! What systemd sees: sockets that it passes on, and what it is told.

use heddle_e2e::binary::heddle;
use heddle_e2e::echo::Echo;
use heddle_e2e::process::Running;
use heddle_e2e::wire::Wire;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Reads what the proxy says until a message has all of `texts`.
fn expect(socket: &UnixDatagram, texts: &[&str]) {
    let mut seen = Vec::new();
    for _ in 0..100 {
        let mut buffer = [0; 1024];
        let count = socket
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("no {texts:?}: {error}; seen: {seen:#?}"));
        let said = String::from_utf8_lossy(&buffer[..count]).into_owned();
        if texts.iter().all(|text| said.contains(text)) {
            return;
        }
        seen.push(said);
    }
    panic!("no {texts:?} in {seen:#?}");
}

#[test]
fn systemd_passes_sockets_on_and_is_told_how_it_goes() {
    let echo = Echo::start("one");
    let folder = tempfile::TempDir::with_prefix("heddle-e2e-").expect("a folder");
    let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let address = listening.local_addr().expect("it is bound");
    let yaml = format!(
        "admin: {{listen: 127.0.0.1:0}}\nworkers: 2\nlisteners:\n  - name: outbound\n    listen: 127.0.0.1:1\ndiscovery:\n  static:\n    ledger: [\"{}\"]\n",
        echo.address()
    );
    std::fs::write(folder.path().join("heddle.yaml"), yaml).expect("ours");
    let told = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
    told.set_read_timeout(Some(PATIENCE)).expect("an option");
    // Queued before anybody accepts: the socket is there before the proxy.
    let mut early = Wire::connect(address);
    early.send("GET / HTTP/1.1\r\nhost: ledger\r\n\r\n");
    // The shell moves the socket from its standard input to descriptor 3, where it is expected.
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$0\" proxy -c heddle.yaml",
        ])
        .arg(heddle())
        .current_dir(folder.path())
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "outbound")
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .env("WATCHDOG_USEC", "400000");
    let mut proxy = Running::with_input(
        &mut command,
        Stdio::from(std::os::fd::OwnedFd::from(listening)),
    );
    expect(&told, &["READY=1", "STATUS=serving"]);
    assert_eq!(early.read_response().status(), 200);
    expect(&told, &["WATCHDOG=1"]);
    expect(&told, &["WATCHDOG=1"]);
    proxy.signal("HUP");
    expect(&told, &["RELOADING=1", "MONOTONIC_USEC="]);
    expect(&told, &["READY=1"]);
    proxy.signal("TERM");
    expect(&told, &["STOPPING=1"]);
    drop(early);
    assert_eq!(proxy.wait(PATIENCE), Some(0), "{}", proxy.output());
}
