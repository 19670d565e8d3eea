//! Contexts of the requests in flight to this host's services, by trace id.
//!
//! A service that copies only `traceparent` loses `heddle-context`. The inbound listener leaves the
//! context here while the service works on the request, and the outbound listener finds it by the
//! trace id of the service's own calls. Bounded; what finds no room is not joined, and counted.
//!
//! This is a lock on the path of requests that carry a context, and of no others: sixteen shards,
//! held for one look-up (see the ADR on joined contexts).

use crate::shared::lock;
use heddle_core::Nanos;
use heddle_core::name::Dtab;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// A W3C trace id.
pub(crate) type TraceId = [u8; 16];

/// The context of one request in flight.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) deadline: Option<Nanos>,
    pub(crate) dtab: Dtab,
    /// Retry tokens left for everything below this hop; `u32::MAX`: no limit.
    pub(crate) tokens: AtomicU32,
}

impl Record {
    /// The tokens left, if they are limited.
    pub(crate) fn tokens(&self) -> Option<u32> {
        Some(self.tokens.load(Relaxed)).filter(|&tokens| tokens != u32::MAX)
    }

    /// Spends one.
    pub(crate) fn spend(&self) {
        self.lower(|tokens| tokens.saturating_sub(1));
    }

    /// A hop below says that no more than `tokens` are left.
    pub(crate) fn cap(&self, tokens: u32) {
        self.lower(|left| left.min(tokens));
    }

    fn lower(&self, change: impl Fn(u32) -> u32) {
        let _ = self.tokens.fetch_update(Relaxed, Relaxed, |tokens| {
            (tokens != u32::MAX).then(|| change(tokens))
        });
    }
}

const SHARDS: usize = 16;
/// Requests in flight with a context that are remembered, per shard: 64 Ki in all, about 10 MiB.
const MAX_PER_SHARD: usize = 4096;

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    shards: [Mutex<HashMap<TraceId, Vec<Arc<Record>>>>; SHARDS],
}

impl Joined {
    fn shard(&self, trace: &TraceId) -> &Mutex<HashMap<TraceId, Vec<Arc<Record>>>> {
        &self.shards[usize::from(trace[15]) % SHARDS]
    }

    /// Leaves `record` until the guard is dropped; `None` when there is no room.
    pub(crate) fn leave(self: &Arc<Self>, trace: TraceId, record: Arc<Record>) -> Option<Left> {
        let mut shard = lock(self.shard(&trace));
        if shard.len() >= MAX_PER_SHARD && !shard.contains_key(&trace) {
            return None;
        }
        let records = shard.entry(trace).or_default();
        if records.len() >= MAX_PER_TRACE {
            return None;
        }
        records.push(record.clone());
        drop(shard);
        Some(Left {
            joined: self.clone(),
            trace,
            record,
        })
    }

    /// The context of the latest request in flight with this trace id.
    pub(crate) fn find(&self, trace: &TraceId) -> Option<Arc<Record>> {
        lock(self.shard(trace)).get(trace)?.last().cloned()
    }
}

/// Requests of one trace that are remembered at once: a fan-out that calls the same service.
const MAX_PER_TRACE: usize = 1024;

/// Forgets a record when its request is over.
#[derive(Debug)]
pub(crate) struct Left {
    joined: Arc<Joined>,
    trace: TraceId,
    record: Arc<Record>,
}

impl Drop for Left {
    fn drop(&mut self) {
        let mut shard = lock(self.joined.shard(&self.trace));
        if let Some(records) = shard.get_mut(&self.trace) {
            if let Some(index) = records
                .iter()
                .position(|record| Arc::ptr_eq(record, &self.record))
            {
                records.remove(index);
            }
            if records.is_empty() {
                shard.remove(&self.trace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tokens: u32) -> Arc<Record> {
        Arc::new(Record {
            deadline: None,
            dtab: Dtab::empty(),
            tokens: AtomicU32::new(tokens),
        })
    }

    #[test]
    fn the_latest_record_of_a_trace_is_found_until_it_is_over() {
        let joined = Arc::new(Joined::default());
        let first = joined.leave([1; 16], record(1)).expect("room");
        let second = joined.leave([1; 16], record(2)).expect("room");
        assert_eq!(joined.find(&[1; 16]).and_then(|r| r.tokens()), Some(2));
        drop(second);
        assert_eq!(joined.find(&[1; 16]).and_then(|r| r.tokens()), Some(1));
        drop(first);
        assert!(joined.find(&[1; 16]).is_none());
        assert!(joined.shards.iter().all(|shard| lock(shard).is_empty()));
    }

    #[test]
    fn tokens_only_fall() {
        let limited = record(3);
        limited.spend();
        limited.cap(9);
        assert_eq!(limited.tokens(), Some(2));
        limited.cap(1);
        limited.spend();
        limited.spend();
        assert_eq!(limited.tokens(), Some(0));
        let unlimited = record(u32::MAX);
        unlimited.spend();
        unlimited.cap(2);
        assert_eq!(unlimited.tokens(), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let joined = Arc::new(Joined::default());
        let mut left = Vec::new();
        for i in 0..MAX_PER_SHARD + 10 {
            let mut trace = [0; 16];
            trace[..8].copy_from_slice(&(i as u64).to_le_bytes());
            left.extend(joined.leave(trace, record(1)));
        }
        assert_eq!(left.len(), MAX_PER_SHARD);
    }
}
