//! grpc-go's interop cases, its client against its server, through two proxies in a row.

use crate::Suite;
use crate::place::{in_front_of, metric, without_proxy};
use heddle_e2e::needs::Need;
use heddle_e2e::process::{Running, run, succeed};
use std::time::Duration;

/// The program's own limit for a case is 40 s.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const SUITES: &[Suite] = &[Suite {
    name: "grpc_go_interop",
    needs: &[Need::GrpcInterop],
    run: interop,
}];

fn interop() {
    let mut server = Running::start(Need::GrpcInterop.command().arg("interop-serve"));
    let address = server.wait_for_line("listening on ", LIMIT);
    let address = address.parse().expect("the server prints its address");
    let second = in_front_of(address, "http2", "");
    let first = in_front_of(second.outbound(), "http2", "");
    let cases = succeed(Need::GrpcInterop.command().arg("interop-cases"), LIMIT);
    let mut failed = Vec::new();
    for case in cases.lines() {
        let mut command = Need::GrpcInterop.command();
        without_proxy(&mut command).args(["interop", &first.outbound().to_string(), case]);
        let finished = run(&mut command, LIMIT);
        let passed = finished.stdout.lines().last() == Some(&format!("passed {case}"));
        if finished.code != Some(0) || !passed {
            failed.push(format!("{case}: {}{}", finished.stdout, finished.stderr));
        }
    }
    assert!(cases.lines().count() >= 17, "cases: {cases}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    for (place, proxy) in [("first", &first), ("second", &second)] {
        let requests = metric(proxy, "heddle_attempts_total", "");
        assert!(
            requests >= 100.0,
            "only {requests} went through the {place} proxy"
        );
    }
}
