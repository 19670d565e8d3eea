//! Failures on purpose: `Fault` documents, always with an end.

use super::entry::PathEntry;
use super::exchange::{Ended, Exchange};
use crate::clock;
use crate::http::{HeadView, injected};
use heddle_core::answer::FAULT;
use heddle_core::config::FaultKind;
use heddle_core::random::Rng;
use heddle_core::route::{self, Caller};
use http::request::Parts;
use tokio::time::sleep;

/// Meets the faults of a name, in order; the first that ends the request wins, delays add up.
pub(super) async fn inject(
    exchange: &Exchange,
    entry: &PathEntry,
    parts: &Parts,
) -> Result<(), Ended> {
    let caller = Caller {
        namespace: &exchange.listener.spec.namespace,
        service: None,
    };
    for fault in &entry.faults {
        let ends = exchange
            .running
            .applied
            .saturating_add(clock::nanos(fault.until));
        if exchange.started >= ends || !route::matches(&fault.matches, &HeadView(parts), &caller) {
            continue;
        }
        let dice = exchange.conn.worker.rng.borrow_mut().unit() * 100.0;
        if dice >= fault.percent {
            continue;
        }
        entry.service.metrics.faults.inc();
        if let Some(delay) = fault.delay {
            sleep(delay).await;
        }
        let reason = || format!("injected by Fault {}/{}", fault.namespace, fault.name);
        match fault.kind {
            FaultKind::None => {}
            FaultKind::Status(status) => {
                return Err(Ended::Injected(injected(status, None), reason()));
            }
            FaultKind::Grpc(code) => {
                let answer = injected(200, Some((code, &reason())));
                return Err(Ended::Injected(answer, reason()));
            }
            FaultKind::Reset => {
                if let Some(trail) = &exchange.trail {
                    trail.reset(FAULT, reason());
                }
                return Err(Ended::Reset(reason().into()));
            }
        }
    }
    Ok(())
}
