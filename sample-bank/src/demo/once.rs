//! `--once`: a bounded round under load, in which replicas are killed; then the audit.

use super::Options;
use super::process::Watched;
use super::stage::Stage;
use crate::audit;
use crate::load;
use crate::{Failure, say};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often it is looked whether enough was acknowledged.
const LOOK: Duration = Duration::from_millis(100);
/// The load ends after this long, whatever was acknowledged.
const LONGEST: Duration = Duration::from_secs(1800);

/// The bank comes to rest within this time: longer than a busy machine needs for what it was behind.
const REST: Duration = Duration::from_secs(600);

/// Plays the round and exits by its verdict.
///
/// # Errors
///
/// The load or the audit cannot be carried out.
pub(super) async fn round(stage: &Stage, options: &Options) -> Result<ExitCode, Failure> {
    say(format_args!(
        "the bank is open: {} requests a second until {} transfers are acknowledged, {} replicas killed on the way, then the audit",
        options.rate, options.transfers, options.kills
    ));
    let load =
        load::Load::start(load::Options::of(&stage.state, options.rate, options.seed)).await?;
    let killed = kill(stage, options, &load).await;
    let (memory, proxy) = stage.memory();
    let report = load.stop().await?;
    say(format_args!("{report}"));
    say(format_args!(
        "memory: {} MiB all together, the largest proxy {} MiB",
        memory >> 20,
        proxy >> 20
    ));
    let deaths: u64 = stage
        .replicas
        .iter()
        .map(|(_, replica)| replica.deaths())
        .sum();
    say(format_args!(
        "deaths: {deaths} ({killed} by kill -9, {} at fail points)",
        deaths.saturating_sub(killed)
    ));
    let verdict = audit::audit(&audit::Options::of(&stage.state, REST)).await?;
    say(format_args!("{verdict}"));
    Ok(if verdict.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Kills replicas at even distances until enough is acknowledged. Gives how many.
async fn kill(stage: &Stage, options: &Options, load: &load::Load) -> u64 {
    let began = Instant::now();
    let mut random = load::random::Random::new(options.seed ^ 0x6b69_6c6c);
    let mut killed = 0;
    loop {
        let done = load.acknowledged();
        if done >= options.transfers || began.elapsed() > LONGEST {
            return killed;
        }
        let due = (options.kills * done)
            .checked_div(options.transfers)
            .unwrap_or(0);
        // The first is due a little after the start, the last a little before the end.
        if killed < options.kills && due >= killed && done > options.transfers / 20 {
            let victim = random.below(stage.replicas.len() as u64);
            if let Some((place, replica)) = usize::try_from(victim)
                .ok()
                .and_then(|v| stage.replicas.get(v))
            {
                tell(&place.name, replica);
                replica.kill();
            }
            killed += 1;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn tell(name: &str, replica: &Watched) {
    say(format_args!("kill -9 {name} (process {})", replica.id()));
}
