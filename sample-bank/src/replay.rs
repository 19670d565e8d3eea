//! `heddle-bank replay`: a new read model from a topic's history, while live traffic goes on.

use crate::queue::client::Queue;
use crate::{Failure, say};
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// How often progress is asked for, and printed when there is any.
const POLL: Duration = Duration::from_millis(500);

/// Arguments of `heddle-bank replay`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    queue: Queue,
    /// The topic, like feed.items
    #[arg(long)]
    topic: String,
    /// Where to begin: an offset (0 is the beginning), or a time like 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME|OFFSET")]
    from: String,
    /// A name that no group has had
    #[arg(long, value_name = "NEW")]
    group: String,
    /// Where the events are sent, by POST
    #[arg(long, value_name = "URL")]
    to: String,
    /// Return at once instead of waiting until it has caught up
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Deserialize)]
struct Progress {
    lag: i64,
    parked: usize,
    waiting: usize,
}

/// Runs it. The exit code is 1 when events were parked on the way.
///
/// # Errors
///
/// It cannot be carried out.
pub async fn run(options: Options) -> Result<ExitCode, Failure> {
    let Options {
        queue,
        topic,
        from,
        group,
        to,
        no_wait,
    } = options;
    let from = match from.parse::<i64>() {
        Ok(offset) => json!({"offset": offset}),
        Err(_) => json!({"time": from}),
    };
    let body = json!({"topic": topic, "from": from, "group": group, "to": to});
    let made: Value = queue.send("/replays", &body).await?;
    say(format_args!(
        "{group}: {topic} from {} to {to}",
        made["from"]
    ));
    if no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    let mut before = i64::MAX;
    loop {
        let now: Progress = queue.get(&format!("/subscriptions/{group}")).await?;
        if now.lag != before {
            say(format_args!("{group}: {} to go", now.lag));
            before = now.lag;
        }
        if now.lag == 0 {
            let Progress {
                parked, waiting, ..
            } = now;
            if parked + waiting == 0 {
                say(format_args!(
                    "{group}: caught up; it goes on with what comes"
                ));
                return Ok(ExitCode::SUCCESS);
            }
            say(format_args!(
                "{group}: caught up, but {parked} events are parked and {waiting} wait behind them: see heddle-bank dead-letters list {group}"
            ));
            return Ok(ExitCode::FAILURE);
        }
        tokio::time::sleep(POLL).await;
    }
}
