//! Where the suites go: a proxy that leads every request to one place.

use heddle_e2e::proxy::{Proxy, Setup};
use std::net::SocketAddr;
use std::process::Command;

/// Whatever host a suite puts into its requests, this is where they go.
const EVERYTHING: &str = "dtab: /svc => /#/static/suite ;";

/// A proxy in front of `server`, which speaks `protocol` (`http1`, `http2`), with more keys for its listener.
pub(crate) fn in_front_of(server: SocketAddr, protocol: &str, listener: &str) -> Proxy {
    Proxy::start(
        &Setup::default()
            .listener("outbound", &format!("{EVERYTHING}\n{listener}"))
            .replicas_speaking("suite", &[server], protocol),
    )
}

/// Removes every setting of a proxy from what a program is started with.
pub(crate) fn without_proxy(command: &mut Command) -> &mut Command {
    for name in ["http_proxy", "https_proxy", "all_proxy", "grpc_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

/// The sum of a metric's samples whose labels contain `label`.
pub(crate) fn metric(proxy: &Proxy, name: &str, label: &str) -> f64 {
    let text = proxy.ask_admin("/metrics").text();
    let samples = text.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
    });
    samples
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
