//! `heddle`: the mesh's one binary. Each subcommand is a few lines over a library.

mod admin;
mod bind;
mod check;
mod control_plane;
mod demo;
mod explain;
mod names;
mod proxy;
mod routes;
mod run;
mod top;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Memory per connection and request is small and short-lived; mimalloc suits that, and returns it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A service mesh in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "heddle",
    version,
    about,
    arg_required_else_help = true,
    after_help = "First steps:\n  heddle demo                        see it route, split and survive, on real traffic\n  heddle run --service accounts --port 9001 -- python3 app.py\n  heddle proxy -c heddle.yaml        and then open http://127.0.0.1:9990/\n  heddle check heddle.yaml           what is wrong with it, and how to mend it\n\nHEDDLE_LOG sets what is logged to standard error: error, warn, info, debug, or by module."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What each does is said where its arguments are.
#[derive(Debug, Subcommand)]
enum Command {
    Proxy(proxy::Args),
    ControlPlane(control_plane::Args),
    Run(run::Args),
    Check(check::Args),
    Bind(bind::Args),
    Explain(explain::Args),
    Routes(routes::Args),
    Top(top::Args),
    Demo(demo::DemoArgs),
}

/// Whether the kernel may back this process's memory with huge pages. The allocator asks for them, and
/// each touched corner of its arena then costs 2 MiB: four times what an idle proxy needs. A kernel that
/// does not know the question has none to give.
#[cfg(target_os = "linux")]
fn huge_pages(allowed: bool) {
    rustix::thread::disable_transparent_huge_pages(!allowed).ok();
}

#[cfg(not(target_os = "linux"))]
fn huge_pages(_allowed: bool) {}

fn main() -> ExitCode {
    huge_pages(false);
    let command = Cli::parse().command;
    log_to_stderr(match &command {
        Command::Run(args) => args.level(),
        _ => "info",
    });
    match command {
        Command::Proxy(args) => proxy::run(args),
        Command::ControlPlane(args) => control_plane::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(args),
        Command::Bind(args) => bind::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Routes(args) => routes::run(args),
        Command::Top(args) => top::run(args),
        Command::Demo(args) => demo::run(args),
    }
}

/// Unless `HEDDLE_LOG` says otherwise: the libraries that read what peers send warn of it line by
/// line; we count it, and nobody shall fill a disk from outside.
const QUIET: &str = "h2=error,hyper=error,rustls=error";

/// Logs go to standard error, so that results on standard output can be piped. `HEDDLE_LOG` sets the level, and not
/// `RUST_LOG`: under `heddle run` that is the program's.
fn log_to_stderr(level: &str) {
    let filter = EnvFilter::try_from_env("HEDDLE_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},{QUIET}")));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .with_target(false)
        .init();
}
