//! Replica sets: the endpoints of one bound name, as they are now.

use arc_swap::ArcSwap;
use heddle_core::config::UpstreamProtocol;
use heddle_core::endpoint::Endpoint;
use heddle_core::name::Path;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// State of a replica set (Finagle's `Addr`).
#[derive(Debug, Clone, PartialEq)]
pub enum Addr {
    /// These endpoints, distinct by address; none is a legal answer.
    Bound(Vec<Endpoint>),
    /// Not known yet: requests wait, up to their bind timeout.
    Pending,
    /// There is no such name.
    Neg,
    /// It could not be found out, and never could before; says why.
    Failed(String),
}

/// The endpoints of one bound name.
///
/// The object stays the same for as long as anyone holds it and its name means the same place, across every
/// reconfiguration; what changes is its content. Readers keep the `Arc` and compare [`version`](Self::version),
/// which costs one relaxed load, before they look at [`addr`](Self::addr).
#[derive(Debug)]
pub struct ReplicaSet {
    id: Path,
    protocol: AtomicU8,
    version: AtomicU64,
    addr: ArcSwap<Addr>,
    changed: Notify,
    /// Whether the guard holds an answer, so that refused connections matter.
    holding: AtomicBool,
    refused: Mutex<HashSet<SocketAddr>>,
}

/// Addresses that are remembered as refusing while an answer is held; a set has rarely more.
const REFUSED_MAX: usize = 4096;

impl ReplicaSet {
    pub(super) fn new(id: Path, protocol: UpstreamProtocol, addr: Addr) -> Self {
        Self {
            id,
            protocol: AtomicU8::new(encode(protocol)),
            version: AtomicU64::new(1),
            addr: ArcSwap::from_pointee(addr),
            changed: Notify::new(),
            holding: AtomicBool::new(false),
            refused: Mutex::new(HashSet::new()),
        }
    }

    /// The bound name, such as `/#/static/accounts-v1`.
    pub fn id(&self) -> &Path {
        &self.id
    }

    /// What its endpoints speak; a change counts as a new [`version`](Self::version).
    pub fn protocol(&self) -> UpstreamProtocol {
        decode(self.protocol.load(Ordering::Relaxed))
    }

    /// Changes whenever the content does; never 0, so that 0 can stand for "nothing seen yet".
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// The content now. Read the version first: what is read after it is at least as new.
    pub fn addr(&self) -> Arc<Addr> {
        self.addr.load_full()
    }

    /// Resolves once the version differs from `seen`.
    pub async fn changed(&self, seen: u64) {
        loop {
            let notified = self.changed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.version.load(Ordering::Acquire) != seen {
                return;
            }
            notified.await;
        }
    }

    /// Tells that `address` refused a connection. While the mass-loss guard holds an answer that drops this
    /// endpoint, that is evidence for the answer; otherwise it costs one relaxed load.
    pub fn refused(&self, address: SocketAddr) {
        if !self.holding.load(Ordering::Relaxed) {
            return;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < REFUSED_MAX {
            refused.insert(address);
        }
    }

    /// Begins or ends collecting refusals.
    pub(super) fn hold(&self, holding: bool) {
        if self.holding.swap(holding, Ordering::Relaxed) != holding {
            self.refused
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
    }

    /// How many of `lost` have refused since the hold began.
    pub(super) fn refused_among(&self, lost: impl Fn(&SocketAddr) -> bool) -> usize {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|address| lost(address))
            .count()
    }

    /// Replaces the content; wakes those who wait when it differs. Returns whether it does.
    ///
    /// A set that was bound never becomes pending or failed again: the last good content stays (Finagle does
    /// the same), and so nothing already resolved breaks with its source.
    pub(super) fn publish(&self, addr: Addr) -> bool {
        let current = self.addr.load();
        let downgrade =
            matches!(**current, Addr::Bound(_)) && matches!(addr, Addr::Pending | Addr::Failed(_));
        if downgrade || **current == addr {
            return false;
        }
        self.addr.store(Arc::new(addr));
        self.bump();
        true
    }

    pub(super) fn set_protocol(&self, protocol: UpstreamProtocol) {
        if self.protocol.swap(encode(protocol), Ordering::Relaxed) != encode(protocol) {
            self.bump();
        }
    }

    fn bump(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }
}

fn encode(protocol: UpstreamProtocol) -> u8 {
    match protocol {
        UpstreamProtocol::Same => 0,
        UpstreamProtocol::Http1 => 1,
        UpstreamProtocol::Http2 => 2,
    }
}

fn decode(protocol: u8) -> UpstreamProtocol {
    match protocol {
        1 => UpstreamProtocol::Http1,
        2 => UpstreamProtocol::Http2,
        _ => UpstreamProtocol::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(addr: Addr) -> ReplicaSet {
        ReplicaSet::new(
            Path::parse("/#/static/a").unwrap(),
            UpstreamProtocol::Same,
            addr,
        )
    }

    fn bound(ports: &[u16]) -> Addr {
        Addr::Bound(
            ports
                .iter()
                .map(|port| Endpoint::new(([127, 0, 0, 1], *port).into()))
                .collect(),
        )
    }

    #[test]
    fn only_a_difference_is_a_new_version_and_the_last_good_content_stays() {
        let failed = || Addr::Failed("why".into());
        let table = [
            // (before, published, expected, is it a new version)
            (Addr::Pending, Addr::Pending, Addr::Pending, false),
            (Addr::Pending, failed(), failed(), true),
            (failed(), Addr::Pending, Addr::Pending, true),
            (Addr::Pending, bound(&[1]), bound(&[1]), true),
            (Addr::Pending, Addr::Neg, Addr::Neg, true),
            (bound(&[1]), bound(&[1]), bound(&[1]), false),
            (bound(&[1]), bound(&[2]), bound(&[2]), true),
            (bound(&[1]), bound(&[]), bound(&[]), true),
            (bound(&[1]), Addr::Neg, Addr::Neg, true),
            (bound(&[1]), Addr::Pending, bound(&[1]), false),
            (bound(&[1]), failed(), bound(&[1]), false),
        ];
        for (before, published, expect, newer) in table {
            let set = set(before.clone());
            let seen = set.version();
            assert_eq!(
                set.publish(published.clone()),
                newer,
                "{before:?} then {published:?}"
            );
            assert_eq!(*set.addr(), expect, "{before:?} then {published:?}");
            assert_eq!(set.version() != seen, newer);
        }
    }

    #[test]
    fn a_protocol_is_part_of_the_version() {
        let set = set(bound(&[1]));
        let seen = set.version();
        set.set_protocol(UpstreamProtocol::Same);
        assert_eq!(set.version(), seen);
        for protocol in [
            UpstreamProtocol::Http1,
            UpstreamProtocol::Http2,
            UpstreamProtocol::Same,
        ] {
            let seen = set.version();
            set.set_protocol(protocol);
            assert_eq!((set.protocol(), set.version()), (protocol, seen + 1));
        }
    }

    #[test]
    fn refusals_count_only_while_an_answer_is_held() {
        let set = set(bound(&[1, 2, 3]));
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        set.refused(at(1));
        assert_eq!(set.refused_among(|_| true), 0);
        set.hold(true);
        set.refused(at(1));
        set.refused(at(1));
        set.refused(at(2));
        set.hold(true);
        assert_eq!(set.refused_among(|address| *address != at(2)), 1);
        set.hold(false);
        assert_eq!(set.refused_among(|_| true), 0);
    }

    #[tokio::test]
    async fn those_who_wait_are_woken_by_a_change() {
        let set = Arc::new(set(Addr::Pending));
        let seen = set.version();
        let waiting = tokio::spawn({
            let set = Arc::clone(&set);
            async move { set.changed(seen).await }
        });
        tokio::task::yield_now().await;
        set.publish(bound(&[1]));
        waiting.await.unwrap();
        set.changed(seen).await;
    }
}
