//! `heddle demo`: a tour on real traffic. Two versions of a small service in two languages behind
//! the proxy; the new one gets 5 % and then 50 %, a replica becomes slow, another is killed.
//!
//! Everything it starts is a child of this process and ends with it.

mod board;
mod display;
mod promises;
mod service;
mod stage;
mod tour;

use clap::Args;
use std::process::ExitCode;

/// Take a tour on real traffic: canary, slow replica, killed replica
///
/// It starts services, a proxy and a load on this machine, shows what happens on the terminal and on the dashboard, and ends
/// with what it has proved.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Makes one bounded tour, prints the table, and exits non-zero if a promise broke
    #[arg(long)]
    once: bool,
    /// Requests per second, whatever the answers do (open loop)
    #[arg(long, default_value_t = 300.0, value_parser = rate)]
    rate: f64,
    /// Port of the proxy; another is taken, and told, when it is in use
    #[arg(long, default_value_t = 4140)]
    port: u16,
    /// Port of the proxy's admin pages; another is taken, and told, when it is in use
    #[arg(long, default_value_t = 9990)]
    admin_port: u16,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (20.0..=20_000.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number of requests per second from 20 to 20000".into()),
    }
}

/// Runs the tour.
pub(crate) fn run(args: DemoArgs) -> ExitCode {
    match tour::run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("heddle demo: {reason}");
            ExitCode::FAILURE
        }
    }
}
