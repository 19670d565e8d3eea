//! `make bench`: Heddle beside nginx, HAProxy, Envoy, pingora and a bare forwarder, in one run.

use clap::Parser;
use heddle_bench::compare::{self, Settings};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Compares proxies: CPU per request, throughput and latency, as ratios.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds over all contenders.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measured seconds of each contender in each round.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Unmeasured seconds before them.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Requests per second of the open loop.
    #[arg(long, default_value_t = 3000.0)]
    rate: f64,
    /// Idle connections with which memory is measured; 0 leaves it out.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Only this scenario (http1, h2c, http1-64k, h2c-64k, http1-rate); may be repeated.
    #[arg(long)]
    scenario: Vec<String>,
    /// Only this contender (direct, heddle, bare, haproxy, nginx, envoy, pingora); may be repeated.
    #[arg(long)]
    contender: Vec<String>,
    /// Folder for the configurations as rendered, logs, and `compare.json`.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> std::io::Result<()> {
    let settings = Settings {
        rounds: arguments.rounds.max(1),
        duration: Duration::from_secs_f64(arguments.seconds),
        warm_up: Duration::from_secs_f64(arguments.warm_up),
        rate: arguments.rate,
        connections: arguments.connections,
        scenarios: arguments.scenario,
        contenders: arguments.contender,
        dir: arguments.dir,
    };
    compare::pin_self(0)?;
    compare::raise_descriptors()?;
    let report = compare::run(&settings, &mut |line| println!("{line}"))?;
    let file = settings.dir.join("compare.json");
    std::fs::write(&file, format!("{:#}\n", report.to_json()))?;
    let plot = settings.dir.join("compare.svg");
    let now = httpdate::fmt_http_date(std::time::SystemTime::now());
    std::fs::write(&plot, report.to_svg(&now))?;
    println!(
        "{report}\nwritten to {} and {}",
        file.display(),
        plot.display()
    );
    Ok(())
}
