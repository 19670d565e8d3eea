//! The control plane with real clients.

mod envoy;
mod support;

use heddle_e2e::needs::Need;
use heddle_e2e::trials;
use std::process::ExitCode;

fn main() -> ExitCode {
    let all = vec![
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
    ];
    trials::run(all)
}
