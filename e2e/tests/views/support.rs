//! A proxy that has seen something, and questions to it.

use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::wire::{Message, Wire};
use serde_json::Value;
use std::net::SocketAddr;

/// A proxy with two services, one of which failed twice.
pub(crate) struct Stage {
    pub(crate) proxy: Proxy,
    _echoes: Vec<Echo>,
}

/// Requests for `accounts` that went well, and for `ledger` that failed.
pub(crate) const ACCOUNTS: u64 = 20;
pub(crate) const FAILED: u64 = 3;

pub(crate) fn stage() -> Stage {
    let echoes: Vec<_> = (0..3).map(|_| Echo::start("e")).collect();
    let address = |index: usize| echoes[index].address();
    let setup = Setup::new()
        .replicas("accounts-v1", &[address(0)])
        .replicas("accounts-v2", &[address(1)])
        .replicas("ledger", &[address(2)])
        .document(
            "Route",
            "accounts",
            "{service: accounts, rules: [{match: {headers: {x-stage: v2}}, to: accounts-v2}, \
             {to: [{service: accounts-v1, weight: 3}, {service: accounts-v2, weight: 1}]}]}",
        );
    let proxy = Proxy::start(&setup);
    for _ in 0..ACCOUNTS {
        assert_eq!(get(proxy.outbound(), "accounts", "/").status(), 200);
    }
    for _ in 0..FAILED {
        assert_eq!(
            get(proxy.outbound(), "ledger", "/?status=500").status(),
            500
        );
    }
    assert_eq!(get(proxy.outbound(), "nobody", "/").status(), 404);
    Stage {
        proxy,
        _echoes: echoes,
    }
}

pub(crate) fn get(to: SocketAddr, host: &str, target: &str) -> Message {
    let mut wire = Wire::connect(to);
    wire.send(format!(
        "GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    ));
    wire.read_response()
}

impl Stage {
    pub(crate) fn stats(&self) -> Value {
        self.proxy.ask_admin("/stats.json").json()
    }

    /// A name as `/stats.json` has it.
    pub(crate) fn service(&self, name: &str) -> Value {
        let stats = self.stats();
        let services = stats["services"].as_array().cloned().unwrap_or_default();
        let found = services.into_iter().find(|service| service["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not in {stats:#}"))
    }
}
