//! `heddle-bank audit`: journal, ledger, topics and read models held against each other.

use crate::Failure;
use std::process::ExitCode;

/// Arguments of `heddle-bank audit`.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Runs it.
///
/// # Errors
///
/// It cannot be carried out.
pub async fn run(_options: Options) -> Result<ExitCode, Failure> {
    Err(Failure::new("`audit` is not there yet"))
}
