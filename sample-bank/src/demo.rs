//! `heddle-bank demo`: the whole bank on this machine.

use crate::Failure;
use std::process::ExitCode;

/// Arguments of `heddle-bank demo`.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Runs it.
///
/// # Errors
///
/// It cannot be carried out.
pub async fn run(_options: Options) -> Result<ExitCode, Failure> {
    Err(Failure::new("`demo` is not there yet"))
}
