//! Listeners that come and go, and one that cannot.

use crate::support::{ask, get};
use heddle_e2e::binary::heddle;
use heddle_e2e::echo::Echo;
use heddle_e2e::process;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::eventually;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

#[test]
fn a_listener_goes_with_its_line() {
    let echo = Echo::start("a");
    let with = Setup::new()
        .replicas("a", &[echo.address()])
        .listener("spare", "");
    let without = Setup::new().replicas("a", &[echo.address()]);
    let proxy = Proxy::start(&with);
    let spare = proxy.address("spare");
    assert_eq!(ask(spare, get("a", "/", "")).status(), 200);
    proxy.rewrite(&without);
    eventually("it is closed", || TcpStream::connect(spare).is_err());
    assert_eq!(ask(proxy.outbound(), get("a", "/", "")).status(), 200);
    proxy.rewrite(&with);
    eventually("it is back", || TcpStream::connect(spare).is_ok());
    assert_eq!(ask(spare, get("a", "/", "")).status(), 200);
}

#[test]
fn a_port_in_use_is_said_so() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = taken.local_addr().expect("a bound socket has an address");
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let file = folder.path().join("heddle.yaml");
    let text = format!(
        "admin: {{listen: 127.0.0.1:0}}\nlisteners: [{{name: outbound, listen: \"{address}\"}}]\n"
    );
    std::fs::write(&file, text).expect("the folder is ours");
    let mut command = Command::new(heddle());
    command.arg("proxy").arg("-c").arg(&file);
    let finished = process::run(&mut command, Duration::from_secs(20));
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert!(
        said.contains(&address.to_string()) && said.contains("in use"),
        "{said}"
    );
}
