//! `heddle control-plane`: serves a mesh to its proxies.

use heddle_core::spec::mesh;
use heddle_proxy::reload::FileSystem;
use std::path::PathBuf;
use std::process::ExitCode;

/// Serve rules and endpoints to proxies, to Envoy and to gRPC clients
///
/// What it serves is a folder of documents (docs/control-plane.md). Changes apply within a second; a document with errors is
/// refused and its last good form stays. SIGTERM and SIGINT end it; proxies go on with what they know.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file (docs/control-plane.md).
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> ExitCode {
    let (config, findings) = mesh::load(&args.config, &FileSystem);
    for finding in &findings {
        eprintln!("{finding}");
    }
    let why = match config.map(heddle_control_plane::process::run) {
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(why)) => format!("{why}\n"),
        None => String::new(),
    };
    eprintln!("{why}heddle control-plane did not start.");
    ExitCode::FAILURE
}
