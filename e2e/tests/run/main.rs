//! `heddle run`, with real programs beside it.

mod admission;
mod ends;
mod mesh;
mod quiet;
mod support;

use heddle_e2e::trials;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut all = trials![
        admission::what_is_too_much_waits_and_then_is_shed,
        admission::nobody_waits_longer_than_is_allowed,
        admission::who_waits_and_goes_away_leaves_no_trace,
        admission::a_deadline_that_has_passed_does_not_bother_the_service,
        ends::the_status_is_the_programs,
        ends::a_program_that_crashes_before_it_listens_is_told,
        ends::a_port_that_another_program_has_is_told,
        ends::default_ports_that_are_taken_give_way,
        ends::requests_wait_for_a_program_that_starts,
        ends::a_program_that_does_not_listen_in_time_is_told_and_runs_on,
        ends::signals_are_the_programs,
        ends::what_is_in_flight_ends_before_the_program_is_told,
        ends::a_program_that_ignores_its_end_is_killed,
        ends::a_second_signal_does_not_wait_for_what_is_in_flight,
        mesh::two_terminals_and_a_curl_by_name_are_a_mesh,
        mesh::the_program_is_told_where_the_proxy_is,
        mesh::a_job_calls_by_name_and_ends,
        mesh::the_program_can_call_others_while_it_ends,
        mesh::lines_of_killed_instances_go,
        mesh::a_roll_out_loses_nothing,
        quiet::a_start_that_goes_well_is_one_line,
        quiet::a_job_is_told_of_in_one_line_and_who_wants_more_gets_it,
        quiet::where_a_file_says_the_program_listens_is_where_it_is_looked_for,
    ];
    all.extend([
        trials::when(
            trials::ipv6,
            "quiet::a_program_on_ipv6_alone_is_found",
            quiet::a_program_on_ipv6_alone_is_found,
        ),
        trials::when(
            trials::ipv6,
            "quiet::requests_wait_for_a_program_on_ipv6",
            quiet::requests_wait_for_a_program_on_ipv6,
        ),
    ]);
    trials::run(all)
}
