//! `heddle-bank load`: customers at a fixed rate.

use crate::Failure;
use std::process::ExitCode;

/// Arguments of `heddle-bank load`.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Runs it.
///
/// # Errors
///
/// It cannot be carried out.
pub async fn run(_options: Options) -> Result<ExitCode, Failure> {
    Err(Failure::new("`load` is not there yet"))
}
