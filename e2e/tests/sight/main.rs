//! What the proxy tells of single requests: the access log, traces, `heddle-err`.

mod collector;
mod disk;
mod ends;
mod log;
mod origin;
mod own;
mod support;

use heddle_e2e::needs::Need;
use heddle_e2e::trials;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut all = trials![
        collector::without_a_collector_requests_go_on_and_spans_are_counted,
        collector::contexts_go_on_in_the_form_in_which_they_came,
        disk::a_device_that_is_always_full,
        ends::a_head_of_an_unknown_protocol_that_does_not_come,
        ends::a_connection_too_many,
        ends::a_connection_that_floods,
        ends::a_reset_on_purpose,
        ends::a_body_that_stops_behind_the_head_of_the_answer,
        ends::requests_that_a_drain_cuts_off,
        log::a_request_that_went_well,
        log::answers_of_the_proxys_own,
        log::a_retry_shows_each_attempt,
        log::a_caller_that_goes_away,
        log::a_rotated_log_is_followed,
        log::the_last_lines_are_written_before_the_end,
        origin::every_answer_of_the_proxys_own_says_so,
        own::every_answer_of_its_own_is_accounted_for,
        own::a_head_that_unpacks_to_too_much_is_told_of_as_well,
        own::what_is_refused_unread_is_told_as_far_as_it_was_seen,
    ];
    all.extend([
        trials::with(
            &[Need::OpentelemetryProto],
            "collector::a_trace_goes_through_two_proxies",
            collector::a_trace_goes_through_two_proxies,
        ),
        trials::when(
            disk::mountable,
            "disk::a_disk_that_fills_and_is_freed",
            disk::a_disk_that_fills_and_is_freed,
        ),
    ]);
    trials::run(all)
}
