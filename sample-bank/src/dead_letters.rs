//! `heddle-bank dead-letters`: events that their subscriber refused, to be looked at, delivered again, or dropped.

use crate::queue::client::Queue;
use crate::{Failure, say};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::Value;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long an outcome is waited for; the owner of the partition carries it out within a moment.
const OUTCOME: Duration = Duration::from_secs(60);
/// How often it is asked for.
const POLL: Duration = Duration::from_millis(250);

/// Arguments of `heddle-bank dead-letters`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    queue: Queue,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// One line for each parked event, and for each that waits behind one
    List {
        /// The subscription; all of them without one
        subscription: Option<String>,
    },
    /// All about one event, with its value
    Show {
        /// The subscription
        subscription: String,
        /// The id that `list` prints
        id: String,
    },
    /// Deliver a parked event again; what waits behind it follows
    Retry {
        /// The subscription
        subscription: String,
        /// The id that `list` prints; every parked event without one
        id: Option<String>,
    },
    /// Forget an event: it will never be delivered
    Drop {
        /// The subscription
        subscription: String,
        /// The id that `list` prints
        id: String,
    },
}

#[derive(Debug, Deserialize)]
struct Letter {
    id: String,
    event: String,
    key: String,
    state: String,
    #[serde(default)]
    reason: String,
    tries: u32,
    since: i64,
}

/// Runs it. The exit code is 1 when an event that was to be delivered is parked again.
///
/// # Errors
///
/// It cannot be carried out.
pub async fn run(options: Options) -> Result<ExitCode, Failure> {
    let queue = options.queue;
    match options.action {
        Action::List { subscription } => list(&queue, subscription).await,
        Action::Show { subscription, id } => {
            let letter: Value = queue.get(&path(&subscription, &id)).await?;
            let text = serde_json::to_string_pretty(&letter).expect("it was JSON");
            say(format_args!("{text}"));
            Ok(ExitCode::SUCCESS)
        }
        Action::Retry { subscription, id } => retry(&queue, &subscription, id).await,
        Action::Drop { subscription, id } => {
            queue.delete(&path(&subscription, &id)).await?;
            let gone = outcome(&queue, &subscription, &id, i64::MAX).await?;
            let said = if gone.is_none() { "dropped" } else { "noted" };
            say(format_args!("{subscription} {id}: {said}"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn path(subscription: &str, id: &str) -> String {
    format!("/subscriptions/{subscription}/dead-letters/{id}")
}

async fn letters(queue: &Queue, subscription: &str) -> Result<Vec<Letter>, Failure> {
    queue
        .get(&format!("/subscriptions/{subscription}/dead-letters"))
        .await
}

async fn list(queue: &Queue, subscription: Option<String>) -> Result<ExitCode, Failure> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let names = match subscription {
        Some(name) => vec![name],
        None => {
            let all: Vec<Named> = queue.get("/subscriptions").await?;
            all.into_iter()
                .map(|subscription| subscription.name)
                .collect()
        }
    };
    let mut none = true;
    for name in names {
        for letter in letters(queue, &name).await? {
            none = false;
            let Letter {
                id,
                event,
                key,
                state,
                reason,
                tries,
                ..
            } = letter;
            let why = if reason.is_empty() {
                String::new()
            } else {
                format!("  {tries} tries, {reason}")
            };
            say(format_args!(
                "{name} {id}  {state:8}  event {event}  key {key}{why}"
            ));
        }
    }
    if none {
        say(format_args!("no dead letters"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn retry(queue: &Queue, subscription: &str, id: Option<String>) -> Result<ExitCode, Failure> {
    let mut parked = letters(queue, subscription).await?;
    parked.retain(|letter| match &id {
        Some(id) => letter.id == *id,
        None => letter.state == "parked",
    });
    if let (Some(id), true) = (&id, parked.is_empty()) {
        return Err(Failure::new(format!(
            "{subscription} has no dead letter {id}: `list` prints those there are"
        )));
    }
    let mut code = ExitCode::SUCCESS;
    for letter in parked {
        let place = path(subscription, &letter.id);
        queue.post(&format!("{place}/retry")).await?;
        match outcome(queue, subscription, &letter.id, letter.since).await? {
            None => say(format_args!("{subscription} {}: delivered", letter.id)),
            Some(now) if now.state == "parked" => {
                say(format_args!(
                    "{subscription} {}: parked again, {}",
                    letter.id, now.reason
                ));
                code = ExitCode::FAILURE;
            }
            Some(_) => {
                say(format_args!(
                    "{subscription} {}: not delivered yet; it will be when its subscriber is back",
                    letter.id
                ));
            }
        }
    }
    Ok(code)
}

/// Waits until a dead letter is gone (none), or parked again after `since`, or patience ends (as it is then).
async fn outcome(
    queue: &Queue,
    subscription: &str,
    id: &str,
    since: i64,
) -> Result<Option<Letter>, Failure> {
    let until = Instant::now() + OUTCOME;
    loop {
        let left = letters(queue, subscription).await?;
        let Some(letter) = left.into_iter().find(|letter| letter.id == id) else {
            return Ok(None);
        };
        if (letter.state == "parked" && letter.since > since) || Instant::now() > until {
            return Ok(Some(letter));
        }
        tokio::time::sleep(POLL).await;
    }
}
