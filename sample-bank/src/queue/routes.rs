//! The HTTP side of the queue.

use super::kafka::{Kafka, blocking};
use super::letters::{self, Letter, Letters};
use super::partition::Command;
use super::publish::{Publication, Publisher};
use super::registry::Registry;
use super::status::{self, Status};
use super::subscription::Subscription;
use super::time;
use crate::call::Trace;
use crate::problem::{Code, Problem};
use crate::web::Input;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// Largest body of a publication, in bytes: a batch of the relay's. The broker's own limit for one event is the same.
const BATCH_LIMIT: usize = 1024 * 1024;

/// What every route needs.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) kafka: Arc<Kafka>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) registry: Arc<Registry>,
    /// Tells this process from others.
    pub(super) own: Arc<str>,
}

type Shared = State<Arc<Queue>>;

pub(super) fn routes(queue: Arc<Queue>) -> Router {
    let publish = post(publish).layer(DefaultBodyLimit::max(BATCH_LIMIT));
    Router::new()
        .route("/topics/{topic}", publish)
        .route("/subscriptions", get(list))
        .route("/subscriptions/{name}", get(show).put(put).delete(delete))
        .route("/subscriptions/{name}/pause", post(pause))
        .route("/subscriptions/{name}/resume", post(resume))
        .route("/subscriptions/{name}/dead-letters", get(dead_letters))
        .route(
            "/subscriptions/{name}/dead-letters/{id}",
            get(dead_letter).delete(drop_letter),
        )
        .route(
            "/subscriptions/{name}/dead-letters/{id}/retry",
            post(retry_letter),
        )
        .route("/replays", post(replay))
        .with_state(queue)
}

async fn publish(
    State(queue): Shared,
    Path(topic): Path<String>,
    trace: Trace,
    Input(body): Input<Box<serde_json::value::RawValue>>,
) -> Result<Response, Problem> {
    // Not an untagged enum: that could not tell what is wrong with which event, nor keep a value's bytes.
    let text = body.get();
    let (events, one): (Vec<Publication>, bool) = if text.trim_start().starts_with('[') {
        (serde_json::from_str(text).map_err(unreadable)?, false)
    } else {
        (vec![serde_json::from_str(text).map_err(unreadable)?], true)
    };
    let mut published = queue.publisher.publish(&topic, &events, &trace).await?;
    Ok(if one {
        Json(published.pop()).into_response()
    } else {
        Json(published).into_response()
    })
}

fn unreadable(error: serde_json::Error) -> Problem {
    Problem::malformed(format!(
        "an event is {{\"id\", \"key\", \"value\"}}, or an array of them: {error}"
    ))
}

/// A subscription with its figures.
#[derive(Debug, Serialize)]
struct Overview {
    #[serde(flatten)]
    subscription: Subscription,
    #[serde(flatten)]
    status: Status,
    /// Of this replica.
    in_flight: usize,
    partitions: Vec<i32>,
}

async fn overview(queue: &Queue, subscription: Subscription) -> Result<Overview, Problem> {
    let (kafka, asked) = (queue.kafka.clone(), subscription.clone());
    let status = blocking(move || status::ask(&kafka, &asked)).await?;
    let (in_flight, partitions) = queue.registry.here(&subscription.name);
    Ok(Overview {
        subscription,
        status,
        in_flight,
        partitions: partitions.into_iter().map(|(number, _)| number).collect(),
    })
}

async fn list(State(queue): Shared) -> Result<Json<Vec<Overview>>, Problem> {
    let mut overviews = Vec::new();
    for subscription in queue.registry.all()?.into_values() {
        overviews.push(overview(&queue, subscription).await?);
    }
    Ok(Json(overviews))
}

async fn show(State(queue): Shared, Path(name): Path<String>) -> Result<Json<Overview>, Problem> {
    let subscription = queue.registry.get(&name)?;
    overview(&queue, subscription).await.map(Json)
}

async fn put(
    State(queue): Shared,
    Path(name): Path<String>,
    Input(mut subscription): Input<Subscription>,
) -> Result<Json<Subscription>, Problem> {
    if !subscription.name.is_empty() && subscription.name != name {
        return Err(Problem::malformed(
            "`name` in the body is another one than in the path: leave it out",
        ));
    }
    subscription.name = name;
    // A replay keeps its beginning.
    if subscription.from.is_none() {
        subscription.from = queue
            .registry
            .all()?
            .remove(&subscription.name)
            .and_then(|known| known.from);
    }
    queue.registry.put(subscription.clone()).await?;
    Ok(Json(subscription))
}

async fn delete(State(queue): Shared, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    queue.registry.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn pause(
    State(queue): Shared,
    Path(name): Path<String>,
) -> Result<Json<Subscription>, Problem> {
    set_paused(&queue, &name, true).await
}

async fn resume(
    State(queue): Shared,
    Path(name): Path<String>,
) -> Result<Json<Subscription>, Problem> {
    set_paused(&queue, &name, false).await
}

async fn set_paused(
    queue: &Queue,
    name: &str,
    paused: bool,
) -> Result<Json<Subscription>, Problem> {
    let mut subscription = queue.registry.get(name)?;
    subscription.paused = paused;
    queue.registry.put(subscription.clone()).await?;
    Ok(Json(subscription))
}

async fn letters_of(queue: &Queue, name: &str) -> Result<Vec<Letter>, Problem> {
    let subscription = queue.registry.get(name)?;
    let kafka = queue.kafka.clone();
    blocking(move || letters::read(&kafka, &subscription.name)).await
}

async fn dead_letters(
    State(queue): Shared,
    Path(name): Path<String>,
) -> Result<Json<Vec<Letter>>, Problem> {
    let mut letters = letters_of(&queue, &name).await?;
    for letter in &mut letters {
        letter.value = None; // one at a time
    }
    Ok(Json(letters))
}

async fn find(queue: &Queue, name: &str, id: &str) -> Result<Letter, Problem> {
    let letters = letters_of(queue, name).await?;
    letters
        .into_iter()
        .find(|letter| letter.id == id)
        .ok_or_else(|| {
            let id: String = id.chars().take(40).collect();
            Problem::new(
                Code::NotFound,
                format!(
                    "{name} has no dead letter `{id}`: it was delivered, dropped, or never parked"
                ),
            )
        })
}

async fn dead_letter(
    State(queue): Shared,
    Path((name, id)): Path<(String, String)>,
) -> Result<Json<Letter>, Problem> {
    find(&queue, &name, &id).await.map(Json)
}

async fn retry_letter(
    State(queue): Shared,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let letter = find(&queue, &name, &id).await?;
    if letter.state == "waiting" {
        return Err(Problem::new(
            Code::Conflict,
            "it waits behind a parked event of its key: retry or drop that one, and this one follows by itself",
        ));
    }
    command(&queue, &name, &id, Command::Retry).await
}

async fn drop_letter(
    State(queue): Shared,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    find(&queue, &name, &id).await?;
    command(&queue, &name, &id, Command::Drop).await
}

/// Leaves word for the owner of the partition, which may be another replica.
async fn command(
    queue: &Queue,
    name: &str,
    id: &str,
    command: Command,
) -> Result<Response, Problem> {
    let subscription = queue.registry.get(name)?;
    let (partition, offset) =
        letters::place(id).ok_or_else(|| Problem::malformed("an id is PARTITION-OFFSET"))?;
    let letters = Letters::new(name, queue.publisher.clone(), queue.own.clone());
    letters.ask(partition, offset, command).await?;
    let said = if subscription.paused {
        "noted; the subscription is paused, it is done after it is resumed"
    } else {
        "noted"
    };
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id, "said": said}))).into_response())
}

/// `POST /replays`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    topic: String,
    from: Beginning,
    group: String,
    to: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Beginning {
    Offset(i64),
    Time(String),
}

async fn replay(State(queue): Shared, Input(asked): Input<Replay>) -> Result<Response, Problem> {
    let mut subscription = Subscription::new(&asked.group, &asked.topic, &asked.to);
    subscription.check()?;
    let from = match asked.from {
        Beginning::Offset(offset) if offset >= 0 => status::From::Offset(offset),
        Beginning::Offset(_) => return Err(Problem::malformed("an offset is 0 or more")),
        Beginning::Time(text) => status::From::Time(time::parse(&text).ok_or_else(|| {
            Problem::malformed(format!(
                "`{text}` is no time: write it like 2026-01-31T12:00:00Z"
            ))
        })?),
    };
    let taken = queue.registry.all()?.contains_key(&asked.group);
    let (kafka, group, topic) = (
        queue.kafka.clone(),
        asked.group.clone(),
        asked.topic.clone(),
    );
    if taken || blocking(move || status::is_used(&kafka, &group, &topic)).await? {
        return Err(Problem::new(
            Code::Conflict,
            format!(
                "the group {} was used before: a replay needs a new name",
                asked.group
            ),
        ));
    }
    let (kafka, topic) = (queue.kafka.clone(), asked.topic.clone());
    let beginnings = blocking(move || status::beginnings(&kafka, &topic, from)).await?;
    subscription.from = Some(beginnings);
    queue.registry.put(subscription.clone()).await?;
    Ok((StatusCode::CREATED, Json(subscription)).into_response())
}
