//! What systemd's own tools say of the unit files, and of a socket that they pass on.

use crate::Case;
use heddle_e2e::binary::{heddle, repository};
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::Need;
use heddle_e2e::process::{Running, run};
use heddle_e2e::script::within;
use heddle_e2e::wire::Wire;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const CASES: &[Case] = &[
    Case(
        "systemd::it_finds_nothing_wrong_with_the_unit_files",
        &[Need::SystemdAnalyze],
        it_finds_nothing_wrong_with_the_unit_files,
    ),
    Case(
        "systemd::it_activates_the_proxy_by_its_socket",
        &[Need::SystemdSocketActivate],
        it_activates_the_proxy_by_its_socket,
    ),
];

const PATIENCE: Duration = Duration::from_secs(30);

/// The unit files name programs where they are installed; here, the binary under test stands for them.
fn it_finds_nothing_wrong_with_the_unit_files() {
    let folder = TempDir::with_prefix("heddle-e2e-").expect("a folder");
    let binary = heddle().canonicalize().expect("it is there");
    let mut units = Vec::new();
    for name in ["heddle.service", "heddle.socket"] {
        let shipped = repository().join("deploy/systemd").join(name);
        let text = std::fs::read_to_string(shipped).expect("it is shipped");
        let text = text.replace("/usr/local/bin/heddle", &binary.display().to_string());
        let unit = folder.path().join(name);
        std::fs::write(&unit, text).expect("ours");
        units.push(unit);
    }
    let mut verify = Need::SystemdAnalyze.command();
    let judged = run(
        verify
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .args(units),
        PATIENCE,
    );
    let said = format!("{}{}", judged.stdout, judged.stderr);
    let ours: Vec<_> = said
        .lines()
        .filter(|line| line.contains("heddle"))
        .collect();
    assert!(judged.code == Some(0) && ours.is_empty(), "{said}");
}

fn it_activates_the_proxy_by_its_socket() {
    let echo = Echo::start("one");
    let folder = TempDir::with_prefix("heddle-e2e-").expect("a folder");
    let yaml = format!(
        "admin: {{listen: 127.0.0.1:0}}\nlisteners:\n  - name: outbound\n    listen: 127.0.0.1:1\ndiscovery:\n  static:\n    ledger: [\"{}\"]\n",
        echo.address()
    );
    std::fs::write(folder.path().join("heddle.yaml"), yaml).expect("ours");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let mut command = Need::SystemdSocketActivate.command();
    command
        .arg(format!("--listen={address}"))
        .arg("--fdname=outbound")
        .arg(heddle())
        .args(["proxy", "-c", "heddle.yaml"])
        .current_dir(folder.path());
    let mut activated = Running::start(&mut command);
    within(PATIENCE, "it listens", || {
        activated.output().contains("Listening on")
    });
    // The first connection starts the proxy, which finds it in the queue.
    let mut wire = Wire::connect(address);
    wire.send("GET / HTTP/1.1\r\nhost: ledger\r\n\r\n");
    assert_eq!(wire.read_response().status(), 200, "{}", activated.output());
    // It replaced itself by the proxy, so this is the proxy's own end.
    activated.signal("TERM");
    drop(wire);
    assert_eq!(activated.wait(PATIENCE), Some(0), "{}", activated.output());
}
