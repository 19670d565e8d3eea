//! The control plane with real clients.

mod envoy;
mod proxy;
mod support;

use heddle_e2e::needs::Need;
use heddle_e2e::trials;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut all = trials![
        proxy::rules_and_endpoints_arrive_and_change,
        proxy::requests_go_on_without_the_control_plane_and_across_a_restart,
        proxy::another_replica_serves_when_one_is_silent,
        proxy::a_proxy_whose_control_plane_never_was_serves_what_its_file_says,
    ];
    all.extend([
        trials::with(
            &[Need::Envoy],
            "envoy::requests_flow_as_the_rules_say",
            envoy::requests_flow_as_the_rules_say,
        ),
        trials::with(
            &[Need::Envoy],
            "envoy::requests_flow_by_differences_too",
            envoy::requests_flow_by_differences_too,
        ),
        trials::with(
            &[Need::Envoy],
            "envoy::changes_break_no_request",
            envoy::changes_break_no_request,
        ),
    ]);
    trials::run(all)
}
