//! Heddle's reference bank: small services that call each other by name through a proxy, a pipeline behind them, and the
//! tools that load and audit both.
//!
//! Reading order: what every service shares ([`settings`], [`problem`], [`money`], [`web`], [`call`], [`failpoint`],
//! [`event`], [`database`]), the services ([`ledger`], [`accounts`], [`cards`], [`lock`], [`queue`], [`gateway`]), then
//! what people run ([`demo`], [`load`], [`audit`], [`dead_letters`], [`replay`]).

pub mod accounts;
pub mod audit;
pub mod brokers;
pub mod call;
pub mod cards;
pub mod clock;
pub mod database;
pub mod dead_letters;
pub mod demo;
pub mod event;
pub mod failpoint;
pub mod gateway;
pub mod ids;
pub mod ledger;
pub mod load;
pub mod lock;
pub mod money;
pub mod problem;
pub mod queue;
pub mod replay;
pub mod settings;
pub mod web;

use std::fmt;
use std::io::{self, Write as _};

/// Why a program of the bank ends early, for the person who started it: what, where, why, what to do.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// A failure with its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Tells people. Nobody has to listen: a pipe or a terminal that is gone must not keep the rest from being done.
pub(crate) fn say(text: impl fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}
