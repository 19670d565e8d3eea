//! Mirroring: copies whose answers nobody waits for.

use super::entry::PathEntry;
use super::exchange::Exchange;
use super::names::{Slot, bound};
use crate::client::{Limit, Outgoing, Verdict, attempt};
use crate::clock;
use crate::http::{BodySource, is_grpc};
use heddle_core::config::Mirror;
use heddle_core::random::Rng;
use http::request::Parts;
use http_body::Body;
use http_body_util::BodyExt;
use std::rc::Rc;
use std::time::Duration;

/// A copy gets as long as this to be answered; then it is dropped.
const PATIENCE: Duration = Duration::from_secs(10);
/// Copies under way per worker; more are dropped, so that a slow mirror costs no memory.
const MAX_IN_FLIGHT: usize = 256;

/// Sends a copy, by chance of the mirror's percentage, and gives back the request's own body. A
/// body is copied if it declares a length within the replay bound: it is read whole first.
pub(super) async fn copy(
    exchange: &Exchange,
    entry: &Rc<PathEntry>,
    mirror: &Mirror,
    slot: &Slot,
    parts: &Parts,
    body: BodySource,
) -> BodySource {
    let worker = &exchange.conn.worker;
    if worker.rng.borrow_mut().unit() * 100.0 >= mirror.percent {
        return body;
    }
    let metrics = entry.service.metrics.clone();
    let small = body
        .attempt()
        .size_hint()
        .exact()
        .is_some_and(|size| size <= entry.policy.pool.replay_bytes as u64);
    if (!body.is_empty() && !small) || worker.mirrors.get() >= MAX_IN_FLIGHT {
        metrics.mirrors_dropped.inc();
        return body;
    }
    // Reads the body to its end, which keeps it: the request's own attempts replay it, and so does the copy.
    if body.attempt().collect().await.is_err() {
        metrics.mirrors_dropped.inc();
        return body;
    }
    let tree = bound(worker, &exchange.listener, entry, slot).await;
    let picked = tree.ok().and_then(|tree| {
        let client = tree
            .choose(&mut worker.rng.borrow_mut(), &slot.path)
            .ok()?
            .clone();
        let endpoint = client.pick(clock::now(), None, &[]).ok()?;
        Some((client, endpoint))
    });
    let Some((client, endpoint)) = picked else {
        metrics.mirrors_dropped.inc();
        return body;
    };
    metrics.mirrors_sent.inc();
    let mut head = parts.clone();
    head.extensions.clear();
    let http2 = client.speaks_http2(exchange.http2);
    let grpc = is_grpc(&head.headers);
    let copied = body.attempt();
    worker.mirrors.set(worker.mirrors.get() + 1);
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        let limit = Limit {
            attempt: Some(PATIENCE),
            ..Limit::default()
        };
        let outgoing = Outgoing {
            head: &mut head,
            body: copied,
            upgrade: None,
            http2,
            interim: false,
            now: clock::now(),
        };
        if let Ok(answer) = attempt(&client, endpoint, outgoing, limit, None).await {
            let failed = answer.response.status().is_server_error() && !grpc;
            let read = tokio::time::timeout(PATIENCE, answer.response.into_body().collect()).await;
            let well = !failed && matches!(read, Ok(Ok(_)));
            answer.charge.report(if well {
                Verdict::Success
            } else {
                Verdict::Failure
            });
        }
        worker.mirrors.set(worker.mirrors.get().saturating_sub(1));
    });
    body
}
