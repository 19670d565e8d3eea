//! `heddle-bank replay`: a read model from history.

use crate::Failure;
use std::process::ExitCode;

/// Arguments of `heddle-bank replay`.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Runs it.
///
/// # Errors
///
/// It cannot be carried out.
pub async fn run(_options: Options) -> Result<ExitCode, Failure> {
    Err(Failure::new("`replay` is not there yet"))
}
