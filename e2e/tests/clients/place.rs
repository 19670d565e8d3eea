//! Where a client goes: a proxy in front of a backend, two in a row, or the backend itself.

use heddle_e2e::proxy::{Proxy, Setup};
use std::net::SocketAddr;
use std::process::Command;

/// The name every row calls.
pub(crate) const NAME: &str = "echo";

/// An address to go to, with the proxies that stand behind it.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where the client connects.
    pub(crate) address: SocketAddr,
    /// The proxies, the first one first; none when the client goes directly.
    pub(crate) proxies: Vec<Proxy>,
}

/// Whether rows run without the proxy.
pub(crate) fn direct() -> bool {
    std::env::var_os("HEDDLE_DIRECT").is_some()
}

impl Place {
    /// So many proxies in a row before the backend.
    pub(crate) fn behind(proxies: usize, backend: SocketAddr) -> Self {
        let mut place = Self {
            address: backend,
            proxies: Vec::new(),
        };
        if direct() {
            return place;
        }
        for _ in 0..proxies {
            let proxy = Proxy::start(&Setup::new().replicas(NAME, &[place.address]));
            place.address = proxy.outbound();
            place.proxies.insert(0, proxy);
        }
        place
    }
}

impl Place {
    /// A proxy before a backend that speaks this protocol.
    pub(crate) fn speaking(backend: SocketAddr, protocol: &str) -> Self {
        let proxy = Proxy::start(&Setup::new().replicas_speaking(NAME, &[backend], protocol));
        Self {
            address: proxy.outbound(),
            proxies: vec![proxy],
        }
    }
}

/// Makes a command use this address as its HTTP proxy, in both spellings, and for every host.
pub(crate) fn through_environment(command: &mut Command, address: SocketAddr) {
    for name in ["http_proxy", "HTTP_PROXY"] {
        command.env(name, format!("http://{address}"));
    }
    without_exceptions(command);
}

/// Removes what would keep a client from using a proxy.
pub(crate) fn without_exceptions(command: &mut Command) {
    for name in ["no_proxy", "NO_PROXY", "no_grpc_proxy", "REQUEST_METHOD"] {
        command.env_remove(name);
    }
}

/// Removes every setting of a proxy.
pub(crate) fn without_proxy(command: &mut Command) {
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "grpc_proxy",
    ] {
        command.env_remove(name);
    }
}
