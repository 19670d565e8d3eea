//! `heddle proxy`: runs the data plane.

use heddle_proxy::process::{Options, run as run_proxy};
use std::path::PathBuf;
use std::process::ExitCode;

/// Run the data plane
///
/// Changes of the configuration's files apply within a second; one with errors is refused, and the last good one stays.
/// Signals: SIGTERM and SIGINT drain and end it, SIGHUP loads the configuration again and reopens the access log, SIGUSR2
/// has a new process take over the listening sockets (docs/operations.md). The dashboard is on the admin address.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file (docs/configuration.md). Without one: a listener on 127.0.0.1:4140 that knows no service yet.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Worker threads; one per core if neither this nor the file says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
}

/// Runs it.
pub(crate) fn run(args: Args) -> ExitCode {
    let options = Options {
        config: args.config,
        workers: args.workers.map(usize::from),
        ..Options::default()
    };
    match run_proxy(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}\nheddle proxy did not start.");
            ExitCode::FAILURE
        }
    }
}
