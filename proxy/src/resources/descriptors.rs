//! File descriptors: how many there may be, and who gets them.

use super::Seldom;
use heddle_core::overload::{Shares, shares};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The limit as this process inherited it, which programs that it starts get back; 0: not raised.
static INHERITED: AtomicU64 = AtomicU64::new(0);

/// What became of the limit at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// The limit that was inherited.
    pub from: u64,
    /// What it is now.
    pub to: u64,
}

/// Raises the limit of file descriptors to the hard one. The soft one is often 1024 for the sake of programs that
/// use `select`, which this one does not.
pub fn raise_descriptors() -> Raised {
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (number(limit.current), number(limit.maximum));
    if soft >= hard {
        return Raised {
            from: soft,
            to: soft,
        };
    }
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Only a system that forbids it (a seccomp filter) says no; then the soft limit holds.
    if setrlimit(Resource::Nofile, wanted).is_err() {
        return Raised {
            from: soft,
            to: soft,
        };
    }
    INHERITED.store(soft, Relaxed);
    Raised {
        from: soft,
        to: hard,
    }
}

/// Runs `start`, which starts a program, under the limit that this process inherited: a raised one breaks programs
/// that use `select`. Descriptors that are open stay so; what else is opened in this moment may fail.
pub fn with_inherited_limit<T>(start: impl FnOnce() -> T) -> T {
    let inherited = INHERITED.load(Relaxed);
    let raised = getrlimit(Resource::Nofile);
    if inherited == 0 {
        return start();
    }
    let lowered = Rlimit {
        current: Some(inherited),
        maximum: raised.maximum,
    };
    // Lowering a soft limit, and raising it again below the hard one, is always allowed.
    setrlimit(Resource::Nofile, lowered).ok();
    let started = start();
    setrlimit(Resource::Nofile, raised).ok();
    started
}

fn number(limit: Option<u64>) -> u64 {
    limit.unwrap_or(u64::MAX)
}

/// Sockets of traffic, against what the limit allows.
#[derive(Debug)]
pub(crate) struct Descriptors {
    open: AtomicUsize,
    traffic: AtomicUsize,
    clients: AtomicUsize,
    /// The limit at the last look.
    limit: AtomicU64,
    /// Descriptors that were no traffic at the last count.
    others: AtomicUsize,
    /// Lines about connections that were not accepted.
    pub(crate) told: Seldom,
}

/// With fewer sockets open than this, counting all descriptors is cheap enough to be done each second.
const CHEAP: usize = 256;

impl Descriptors {
    /// Looks at the limit and at what is open.
    pub(crate) fn new() -> Arc<Self> {
        let descriptors = Self {
            open: AtomicUsize::new(0),
            traffic: AtomicUsize::new(0),
            clients: AtomicUsize::new(0),
            limit: AtomicU64::new(0),
            others: AtomicUsize::new(0),
            told: Seldom::default(),
        };
        descriptors.look();
        Arc::new(descriptors)
    }

    /// Looks again: the limit of a running process may be changed (`prlimit`), and listeners come and go.
    pub(crate) fn look(&self) {
        let limit = number(getrlimit(Resource::Nofile).current);
        let open = self.open.load(Relaxed);
        let mut others = self.others.load(Relaxed);
        if open < CHEAP
            && let Ok(listed) = std::fs::read_dir("/proc/self/fd")
        {
            // Reading the folder takes one itself.
            others = listed.count().saturating_sub(open + 1);
        }
        let before = self.limit.swap(limit, Relaxed);
        if before == limit && self.others.swap(others, Relaxed) == others {
            return;
        }
        self.others.store(others, Relaxed);
        let Shares { traffic, clients } =
            shares(usize::try_from(limit).unwrap_or(usize::MAX), others);
        self.traffic.store(traffic, Relaxed);
        self.clients.store(clients, Relaxed);
    }

    /// Whether another client may be accepted.
    pub(crate) fn has_room_for_client(&self) -> bool {
        self.open.load(Relaxed) < self.clients.load(Relaxed)
    }

    /// Lends a descriptor to a client's connection, which has it already.
    pub(crate) fn lend(self: &Arc<Self>) -> Lent {
        self.open.fetch_add(1, Relaxed);
        Lent(self.clone())
    }

    /// Lends a descriptor for a connection to an endpoint, if one is left.
    pub(crate) fn lend_upstream(self: &Arc<Self>) -> Option<Lent> {
        let lent = self.lend();
        (self.open.load(Relaxed) <= self.traffic.load(Relaxed)).then_some(lent)
    }

    /// Sockets of clients that fit when nothing else is open.
    pub(crate) fn clients(&self) -> usize {
        self.clients.load(Relaxed)
    }

    /// The limit.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }
}

/// A descriptor that traffic holds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Lent(Arc<Descriptors>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_some_for_endpoints_and_get_them_back() {
        let descriptors = Descriptors::new();
        descriptors.traffic.store(4, Relaxed);
        descriptors.clients.store(3, Relaxed);
        let mut clients = Vec::new();
        while descriptors.has_room_for_client() {
            clients.push(descriptors.lend());
        }
        assert_eq!(clients.len(), 3);
        let upstream = descriptors.lend_upstream().expect("the last one");
        assert!(descriptors.lend_upstream().is_none());
        assert_eq!(descriptors.open.load(Relaxed), 4, "a refusal holds nothing");
        drop(upstream);
        assert!(descriptors.lend_upstream().is_some());
        clients.pop();
        assert!(descriptors.has_room_for_client());
    }

    #[test]
    fn the_limit_is_shared_out_as_it_is_found() {
        let descriptors = Descriptors::new();
        assert_eq!(
            Some(descriptors.limit()),
            getrlimit(Resource::Nofile).current
        );
        assert!(descriptors.clients() > 0);
    }
}
