//! Heddle's own proxies as clients, and what they do without their control plane.

use crate::support::{cluster, document, get, server};
use heddle_e2e::control_plane::{ControlPlane, free};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{eventually, within};
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;

/// A proxy of these control planes, which keeps its state in `state`.
fn proxy(planes: &[SocketAddr], state: &TempDir) -> Setup {
    let addresses: Vec<_> = planes
        .iter()
        .map(|address| format!("\"http://{address}\""))
        .collect();
    Setup::new().top(&format!(
        "discovery: {{control-plane: {{address: [{}], snapshot: '{}'}}}}",
        addresses.join(", "),
        state.path().display()
    ))
}

fn state() -> TempDir {
    TempDir::with_prefix("heddle-state-").expect("the system has a temporary folder")
}

fn ask(proxy: &Proxy, host: &str) -> String {
    server(&get(proxy.outbound(), host, "/", ""))
}

fn route(to: &str) -> String {
    document(
        "Route",
        "accounts",
        &format!(
            "{{service: accounts, rules: [{{match: {{headers: {{x-stage: v2}}}}, to: accounts-v2}}, {{to: {to}}}]}}"
        ),
    )
}

pub(crate) fn rules_and_endpoints_arrive_and_change() {
    let (v1, v2, v3) = (Echo::start("v1"), Echo::start("v2"), Echo::start("v3"));
    let sets = |second: &Echo| {
        cluster("accounts-v1", v1.address()) + &cluster("accounts-v2", second.address())
    };
    let plane = ControlPlane::start(&[
        ("sets.yaml", &sets(&v2)),
        ("rules.yaml", &route("accounts-v1")),
    ]);
    let state = state();
    let proxy = Proxy::start(&proxy(&[plane.xds()], &state));
    assert_eq!(ask(&proxy, "accounts"), "v1", "from the first request on");
    assert_eq!(
        server(&get(proxy.outbound(), "accounts", "/", "x-stage: v2\r\n")),
        "v2"
    );
    assert_eq!(ask(&proxy, "stranger"), "404");
    plane.write("rules.yaml", &route("accounts-v2"));
    eventually("the rule changes", || ask(&proxy, "accounts") == "v2");
    plane.write("sets.yaml", &sets(&v3));
    eventually("the endpoints change", || ask(&proxy, "accounts") == "v3");
    plane.write("more.yaml", &cluster("stranger", v1.address()));
    eventually("what was missing is there", || {
        ask(&proxy, "stranger") == "v1"
    });
    plane.write("rules.yaml", "kind: nonsense\n");
    eventually("the mistake is told", || {
        plane.ask("/mesh").text().contains("HED2")
    });
    assert_eq!(ask(&proxy, "accounts"), "v3", "the last good rule stays");
    plane.wait_until_synced(1);
    assert_eq!(proxy.metric("heddle_xds_connected"), 1.0);
    assert_eq!(
        proxy.metric("heddle_xds_answers_total{result=\"refused\"}"),
        0.0
    );
}

pub(crate) fn requests_go_on_without_the_control_plane_and_across_a_restart() {
    let (v1, v2) = (Echo::start("v1"), Echo::start("v2"));
    let sets = cluster("accounts-v1", v1.address())
        + &cluster("accounts-v2", v2.address())
        + &cluster("cold", v1.address());
    let mut plane =
        ControlPlane::start(&[("sets.yaml", &sets), ("rules.yaml", &route("accounts-v1"))]);
    let state = state();
    let setup = proxy(&[plane.xds()], &state);
    let first = Proxy::start(&setup);
    assert_eq!(ask(&first, "accounts"), "v1");
    assert_eq!(
        server(&get(first.outbound(), "accounts", "/", "x-stage: v2\r\n")),
        "v2"
    );
    eventually("the state is kept", || {
        std::fs::read_dir(state.path()).is_ok_and(|mut files| files.next().is_some())
    });
    eventually("all of it", || {
        let bytes = std::fs::read(state.path().join("control-plane.state")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        [
            "static/accounts-v1",
            "static/accounts-v2",
            "Route/default/accounts",
        ]
        .iter()
        .all(|name| text.contains(name))
    });
    plane.kill();
    eventually("it notices", || first.metric("heddle_xds_connected") == 0.0);
    for _ in 0..100 {
        assert_eq!(ask(&first, "accounts"), "v1", "without a control plane");
    }
    within(
        Duration::from_secs(8),
        "a name that was never known fails, and not late",
        || ask(&first, "cold") == "404",
    );
    drop(first);

    let second = Proxy::start(&setup);
    for _ in 0..20 {
        assert_eq!(
            ask(&second, "accounts"),
            "v1",
            "after a restart without a control plane"
        );
        assert_eq!(
            server(&get(second.outbound(), "accounts", "/", "x-stage: v2\r\n")),
            "v2"
        );
    }
    plane.restart();
    plane.write("rules.yaml", &route("accounts-v2"));
    eventually("it follows again", || ask(&second, "accounts") == "v2");
    eventually("what was cold is known", || ask(&second, "cold") == "v1");
}

pub(crate) fn another_replica_serves_when_one_is_silent() {
    let (v1, v2) = (Echo::start("v1"), Echo::start("v2"));
    let mesh = |echo: &Echo| cluster("accounts", echo.address());
    let planes = [
        ControlPlane::start(&[("m.yaml", &mesh(&v1))]),
        ControlPlane::start(&[("m.yaml", &mesh(&v1))]),
    ];
    let state = state();
    let proxy = Proxy::start(&proxy(&[planes[0].xds(), planes[1].xds()], &state));
    assert_eq!(ask(&proxy, "accounts"), "v1");
    let followed = usize::from(planes[0].clients().is_empty());
    planes[followed].signal("STOP");
    let other = &planes[1 - followed];
    within(Duration::from_secs(20), "it follows the other one", || {
        assert_eq!(ask(&proxy, "accounts"), "v1");
        !other.clients().is_empty()
    });
    // Both replicas give what they serve equal versions, so there was nothing to tell.
    other.write("m.yaml", &mesh(&v2));
    eventually("and does as that says", || ask(&proxy, "accounts") == "v2");
    planes[followed].signal("CONT");
}

pub(crate) fn a_proxy_whose_control_plane_never_was_serves_what_its_file_says() {
    let own = Echo::start("own");
    let state = state();
    let [nobody] = free();
    let file = format!(
        "discovery: {{static: {{mine: ['{}']}}, control-plane: {{address: 'http://{nobody}', snapshot: '{}'}}}}",
        own.address(),
        state.path().display()
    );
    // It is ready at last, although nobody told it any rules.
    let proxy = Proxy::start_within(&Setup::new().top(&file), Duration::from_secs(30));
    assert_eq!(ask(&proxy, "mine"), "own");
    assert_eq!(ask(&proxy, "other"), "404");
}
