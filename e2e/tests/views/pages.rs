//! The pages over HTTP.

use crate::support::{ACCOUNTS, FAILED, get, stage};
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::eventually;

pub(crate) fn the_dashboard_loads_nothing_from_elsewhere() {
    let proxy = Proxy::start(&Setup::new());
    for (page, kind) in [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/app.css", "text/css"),
    ] {
        let answer = proxy.ask_admin(page);
        assert_eq!(answer.status(), 200, "{page}");
        let is = answer.head.get("content-type").unwrap_or_default();
        assert!(is.starts_with(kind), "{page}: {is}");
        let policy = answer.head.get("content-security-policy");
        let policy = policy.unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        // The name space of SVG is a name, and is never asked for.
        let text = answer.text().replace("http://www.w3.org/2000/svg", "");
        let foreign = text.split(['"', '\'', '(', ' ']).filter(|word| {
            word.starts_with("https://") || word.starts_with("//") && word.len() > 2
        });
        assert_eq!(foreign.collect::<Vec<_>>(), Vec::<&str>::new(), "{page}");
        assert!(!text.contains("innerHTML"), "names come from strangers");
    }
}

pub(crate) fn the_figures_are_those_of_the_requests() {
    let stage = stage();
    eventually("all requests are counted", || {
        stage.service("/svc/ledger")["requests"] == FAILED
            && stage.service("/svc/accounts")["requests"] == ACCOUNTS
    });
    let accounts = stage.service("/svc/accounts");
    assert_eq!(accounts["failures"], 0);
    assert_eq!(accounts["classes"]["2xx"], ACCOUNTS);
    let counts = accounts["latency"]["counts"].as_array().expect("a list");
    let counted: u64 = counts.iter().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(counted, ACCOUNTS);
    assert_eq!(stage.service("/svc/ledger")["failures"], FAILED);
    assert_eq!(stage.service("/svc/nobody")["answers"]["no-such-name"], 1);
    let stats = stage.stats();
    assert_eq!(stats["version"], 1);
    assert_eq!(stats["config"]["generation"], 1);
    let bounds = stats["latencyBounds"].as_array().expect("a list").len();
    assert_eq!(counts.len(), bounds + 1);
    let sets = stats["replicaSets"].as_array().expect("a list");
    let sent: u64 = sets
        .iter()
        .flat_map(|set| set["endpoints"].as_array().expect("a list"))
        .filter_map(|endpoint| endpoint["requests"].as_u64())
        .sum();
    assert_eq!(sent, ACCOUNTS + FAILED);
}

pub(crate) fn a_proxy_without_traffic_has_figures_too() {
    let proxy = Proxy::start(&Setup::new());
    let stats = proxy.ask_admin("/stats.json").json();
    assert_eq!(stats["services"].as_array().map(Vec::len), Some(0));
    assert_eq!(stats["listeners"][0]["name"], "outbound");
    assert!(stats["notReady"].is_null(), "{stats:#}");
}

pub(crate) fn the_explorer_takes_urls_and_names() {
    let stage = stage();
    let ask = |target: &str| stage.proxy.ask_admin(target).json();
    let by_url = ask("/explain?url=http://accounts/x&header=x-stage:v2&format=json");
    assert_eq!(by_url["destinations"][0]["name"], "accounts-v2");
    let by_name = ask("/explain?path=/svc/accounts&format=json");
    assert_eq!(by_name["identification"]["name"], "/svc/accounts");
    let destinations = by_name["destinations"].as_array().expect("a list");
    assert_eq!(destinations.len(), 2, "{by_name:#}");
    assert_eq!(
        destinations[0]["delegation"]["delegate"]["dentry"],
        "/svc=>/#/static"
    );
    let trial = ask("/explain?path=/svc/x&dtab=/svc/x%20%3D%3E%20/svc/ledger&format=json");
    assert_eq!(trial["replicaSets"][0]["id"], "/#/static/ledger");
    let bad = stage.proxy.ask_admin("/explain?path=svc&format=json");
    assert_eq!(bad.status(), 400);
    assert!(bad.text().contains("is not a path"), "{}", bad.text());
}

pub(crate) fn a_name_that_nobody_vouched_for_reads_nothing() {
    let proxy = Proxy::start(&Setup::new());
    for page in ["/", "/stats.json", "/config", "/metrics", "/drain"] {
        let answer = get(proxy.admin(), "rebound.example:9990", page);
        assert_eq!(answer.status(), 421, "{page}");
        assert!(answer.text().contains("admin.hosts"), "{}", answer.text());
    }
    assert_eq!(
        get(proxy.admin(), "127.0.0.1:9990", "/stats.json").status(),
        200
    );
}
