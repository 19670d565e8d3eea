//! Opaque bytes.

use crate::Row;
use crate::place::NAME;
use heddle_e2e::needs::Need;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::Scripted;
use std::io::Write;
use std::process::Stdio;

pub(crate) const ROWS: &[Row] = &[Row {
    client: "nc",
    way: "a listener with `mode: tcp`",
    shows: "bytes both ways, and an answer that comes after the client has finished",
    needs: &[Need::Netcat],
    run,
}];

fn run() {
    let server = Scripted::start(|mut guest| {
        let (said, _) = guest.wire.read_to_end();
        guest.wire.send(format!(
            "{} bytes: {}",
            said.len(),
            String::from_utf8_lossy(&said)
        ));
    });
    let proxy = Proxy::start(
        &Setup::default()
            .listener("opaque", &format!("mode: tcp\nto: {NAME}"))
            .replicas(NAME, &[server.address()]),
    );
    let address = proxy.address("opaque");
    let mut command = Need::Netcat.command();
    // -N: finish the writing half at the end of the input.
    command.args([
        "-N",
        "-w",
        "10",
        &address.ip().to_string(),
        &address.port().to_string(),
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("nc was found before");
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(b"over to you")
        .expect("nc reads");
    let output = child
        .wait_with_output()
        .expect("waiting for a child of ours");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "11 bytes: over to you"
    );
}
