//! `heddle-bank dead-letters`: events that were parked.

use crate::Failure;
use std::process::ExitCode;

/// Arguments of `heddle-bank dead-letters`.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Runs it.
///
/// # Errors
///
/// It cannot be carried out.
pub async fn run(_options: Options) -> Result<ExitCode, Failure> {
    Err(Failure::new("`dead-letters` is not there yet"))
}
