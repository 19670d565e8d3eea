//! `heddle-bank`: one binary for the bank's Rust services and its tools.

use clap::{Parser, Subcommand, ValueEnum};
use heddle_bank::settings::Settings;
use heddle_bank::{
    Failure, accounts, audit, cards, dead_letters, demo, failpoint, gateway, ledger,
};
use heddle_bank::{load, lock, queue, replay};
use std::future::Future;
use std::process::ExitCode;

/// The reference bank of Heddle.
#[derive(Debug, Parser)]
#[command(name = "heddle-bank", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one service; its settings come from the environment (sample-bank/README.md)
    Serve {
        /// Which one
        service: Service,
    },
    /// Start the whole bank on this machine, through the mesh
    Demo(demo::Options),
    /// Behave like customers, at a fixed rate, and journal every acknowledged answer
    Load(load::Options),
    /// Hold journal, ledger, topics and read models against each other
    Audit(audit::Options),
    /// List, show, retry or drop events that were parked
    DeadLetters(dead_letters::Options),
    /// Build a new read model from a topic's history
    Replay(replay::Options),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Service {
    Ledger,
    Accounts,
    Cards,
    Lock,
    Queue,
    Gateway,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log();
    let outcome = match arguments.command {
        Command::Serve { service } => serve(service),
        Command::Demo(options) => on_threads(demo::run(options)),
        Command::Load(options) => on_threads(load::run(options)),
        Command::Audit(options) => on_threads(audit::run(options)),
        Command::DeadLetters(options) => on_threads(dead_letters::run(options)),
        Command::Replay(options) => on_threads(replay::run(options)),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("heddle-bank: {failure}");
        ExitCode::FAILURE
    })
}

/// A service waits far more than it computes: one thread is enough, and small. What blocks has threads of its own.
fn serve(service: Service) -> Result<ExitCode, Failure> {
    let settings = Settings::from_environment()?;
    failpoint::arm()?;
    let runtime = tokio::runtime::Builder::new_current_thread();
    run(runtime, async {
        match service {
            Service::Ledger => ledger::serve(settings).await,
            Service::Accounts => accounts::serve(settings).await,
            Service::Cards => cards::serve(settings).await,
            Service::Lock => lock::serve(settings).await,
            Service::Queue => queue::serve(settings).await,
            Service::Gateway => gateway::serve(settings).await,
        }?;
        Ok(ExitCode::SUCCESS)
    })
}

fn on_threads(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2); // the machine that the bank is sized for has two cores
    run(runtime, work)
}

fn run(
    mut runtime: tokio::runtime::Builder,
    work: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(format!("cannot start a runtime: {e}")))?;
    runtime.block_on(Box::pin(work))
}

/// To standard error; `RUST_LOG` chooses, `info` is the default.
fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
