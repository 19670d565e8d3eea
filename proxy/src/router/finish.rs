//! The end of a request: its answer on the way back, and the accounts when that is over.

use super::entry::PathEntry;
use super::exchange::{Exchange, InFlight, put};
use super::plan::Plan;
use super::{Conn, hop};
use crate::access::End;
use crate::client::{Attempted, Lease, Verdict};
use crate::clock;
use crate::http::{Finished, ResponseBody, grpc_status, response_head, splice, splice_websocket};
use crate::io::Phase;
use heddle_core::classify::{self, Class};
use heddle_core::config::Rule;
use heddle_core::random::Rng;
use heddle_core::retry::Outcome;
use http::HeaderValue;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use std::rc::Rc;
use std::time::Duration;

pub(super) fn outcome_of(answer: &Attempted) -> Outcome {
    match grpc_status(answer.response.headers()) {
        Some(code) if answer.response.status() == StatusCode::OK => Outcome::Grpc(code),
        _ => Outcome::Status(answer.response.status().as_u16()),
    }
}

/// Whether an answer counts as a failure of its endpoint.
pub(super) fn verdict_of(outcome: Outcome) -> Verdict {
    let failed = match outcome {
        Outcome::Status(status) => classify::http_class(status) == Class::Failure,
        Outcome::Grpc(code) => classify::grpc_class(code) == Class::Failure,
        _ => true,
    };
    if failed {
        Verdict::Failure
    } else {
        Verdict::Success
    }
}

/// Sends an upstream's answer back, and settles the accounts when its body is over.
pub(super) fn finish(
    exchange: &mut Exchange,
    entry: &Rc<PathEntry>,
    plan: Plan,
    rule: Option<&Rule>,
    (answer, outcome): (Attempted, Outcome),
    flight: Option<InFlight>,
) -> Response<ResponseBody> {
    let Attempted {
        mut response,
        lease,
        charge,
    } = answer;
    let to = if exchange.http2 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS
        && let Some((token, downstream)) = plan.upgrade
    {
        let upstream = hyper::upgrade::on(&mut response);
        let (mut head, _) = response.into_parts();
        response_head(&mut head.headers, head.version, to);
        head.headers.insert(
            http::header::CONNECTION,
            HeaderValue::from_static("upgrade"),
        );
        let websocket = token.as_bytes().eq_ignore_ascii_case(b"websocket");
        head.headers.entry(http::header::UPGRADE).or_insert(token);
        exchange.conn.state.enter(Phase::Tunnel);
        let (started, service) = (exchange.started, entry.service.clone());
        let trail = exchange.trail.clone();
        let conn = exchange.conn.clone();
        if let Some(trail) = &trail {
            trail.answered(101);
        }
        charge.hand_over();
        tokio::task::spawn_local(async move {
            let (verdict, bytes) = tunnel(&conn, upstream, downstream, websocket).await;
            if let Some(trail) = trail {
                trail.tunnelled(bytes);
            }
            let metrics = &charge.client().shared.metrics;
            match verdict {
                Verdict::Failure => metrics.failure.inc(),
                // Whoever ended it: the endpoint had answered as asked.
                _ => metrics.success.inc(),
            }
            charge.report(verdict);
            service
                .metrics
                .answered(101, clock::now().saturating_sub(started));
            drop((flight, lease));
        });
        return Response::from_parts(head, ResponseBody::own(""));
    }
    let (mut head, body) = response.into_parts();
    response_head(&mut head.headers, head.version, to);
    // Our own version, not the upstream's (RFC 9110 section 2.5).
    head.version = to;
    if let Some(rule) = rule {
        for name in &rule.set.remove_response_headers {
            head.headers.remove(name.as_str());
        }
        for (name, value) in &rule.set.response_headers {
            put(&mut head.headers, name, value);
        }
    }
    hop::tell(&mut head.headers, &exchange.context);
    let trail = exchange.trail.take();
    if let Some(trail) = &trail {
        trail.answered(status.as_u16());
    }
    let left = exchange.context.take_left();
    let (started, grpc) = (exchange.started, exchange.grpc);
    let hedges = entry
        .route
        .as_ref()
        .is_some_and(|route| route.hedge.is_some());
    let (deadline, _) = plan.deadline(exchange);
    let patience = plan.patience;
    let entry = entry.clone();
    let on_finish = Box::new(move |how: Finished, sent: u64| {
        drop((left, flight));
        let now = clock::now();
        let service = &entry.service;
        let metrics = &charge.client().shared.metrics;
        let outcome = match how {
            Finished::Complete(Some(code)) if grpc => Outcome::Grpc(code),
            _ => outcome,
        };
        if let Some(trail) = trail {
            let code = match outcome {
                Outcome::Grpc(code) if grpc => Some(code),
                _ => None,
            };
            if how == Finished::TimedOut {
                trail.timer("body-stall");
            }
            trail.over(end_of(how), code, sent);
        }
        if grpc && let Outcome::Grpc(code) = outcome {
            service.metrics.grpc_status(code);
        }
        if hedges {
            service.latency.record(
                now,
                Duration::from_nanos(now.saturating_sub(charge.started())),
            );
        }
        let verdict = match how {
            Finished::Complete(_) => verdict_of(outcome),
            Finished::Broken(_) => Verdict::Failure,
            Finished::TimedOut => Verdict::Failure,
            // What an answer of unknown length holds back it may not have yet: whoever leaves it has had enough.
            Finished::Cancelled { owed, .. } if grpc || !owed => Verdict::Left,
            Finished::Cancelled { since, .. } => {
                charge.waits_since(since);
                Verdict::Cancelled
            }
            // It is not the endpoint that was waited for.
            Finished::Unread => Verdict::Nothing,
        };
        match (how, verdict) {
            (Finished::Broken(why), _) => {
                metrics.reset.inc();
                why.inspect(|why| metrics.malformed.inc(why));
            }
            (Finished::TimedOut, _) => metrics.timeout.inc(),
            (_, Verdict::Success) => metrics.success.inc(),
            (_, Verdict::Failure) => metrics.failure.inc(),
            (Finished::Unread, _) => metrics.cancelled.inc(),
            _ => {}
        }
        if let (Finished::Complete(_), Lease::Http1(connection)) = (how, lease) {
            charge
                .endpoint()
                .pool
                .put_http1(connection, &charge.client().policy.pool, now);
        }
        charge.report_at(verdict, now);
        service
            .metrics
            .answered(status.as_u16(), now.saturating_sub(started));
    });
    let mut body = ResponseBody::upstream(body, on_finish);
    if let Some(deadline) = deadline {
        body = body.with_deadline(clock::instant(deadline), patience);
    }
    Response::from_parts(head, body)
}

fn end_of(how: Finished) -> End {
    match how {
        Finished::Complete(_) => End::Complete,
        Finished::Broken(_) => End::Upstream,
        Finished::TimedOut => End::Proxy,
        Finished::Cancelled { .. } | Finished::Unread => End::Caller,
    }
}

/// Bytes both ways after an upgrade; how many came from the caller and went to it, if that is known.
async fn tunnel(
    conn: &Conn,
    upstream: OnUpgrade,
    downstream: OnUpgrade,
    websocket: bool,
) -> (Verdict, Option<(u64, u64)>) {
    let (Ok(upstream), Ok(downstream)) = (upstream.await, downstream.await) else {
        return (Verdict::Failure, None);
    };
    let (mut upstream, mut downstream) = (TokioIo::new(upstream), TokioIo::new(downstream));
    let copied = if websocket {
        let key = (conn.worker.rng.borrow_mut().next_u64() as u32).to_be_bytes();
        splice_websocket(&conn.state, downstream, upstream, key).await
    } else {
        splice(&conn.state, &mut downstream, &mut upstream).await
    };
    match copied {
        Ok(bytes) => (Verdict::Success, Some(bytes)),
        // Which side broke cannot be told apart here, and a long-lived tunnel says little of latency.
        Err(_) => (Verdict::Nothing, None),
    }
}
