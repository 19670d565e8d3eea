//! `heddle-bank demo`: the whole bank on this machine, through the mesh.
//!
//! Everything it starts is a child of this process and ends with it, in the reverse order of its start.

mod broker;
mod cast;
mod mesh;
mod once;
mod ports;
mod process;
mod seed;
mod sources;
mod stage;
mod tell;

pub(crate) use sources::SHOPS;

use crate::{Failure, say};
use stage::Stage;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

/// How the proxies stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Topology {
    /// One proxy for the host
    Host,
    /// A proxy beside every replica
    Sidecar,
}

/// What carries the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kafka {
    /// The small broker of `sample-bank/broker`.
    Embedded,
    /// Apache Kafka, started on this machine from the jars that `sample-bank/kafka` names.
    Apache,
    /// A cluster that runs already: its bootstrap list.
    At(String),
}

impl FromStr for Kafka {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_address = |one: &str| {
            let port = one.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            matches!(port, Some(Ok(port)) if port > 0)
        };
        match text {
            "embedded" => Ok(Self::Embedded),
            "apache" => Ok(Self::Apache),
            list if list.split(',').all(is_address) => Ok(Self::At(list.to_owned())),
            _ => Err(
                "it is `embedded`, `apache`, or addresses like 127.0.0.1:9092,127.0.0.1:9093"
                    .to_owned(),
            ),
        }
    }
}

/// Arguments of `heddle-bank demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Makes one bounded round under load with kills, audits it, and exits by the verdict
    #[arg(long)]
    once: bool,
    /// Where everything is kept; used again when it has a bank already. Default: a new folder, removed at the end
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// How the proxies stand
    #[arg(long, value_enum, default_value_t = Topology::Host)]
    topology: Topology,
    /// What carries the events: `embedded`, `apache`, or the address of a Kafka cluster that runs already
    #[arg(long, value_name = "WHICH", default_value = "embedded")]
    kafka: Kafka,
    /// With --kafka apache: brokers, 1 to 3
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    brokers: u8,
    /// Port of the bank for its customers; another is taken, and told, when it is in use
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Port where names are called; another is taken, and told, when it is in use
    #[arg(long, default_value_t = 4140)]
    proxy_port: u16,
    /// Port of the mesh's pages; another is taken, and told, when it is in use
    #[arg(long, default_value_t = 9990)]
    admin_port: u16,
    /// With --once: transfers to be acknowledged before it ends; cards are tapped beside them
    #[arg(long, default_value_t = 1200)]
    transfers: u64,
    /// With --once: requests per second
    #[arg(long, default_value_t = 60.0)]
    rate: f64,
    /// With --once: what customers do and who is killed follow from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// With --once: replicas killed by `kill -9` during the load
    #[arg(long, default_value_t = 8)]
    kills: u64,
    /// Fail points of the services, `ledger.committed=1/50,feed.kept=1/20`: there they die as by `kill -9`
    #[arg(long, value_name = "LIST", default_value = "")]
    fail_points: String,
}

/// Runs it.
///
/// # Errors
///
/// The bank cannot be started; the reason says what to do.
pub async fn run(options: Options) -> Result<ExitCode, Failure> {
    if !(1.0..=2000.0).contains(&options.rate) {
        return Err(Failure::new("--rate is from 1 to 2000 requests a second"));
    }
    let mut interrupted = crate::web::Stop::on_signal()?;
    let mut stage = Stage::new(&options)?;
    let played = tokio::select! {
        played = play(&mut stage, &options) => played,
        () = interrupted.requested() => {
            say("\nending what was started");
            Ok(ExitCode::SUCCESS)
        }
    };
    // Audit and log are worth keeping when something was wrong.
    stage
        .end(matches!(&played, Ok(code) if *code == ExitCode::SUCCESS))
        .await;
    played
}

async fn play(stage: &mut Stage, options: &Options) -> Result<ExitCode, Failure> {
    stage.set_up(options).await?;
    let people = seed::people(stage).await?;
    if options.once {
        return once::round(stage, options).await;
    }
    tell::addresses(stage, &people);
    loop {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_chosen_by_word_or_address() {
        let at = |list: &str| Ok(Kafka::At(list.to_owned()));
        for (text, wanted) in [
            ("embedded", Ok(Kafka::Embedded)),
            ("apache", Ok(Kafka::Apache)),
            ("localhost:9092", at("localhost:9092")),
            ("[::1]:9092,b:1", at("[::1]:9092,b:1")),
        ] {
            assert_eq!(text.parse(), wanted, "{text}");
        }
        for wrong in ["", "kafka", "a:1,", "a:0", "a:99999", ":"] {
            assert!(wrong.parse::<Kafka>().is_err(), "{wrong}");
        }
    }
}
