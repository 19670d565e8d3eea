//! What systemd sees: sockets that it passes on, and what it is told.

use crate::Case;
use heddle_e2e::binary::heddle;
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::{Need, clients};
use heddle_e2e::process::Running;
use heddle_e2e::wire::Wire;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    Case(
        "notify::systemd_passes_sockets_on_and_is_told_how_it_goes",
        &[],
        systemd_passes_sockets_on_and_is_told_how_it_goes,
    ),
    Case(
        "notify::the_watchdog_is_not_fed_while_a_worker_is_stuck",
        &[Need::Python],
        the_watchdog_is_not_fed_while_a_worker_is_stuck,
    ),
    Case(
        "notify::the_watchdog_is_not_fed_by_a_stopped_process",
        &[],
        the_watchdog_is_not_fed_by_a_stopped_process,
    ),
];

/// How often the watchdog asks for a sign here; it is fed twice as often.
const WATCHDOG: Duration = Duration::from_millis(400);
/// Silence that systemd would take for the end, several times over.
const SILENCE: Duration = Duration::from_secs(2);

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
        .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    let mut proxy = Running::with_input(&mut command, Stdio::from(OwnedFd::from(listening)));
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

/// Reads until nothing has come for as long as systemd would never wait.
fn expect_silence(socket: &UnixDatagram) {
    socket.set_read_timeout(Some(SILENCE)).expect("an option");
    let mut buffer = [0; 1024];
    // What was under way may still come.
    let said = (0..10).find(|_| socket.recv(&mut buffer).is_err());
    assert!(said.is_some(), "it goes on saying that all is well");
    socket.set_read_timeout(Some(PATIENCE)).expect("an option");
}

/// A proxy's folder with two workers and a watchdog's socket.
fn watched() -> (tempfile::TempDir, UnixDatagram) {
    let folder = tempfile::TempDir::with_prefix("heddle-e2e-").expect("a folder");
    let yaml = "admin: {listen: 127.0.0.1:0}\nworkers: 2\nlisteners:\n  - name: outbound\n    listen: 127.0.0.1:0\n";
    std::fs::write(folder.path().join("heddle.yaml"), yaml).expect("ours");
    let told = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
    told.set_read_timeout(Some(PATIENCE)).expect("an option");
    (folder, told)
}

fn under_watch(command: &mut Command, folder: &Path) {
    command
        .current_dir(folder)
        .env("NOTIFY_SOCKET", folder.join("notify"))
        .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
}

fn the_watchdog_is_not_fed_while_a_worker_is_stuck() {
    let (folder, told) = watched();
    let (orders, input) = UnixStream::pair().expect("a pair");
    let mut command = Need::Python.command();
    command
        .arg(clients("python").join("hold_thread.py"))
        .arg("worker-1")
        .arg(heddle())
        .args(["proxy", "-c", "heddle.yaml"]);
    under_watch(&mut command, folder.path());
    let mut holder = Running::with_input(&mut command, Stdio::from(OwnedFd::from(input)));
    expect(&told, &["WATCHDOG=1"]);
    (&orders).write_all(b"\n").expect("it reads");
    holder.wait_for_line("held", PATIENCE);
    expect_silence(&told);
    assert!(
        holder.output().contains("a worker does not answer"),
        "{}",
        holder.output()
    );
    (&orders).write_all(b"\n").expect("it reads");
    holder.wait_for_line("let go", PATIENCE);
    expect(&told, &["WATCHDOG=1"]);
    drop(orders);
    assert_eq!(holder.wait(PATIENCE), Some(0), "{}", holder.output());
}

fn the_watchdog_is_not_fed_by_a_stopped_process() {
    let (folder, told) = watched();
    let mut command = Command::new(heddle());
    command.args(["proxy", "-c", "heddle.yaml"]);
    under_watch(&mut command, folder.path());
    let mut proxy = Running::start(&mut command);
    expect(&told, &["WATCHDOG=1"]);
    proxy.signal("STOP");
    expect_silence(&told);
    proxy.signal("CONT");
    expect(&told, &["WATCHDOG=1"]);
    proxy.signal("TERM");
    assert_eq!(proxy.wait(PATIENCE), Some(0), "{}", proxy.output());
}
