//! TLS with real clients and servers, and with those that nobody should trust.

mod bounds;
mod certificates;
mod configured;
mod origination;
mod refusals;
mod reload;
mod support;
mod termination;

use heddle_e2e::needs::Need;
use heddle_e2e::trials;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut all = trials![
        bounds::a_handshake_that_does_not_go_on_ends,
        bounds::plaintext_is_answered_and_told,
        bounds::the_end_of_a_certificate_that_is_gone_is_not_shown,
        configured::a_cluster_document_says_how_its_endpoints_are_spoken_to,
        configured::the_longest_prefix_counts_and_a_sets_own_tls_more,
        origination::node_is_spoken_to_over_tls_in_both_protocols_with_and_without_a_certificate,
        origination::no_endpoint_is_believed_that_does_not_prove_its_name,
        origination::a_server_without_h2_is_told_from_a_broken_one,
        origination::a_silent_server_costs_the_connect_timeout,
        refusals::no_bad_client_certificate_gets_in,
        refusals::no_session_is_resumed_across_names_or_without_a_certificate,
        refusals::plaintext_is_told_so_and_not_served,
        refusals::garbage_ends_in_a_count,
        reload::new_files_are_taken_up_under_load_and_broken_ones_are_not,
        reload::the_checker_tells_what_is_wrong_with_files,
        termination::curl_speaks_both_protocols_by_alpn_and_the_service_is_told_of_https,
        termination::the_server_name_chooses_the_certificate,
        termination::a_request_for_a_host_that_the_certificate_does_not_cover_is_misdirected,
        termination::callers_with_a_good_certificate_are_served_and_old_versions_are_not,
    ];
    all.extend([
        trials::with(
            &[Need::Nginx],
            "configured::nginx_is_spoken_to_over_tls",
            configured::nginx_is_spoken_to_over_tls,
        ),
        trials::when(
            bounds::descriptors,
            "bounds::handshakes_under_way_are_capped_and_others_follow",
            bounds::handshakes_under_way_are_capped_and_others_follow,
        ),
    ]);
    trials::run(all)
}
