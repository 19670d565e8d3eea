//! Balancers side by side in virtual time: no network, no threads, every run replays from its seed.
//!
//! Several proxies send open-loop traffic to a few replicas while something goes wrong with the
//! last of them. The table tells for each balancer what callers saw and what share of the traffic
//! the troubled replica got during the trouble.
//!
//! `cargo run --release -p heddle-bench --bin balancersim -- --help`

mod contender;
mod replica;
mod scenario;
mod sim;

use clap::Parser;
use contender::Contender;
use scenario::Scenario;

/// Compares balancers in simulated trouble.
#[derive(Debug, Parser)]
struct Args {
    /// Seed of arrivals, service times and picks.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only scenarios whose name contains this.
    #[arg(long)]
    scenario: Option<String>,
    /// Requests per second over all proxies; the replicas can serve 3200.
    #[arg(long, default_value_t = 1600.0)]
    rate: f64,
    /// Simulated seconds; the trouble lasts from one quarter to three quarters of it.
    #[arg(long, default_value_t = 40.0)]
    seconds: f64,
}

fn main() {
    let args = Args::parse();
    println!(
        "seed {}, {:.0} requests/s for {:.0} s over {} proxies and {} replicas",
        args.seed,
        args.rate,
        args.seconds,
        sim::PROXIES,
        replica::REPLICAS
    );
    for scenario in Scenario::ALL {
        if !args
            .scenario
            .as_ref()
            .is_none_or(|part| scenario.name().contains(part.as_str()))
        {
            continue;
        }
        println!("\n{}: {}", scenario.name(), scenario.story());
        println!(
            "  {:<20} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "balancer", "success", "p50 ms", "p99 ms", "p99.9 ms", "share"
        );
        for contender in Contender::all() {
            let result = sim::run(scenario, &contender, args.seed, args.rate, args.seconds);
            println!(
                "  {:<20} {:>8.3}% {:>9.2} {:>9.2} {:>9.2} {:>8.2}%",
                contender.name,
                100.0 * result.success,
                result.percentile(50.0),
                result.percentile(99.0),
                result.percentile(99.9),
                100.0 * result.troubled_share
            );
        }
    }
}
