//! What the tests share.

use crate::certificates::Authority;
use heddle_e2e::process::{Finished, run};
use heddle_e2e::proxy::Proxy;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// More than any of these commands needs on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// `curl` for `https://<host>/` at `address`, trusting `ca`.
pub(crate) fn curl(address: SocketAddr, host: &str, ca: &Path) -> Command {
    let port = address.port();
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--noproxy", "*", "--max-time", "20", "--cacert"])
        .arg(ca)
        .arg("--resolve")
        .arg(format!("{host}:{port}:127.0.0.1"))
        .arg(format!("https://{host}:{port}/"));
    command
}

/// What a command said.
pub(crate) fn finished(command: &mut Command) -> Finished {
    run(command, PATIENCE)
}

/// Runs a Python program with arguments; its output.
pub(crate) fn python(program: &str, arguments: &[&str]) -> Finished {
    finished(
        Command::new("python3")
            .arg("-c")
            .arg(program)
            .args(arguments),
    )
}

/// A listener's `tls` with one certificate and further keys.
pub(crate) fn tls(authority: &Authority, name: &str, more: &str) -> String {
    let pair = authority.pair(name);
    format!("tls: {{certificates: [{pair}]{more}}}")
}

/// `, clientAuth: …` with this authority.
pub(crate) fn client_auth(authority: &Authority, mode: &str) -> String {
    let ca = authority.ca();
    format!(", clientAuth: {{ca: {}, mode: {mode}}}", ca.display())
}

/// The sum of a metric's samples whose labels contain all of `labels`.
pub(crate) fn metric(proxy: &Proxy, name: &str, labels: &[&str]) -> f64 {
    let text = proxy.ask_admin("/metrics").text();
    text.lines()
        .filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            (rest.starts_with('{') || rest.starts_with(' '))
                && labels.iter().all(|label| rest.contains(label))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
