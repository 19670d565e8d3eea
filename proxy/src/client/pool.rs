//! The connections of one worker to one endpoint.
//!
//! Invariant: a connection in the pool has no request on it (HTTP/1) or room for one (HTTP/2).

use super::connection::{ConnectError, Http1, connect_http1};
use super::http2::{Http2, connect_http2};
use crate::clock;
use crate::shared::{EndpointShared, SetShared};
use heddle_core::Nanos;
use heddle_core::config::Pool;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::Notify;

/// Connections of one worker to one endpoint.
#[derive(Debug)]
pub(crate) struct EndpointPool {
    pub(crate) set: Arc<SetShared>,
    pub(crate) endpoint: Arc<EndpointShared>,
    idle: RefCell<Vec<(Http1, Nanos)>>,
    http2: RefCell<Vec<Rc<Http2>>>,
    /// Requests without an HTTP/2 connection: those that open one, and those that wait for it.
    connecting: Cell<usize>,
    /// HTTP/2 connections that are being opened.
    opening: Cell<usize>,
    /// How many of these have failed so far.
    failed: Cell<u64>,
    arrived: Notify,
}

impl EndpointPool {
    pub(crate) fn new(set: Arc<SetShared>, endpoint: Arc<EndpointShared>) -> Self {
        Self {
            set,
            endpoint,
            idle: RefCell::new(Vec::new()),
            http2: RefCell::new(Vec::new()),
            connecting: Cell::new(0),
            opening: Cell::new(0),
            failed: Cell::new(0),
            arrived: Notify::new(),
        }
    }

    /// A pooled HTTP/1 connection, the most recently used first, so that the rest can go idle.
    pub(crate) fn reuse_http1(&self, config: &Pool, now: Nanos) -> Option<Http1> {
        let mut idle = self.idle.borrow_mut();
        let tls = self.set.tls_version();
        let mut index = idle.len();
        while index > 0 {
            index -= 1;
            let (connection, since) = &idle[index];
            let fresh = now.saturating_sub(*since) < clock::nanos(config.idle)
                && !connection.sender.is_closed()
                && connection.tls == tls
                && young(connection.born, now, config);
            if !fresh {
                idle.remove(index);
            } else if connection.sender.is_ready() {
                let (mut connection, _) = idle.remove(index);
                connection.reused = true;
                self.set.metrics.connections_reused.inc();
                return Some(connection);
            }
            // Else its task has yet to see the end of the last answer: the next one will do.
        }
        None
    }

    /// A new HTTP/1 connection.
    pub(crate) async fn open_http1(&self, config: &Pool) -> Result<Http1, ConnectError> {
        let _pending = Pending::take(&self.set, config.max_pending)?;
        connect_http1(&self.set, &self.endpoint, config).await
    }

    /// Puts a connection back once its answer has been read.
    pub(crate) fn put_http1(&self, connection: Http1, config: &Pool, now: Nanos) {
        if connection.sender.is_closed()
            || config.idle.is_zero()
            || !young(connection.born, now, config)
        {
            return;
        }
        self.idle.borrow_mut().push((connection, now));
    }

    /// An HTTP/2 connection that has room for a stream.
    pub(crate) fn reuse_http2(&self, config: &Pool, now: Nanos) -> Option<Rc<Http2>> {
        let connection = self.find_http2(config, now)?;
        self.set.metrics.connections_reused.inc();
        Some(connection)
    }

    /// A new HTTP/2 connection, or one that turned up meanwhile, and whether it is such a one. As many
    /// are opened at once as the requests that wait can fill: one each would be a storm, in which
    /// connects time out and the endpoint is taken for dead.
    pub(crate) async fn open_http2(
        &self,
        config: &Pool,
    ) -> Result<(Rc<Http2>, bool), ConnectError> {
        let _pending = Pending::take(&self.set, config.max_pending)?;
        self.connecting.set(self.connecting.get() + 1);
        let _count = Count(&self.connecting);
        let failed = self.failed.get();
        while self.opening.get() * config.max_streams >= self.connecting.get() {
            self.arrived.notified().await;
            if let Some(connection) = self.find_http2(config, clock::now()) {
                return Ok((connection, true));
            }
            if self.failed.get() != failed {
                // Waiting for the next one could take as many connect time-outs as there are
                // requests before us: take a turn ourselves.
                break;
            }
        }
        self.opening.set(self.opening.get() + 1);
        let _opening = Count(&self.opening);
        let _wake = WakeAll(&self.arrived);
        let connection = connect_http2(&self.set, &self.endpoint, config)
            .await
            .inspect_err(|_| self.failed.set(self.failed.get() + 1))?;
        self.http2.borrow_mut().push(connection.clone());
        Ok((connection, false))
    }

    fn find_http2(&self, config: &Pool, now: Nanos) -> Option<Rc<Http2>> {
        let mut connections = self.http2.borrow_mut();
        let tls = self.set.tls_version();
        if connections.iter().any(|c| c.is_closed()) {
            connections.retain(|c| !c.is_closed());
        }
        connections
            .iter()
            .find(|c| c.tls == tls && c.has_room(config.max_streams) && young(c.born, now, config))
            .cloned()
    }

    /// Drops what has been idle for too long.
    pub(crate) fn sweep(&self, config: &Pool) {
        let now = clock::now();
        let idle = clock::nanos(config.idle);
        if self.endpoint.leaving.is_leaving(now) {
            self.clear_idle();
        }
        self.idle
            .borrow_mut()
            .retain(|(c, since)| now.saturating_sub(*since) < idle && !c.sender.is_closed());
        self.http2.borrow_mut().retain(|c| {
            let keep = !c.is_closed()
                && (c.streams().get() > 0
                    || now.saturating_sub(c.born) < clock::nanos(HTTP2_MIN_AGE));
            keep || (young(c.born, now, config) && !c.is_closed())
        });
    }

    /// Drops the idle HTTP/1 connections: the endpoint leaves, and ends them at any moment.
    pub(crate) fn clear_idle(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Drops every pooled connection: the endpoint has left its set.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
        self.http2.borrow_mut().clear();
    }
}

/// An HTTP/2 connection is kept at least this long, used or not.
const HTTP2_MIN_AGE: std::time::Duration = std::time::Duration::from_secs(60);

fn young(born: Nanos, now: Nanos, config: &Pool) -> bool {
    config
        .lifetime
        .is_none_or(|lifetime| now.saturating_sub(born) < clock::nanos(lifetime))
}

/// Counts a request that waits for a connection.
struct Pending<'a>(&'a SetShared);

impl<'a> Pending<'a> {
    fn take(set: &'a SetShared, max: usize) -> Result<Self, ConnectError> {
        if set.pending.fetch_add(1, Relaxed) >= max {
            set.pending.fetch_sub(1, Relaxed);
            set.metrics.refused.inc("pending");
            return Err(ConnectError::Full(
                "too many requests wait for a connection",
            ));
        }
        set.metrics.pending.inc();
        Ok(Self(set))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Relaxed);
        self.0.metrics.pending.dec();
    }
}

struct Count<'a>(&'a Cell<usize>);

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

struct WakeAll<'a>(&'a Notify);

impl Drop for WakeAll<'_> {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}
