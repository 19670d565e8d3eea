//! h2spec, all of its cases, strict ones too: what a server, and what a client, must make of each frame.

use crate::Suite;
use crate::place::{in_front_of, without_proxy};
use crate::scanner::Certificate;
use crate::table::only_exceptions;
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::Need;
use heddle_e2e::process::succeed;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::wire::Wire;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Some twenty times what it takes when every case passes; each that fails takes five seconds.
const LIMIT: Duration = Duration::from_secs(240);

/// The pinned version's cases for servers.
const CASES: usize = 146;

/// Its cases for clients.
const CLIENT_CASES: usize = 57;

const CLEARTEXT: &str = "h2spec_cleartext";
const TLS: &str = "h2spec_tls";
const CLIENT: &str = "h2spec_client";

pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: CLEARTEXT,
        needs: &[Need::H2spec],
        run: cleartext,
    },
    Suite {
        name: TLS,
        needs: &[Need::H2spec],
        run: tls,
    },
    Suite {
        name: CLIENT,
        needs: &[Need::H2spec],
        run: client,
    },
];

/// A listener that tells the protocol by the first bytes, in front of a server that speaks HTTP/1.1.
fn cleartext() {
    let echo = Echo::start("h2spec");
    let proxy = in_front_of(echo.address(), "http1", "");
    judge(
        CLEARTEXT,
        CASES,
        &["h2spec", &proxy.outbound().to_string(), "plain"],
    );
    // The suite breaks the protocol in every way; the next caller is none the worse for it.
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("GET /after HTTP/1.1\r\nhost: after\r\n\r\n");
    assert_eq!(wire.read_response().status(), 200);
    // Nor does it write what each frame was.
    assert!(!proxy.log().contains(" WARN "), "it shall not fill the log");
}

/// A listener where ALPN agrees on HTTP/2, in front of a server that speaks it as well.
fn tls() {
    let echo = Echo::start("h2spec");
    let certificate = Certificate::new();
    let proxy = in_front_of(echo.address(), "http2", &certificate.listener());
    judge(
        TLS,
        CASES,
        &["h2spec", &proxy.outbound().to_string(), "tls"],
    );
}

/// The proxy as the client of a server that breaks the protocol: each case is an address of its own, which
/// the host of the request names.
fn client() {
    let dtab = "dtab: /svc => /$/io.buoyant.hostportPfx/to ; /to => /$/inet ;";
    let proxy = Proxy::start(&Setup::default().listener("outbound", dtab));
    let address = proxy.outbound().to_string();
    judge(CLIENT, CLIENT_CASES, &["h2spec-client", &address]);
    assert!(!proxy.log().contains(" WARN "), "it shall not fill the log");
}

fn judge(suite: &str, cases: usize, arguments: &[&str]) {
    let mut command = Need::H2spec.command();
    without_proxy(&mut command).args(arguments);
    let said = succeed(&mut command, LIMIT);
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("outcomes "))
        .unwrap_or_else(|| panic!("h2spec gave no outcomes: {said}"));
    let outcomes: Vec<Value> =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(outcomes.len(), cases, "cases of h2spec");
    let by_id: BTreeMap<&str, &Value> = outcomes
        .iter()
        .filter_map(|outcome| Some((outcome["id"].as_str()?, outcome)))
        .collect();
    assert_eq!(by_id.len(), cases, "each case has an id of its own");
    let failed: BTreeSet<String> = by_id
        .iter()
        .filter(|(_, outcome)| outcome["result"] != "passed")
        .map(|(id, _)| (*id).to_owned())
        .collect();
    only_exceptions(suite, &failed, |id| by_id[id].to_string());
}
