//! Opaque TCP: a connection to a name, bytes both ways.

use crate::client::{Charge, ConnectError, OpenGuard, Verdict, Wire, connect};
use crate::clock;
use crate::http::splice;
use crate::io::Io;
use crate::router::{Conn, PathEntry, connect_target};
use crate::tls::Upstream;
use heddle_core::name::Path;
use heddle_core::patience::Patience;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};

/// Endpoints tried before a connection is given up: the first, and as many as HTTP retries by default.
const ATTEMPTS: usize = 3;

/// The path that `to` means: an absolute path, or a service's name.
pub(crate) fn target(to: &str) -> Option<Path> {
    if to.starts_with('/') {
        return Path::parse(to).ok();
    }
    Path::from_elements(std::iter::once("svc").chain(to.split('/')))
}

/// Connects to an endpoint of `entry` and copies until both sides have ended.
pub(crate) async fn forward<S>(conn: &Conn, entry: &PathEntry, downstream: &mut Io<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let listener = conn.listener.running.borrow().clone();
    let mut tried: Vec<SocketAddr> = Vec::new();
    for _ in 0..ATTEMPTS {
        let tree = match connect_target(&conn.worker, &listener, entry).await {
            Ok(tree) => tree,
            Err(error) => return gave_up(conn, entry, error.kind.label(), &error.reason),
        };
        let chosen = tree
            .choose(&mut conn.worker.rng.borrow_mut(), &entry.path)
            .cloned();
        let client = match chosen {
            Ok(client) => client,
            Err(error) => return gave_up(conn, entry, error.kind.label(), &error.reason),
        };
        let endpoint = match client.pick(clock::now(), None, &tried) {
            Ok(endpoint) => endpoint,
            Err(unavailable) => {
                return gave_up(
                    conn,
                    entry,
                    "no-endpoints",
                    &unavailable.reason(client.set.id()),
                );
            }
        };
        let address = endpoint.shared.address;
        tried.push(address);
        let charge = Charge::new(
            client.clone(),
            endpoint.clone(),
            Patience::default(),
            None,
            clock::now(),
        );
        let pool = &client.policy.pool;
        let opened = match OpenGuard::take(&client.shared, &endpoint.shared, pool.max_connections) {
            Ok(open) => connect(&client.shared, address, pool, Upstream::Opaque)
                .await
                .map(|(wire, _)| (open, wire)),
            Err(error) => Err(error),
        };
        match opened {
            Ok((mut open, upstream)) => {
                open.opened();
                // Connecting is all that a tunnel says of an endpoint's latency.
                charge.report(Verdict::Success);
                entry.service.metrics.in_flight.inc();
                let copied = match upstream {
                    Wire::Plain(mut stream) => splice(&conn.state, downstream, &mut stream).await,
                    Wire::Secured(mut stream) => splice(&conn.state, downstream, &mut stream).await,
                };
                entry.service.metrics.in_flight.dec();
                if let Ok((received, sent)) = copied {
                    listener.metrics.bytes_received.add(received);
                    listener.metrics.bytes_sent.add(sent);
                }
                return;
            }
            Err(ConnectError::Lack(lack)) => {
                client.shared.metrics.refused.inc(lack.label());
                charge.report(Verdict::Nothing);
                tracing::debug!(%address, "no connection: {}", lack.reason());
            }
            Err(error @ ConnectError::Full(_)) => {
                charge.report(Verdict::Nothing);
                tracing::debug!(%address, %error, "connect refused");
            }
            Err(error) => {
                client.shared.metrics.connect.inc();
                charge.report(Verdict::Failure);
                tracing::debug!(%address, %error, "connect failed");
            }
        }
    }
    gave_up(conn, entry, "connect", "no endpoint could be connected");
}

/// There is no answer in an opaque protocol: the connection closes, and what happened is counted.
fn gave_up(conn: &Conn, entry: &PathEntry, kind: &'static str, reason: &str) {
    conn.listener.running.borrow().metrics.refused.inc(kind);
    entry.service.metrics.answers.inc(kind);
    tracing::info!(name = %entry.path, kind, reason, "connection refused");
}
