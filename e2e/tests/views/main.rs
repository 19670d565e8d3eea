//! What people see of a running proxy: the dashboard, `heddle top`, `heddle routes`.

mod browser;
mod commands;
mod pages;
mod support;

use heddle_e2e::needs::Need;
use heddle_e2e::trials;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut all = trials![
        commands::top_once_fits_eighty_columns,
        commands::nobody_at_the_address_is_told,
        commands::routes_shows_rules_shares_and_where_they_lead,
        commands::the_live_screen_sorts_resizes_and_restores_the_terminal,
        pages::the_dashboard_loads_nothing_from_elsewhere,
        pages::the_figures_are_those_of_the_requests,
        pages::a_proxy_without_traffic_has_figures_too,
        pages::the_explorer_takes_urls_and_names,
        pages::a_name_that_nobody_vouched_for_reads_nothing,
    ];
    all.extend([trials::with(
        &[Need::Chromium],
        "browser::the_script_fills_the_page_without_an_error",
        browser::the_script_fills_the_page_without_an_error,
    )]);
    trials::run(all)
}
