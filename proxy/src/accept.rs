//! From an accepted socket to the protocol that it speaks.

mod closing;

use crate::access::{self, Told};
use crate::clock;
use crate::http::{Hop, refused_bytes, serve};
use crate::io::{ConnState, Io, Phase};
use crate::router::{Conn, ListenerState, PathEntry};
use crate::tcp;
use crate::tls::{NotShaken, Termination, say_wants_tls, shake};
use crate::worker::{Command, Worker};
use bytes::{Bytes, BytesMut};
use heddle_core::answer::Kind;
use heddle_core::config::{Identifier, ListenProtocol, Mode};
use heddle_core::detect::{Detected, detect};
use heddle_core::guard::Refusal;
use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// Bytes read before the protocol is known; one read usually brings the whole first request.
const FIRST_READ: usize = 4096;
/// Pause after a failed accept: when file descriptors run out, trying again at once would burn the core. The
/// connection that could not be accepted stays queued, so the pause is also how late it is served at most.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// And after so many in a row that it is no passing thing.
const LONG_ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// Failures with the short pause.
const SHORT_PAUSES: u32 = 20;
/// What a connection takes beside its head: tasks, parser, TLS.
const CONNECTION_BYTES: usize = 64 * 1024;
/// Connections handed from one worker to another when it has so many more, and a quarter more.
const UNEVEN: usize = 2;

/// Starts accepting on a socket, until what it returns is dropped.
pub(crate) fn start(
    worker: &Rc<Worker>,
    state: Rc<ListenerState>,
    socket: std::net::TcpListener,
) -> io::Result<oneshot::Sender<()>> {
    let listener = TcpListener::from_std(socket)?;
    let worker = worker.clone();
    let (stop, mut stopped) = oneshot::channel();
    tokio::task::spawn_local(async move {
        let _accepting = worker.accepting();
        tokio::select! {
            () = accept_all(&worker, &state, &listener) => {}
            _ = &mut stopped => {}
        }
        closing::close(&worker, &state, listener).await;
    });
    Ok(stop)
}

/// Accepts for as long as it is polled.
async fn accept_all(worker: &Rc<Worker>, state: &Rc<ListenerState>, listener: &TcpListener) {
    let mut failures = 0;
    loop {
        // A head takes its size in bytes, and as much again while it is parsed.
        let bytes = 2 * state.running.borrow().spec.limits.header_bytes + CONNECTION_BYTES;
        worker.shared.memory.admission(bytes).await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                if failures > 0 {
                    tracing::info!(listener = state.name, failures, "accepting again");
                    failures = 0;
                }
                accepted(worker, state, stream, peer);
            }
            Err(error) => {
                state.running.borrow().metrics.refused.inc("accept-failed");
                if is_of_one_connection(&error) {
                    continue;
                }
                failures += 1;
                if let Some(times) = worker.shared.descriptors.told.due(clock::now()) {
                    tracing::warn!(listener = state.name, %error, times, "accept failed; connections wait in the kernel's queue");
                }
                sleep(if failures > SHORT_PAUSES {
                    LONG_ACCEPT_PAUSE
                } else {
                    ACCEPT_PAUSE
                })
                .await;
            }
        }
    }
}

/// Whether an error of `accept` is that of the connection which would have been next, and is gone (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | HostUnreachable | NetworkUnreachable
    )
}

/// Whether the listener may have another connection; it is counted and told when not.
fn has_room(worker: &Worker, state: &ListenerState, peer: SocketAddr) -> bool {
    let lacks = worker.lacks_room(state);
    let has_room = lacks.is_none();
    if let Some(told) = lacks {
        turn_away(worker, state, peer, told);
    }
    has_room
}

fn turn_away(worker: &Worker, state: &ListenerState, peer: SocketAddr, told: Told) {
    let (reason, why) = (told.class, told.text);
    let listener = state.running.borrow();
    listener.metrics.refused.inc(reason);
    access::tell(worker, &listener, peer.ip(), told);
    if let Some(times) = worker.shared.descriptors.told.due(clock::now()) {
        tracing::warn!(
            listener = state.name,
            reason,
            times,
            "connections refused: {why}"
        );
    }
}

fn accepted(worker: &Rc<Worker>, state: &Rc<ListenerState>, stream: TcpStream, peer: SocketAddr) {
    if !has_room(worker, state, peer) {
        return;
    }
    if let Some(other) = less_busy(worker) {
        let handed = stream.into_std().map(|stream| {
            let command = Command::Adopt {
                listener: state.name.clone(),
                stream,
                lent: worker.shared.descriptors.lend(),
            };
            worker.peers[other].try_send(command)
        });
        match handed {
            Ok(Err(tokio::sync::mpsc::error::TrySendError::Full(Command::Adopt {
                stream,
                ..
            }))) => {
                adopt(worker, state, stream);
            }
            _ => return,
        }
        return;
    }
    begin(worker, state, stream, peer);
}

/// The worker with the fewest connections, if this one has clearly more: the kernel spreads
/// connections by hash, and long-lived ones can pile up on one core.
fn less_busy(worker: &Worker) -> Option<usize> {
    let counts = &worker.shared.connections;
    // While draining, a worker that has told that it is idle would close what it is handed.
    if counts.len() < 2 || worker.shared.draining.load(Relaxed) {
        return None;
    }
    let own = counts[worker.id].load(Relaxed);
    let (other, least) = counts
        .iter()
        .map(|count| count.load(Relaxed))
        .enumerate()
        .min_by_key(|(_, count)| *count)?;
    (own >= least + UNEVEN && own * 4 >= least * 5).then_some(other)
}

/// Takes over a connection that another worker accepted.
pub(crate) fn adopt(worker: &Rc<Worker>, state: &Rc<ListenerState>, stream: StdTcpStream) {
    let taken = TcpStream::from_std(stream)
        .and_then(|stream| stream.peer_addr().map(|peer| (stream, peer)));
    // A connection that is already gone is no loss.
    if let Ok((stream, peer)) = taken {
        // Others may have come while it was handed over.
        if let Some(told) = worker.lacks_room(state) {
            return turn_away(worker, state, peer, told);
        }
        begin(worker, state, stream, peer);
    }
}

fn begin(worker: &Rc<Worker>, listener: &Rc<ListenerState>, stream: TcpStream, peer: SocketAddr) {
    stream.set_nodelay(true).ok();
    let state = ConnState::new(worker.tick.clone());
    let trust = listener.running.borrow().spec.trust.clone();
    let tls = listener.running.borrow().tls.clone();
    let mut conn = Conn {
        worker: worker.clone(),
        listener: listener.clone(),
        hop: Hop::new(peer, &trust, tls.is_some()),
        secured: None,
        state: state.clone(),
        serial: false,
        interim: OnceCell::new(),
        passed: RefCell::default(),
        registered: None,
    };
    let (send, receive) = oneshot::channel();
    let task = tokio::task::spawn_local(async move {
        conn.registered = receive.await.ok().map(Rc::new);
        match tls {
            None => connection(conn, stream, None).await,
            // In a box, so that plaintext does not carry the size of it.
            Some(tls) => Box::pin(secured(conn, stream, tls)).await,
        }
    });
    let registered = worker.register(state, listener.clone(), peer.ip(), task.abort_handle());
    // Held by what the task runs, so that the end of it is the connection's.
    send.send(registered).ok();
}

/// A connection that begins with a TLS handshake.
async fn secured(mut conn: Conn, stream: TcpStream, tls: Arc<Termination>) {
    let metrics = conn.listener.running.borrow().metrics.clone();
    // Its own time bounds the handshake, not the idle one.
    conn.state.enter(Phase::Tunnel);
    let (stream, secured) = match shake(stream, &tls, &metrics).await {
        Ok(shaken) => shaken,
        Err(NotShaken::Plaintext(stream)) => return say_wants_tls(&conn, stream).await,
        Err(NotShaken::Silently) => return,
    };
    conn.state.enter(Phase::Idle);
    conn.secured = Some(Rc::new(secured));
    connection(conn, stream, None).await;
}

/// A connection inside a `CONNECT` tunnel; opaque bytes go to `entry`.
pub(crate) async fn inside_tunnel<S>(conn: Rc<Conn>, stream: S, entry: Rc<PathEntry>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connection(conn.tunnelled(false), stream, Some(entry)).await;
}

async fn connection<S>(mut conn: Conn, mut stream: S, tunnel: Option<Rc<PathEntry>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let listener = conn.listener.running.borrow().clone();
    let metrics = &listener.metrics;
    // What ALPN has settled holds for the connection itself, not for a tunnel inside it.
    let agreed = match (&tunnel, &conn.secured) {
        (None, Some(secured)) => secured.protocol,
        _ => None,
    };
    let opaque_to = match tunnel {
        Some(entry) => Some(entry),
        None => opaque_entry(&conn),
    };
    let (protocol, prefix) = if listener.spec.protocol == ListenProtocol::Tcp
        || matches!(listener.spec.mode, Mode::Tcp { .. })
    {
        (Detected::Opaque, Bytes::new())
    } else {
        let patience = (opaque_to.is_some() && agreed.is_none())
            .then_some(listener.spec.limits.detect_timeout);
        match first_bytes(&mut stream, &conn.state, patience).await {
            Some(found) => found,
            None => return,
        }
    };
    let as_agreed = match agreed {
        None => true,
        // Who speaks HTTP/1 learns from an answer what is wrong with what it sent.
        Some(Detected::Http1) if protocol == Detected::Opaque => true,
        Some(agreed) => agreed == protocol,
    };
    if !as_agreed {
        // Bytes of one protocol under the name of another are an attack or a broken client. A preface of
        // HTTP/2 that is none ends the connection (RFC 9113 section 3.4).
        let why = "the first bytes are of another protocol than ALPN has settled";
        let told = Told::unanswered(Kind::Refused(400), "not-as-agreed", why);
        metrics.refused.inc(told.class);
        access::tell_on(&conn, told);
        return;
    }
    conn.serial = protocol == Detected::Http1;
    match protocol {
        Detected::Http1 => metrics.detected_http1.inc(),
        Detected::Http2 => metrics.detected_http2.inc(),
        Detected::Opaque => metrics.detected_opaque.inc(),
        Detected::NeedMore => metrics.detected_timeout.inc(),
    }
    let conn = Rc::new(conn);
    match protocol {
        Detected::Http1 | Detected::Http2 => {
            if protocol == Detected::Http2 {
                conn.state.enter(Phase::Tunnel);
            }
            let io = Io::downstream(stream, prefix, conn.state.clone());
            // In a box: what has not said a byte yet does not carry the size of it.
            Box::pin(serve(conn, io, protocol)).await;
        }
        Detected::Opaque | Detected::NeedMore => match opaque_to {
            Some(entry) if agreed.is_none() && listener.spec.protocol != ListenProtocol::Http => {
                conn.state.enter(Phase::Tunnel);
                if let Some(admission) = &listener.admission
                    && !admission.opened().await
                {
                    metrics.shed.inc("held");
                    return;
                }
                let mut io = Io::downstream(stream, prefix, conn.state.clone());
                Box::pin(tcp::forward(&conn, &entry, &mut io)).await;
            }
            _ => {
                metrics.refused.inc(NOT_HTTP.reason);
                let (answer, bytes) = refused_bytes(NOT_HTTP);
                access::tell_on(&conn, Told::answered(NOT_HTTP, bytes));
                // The caller may be gone; there is nobody else to tell.
                stream.write_all(&answer).await.ok();
                stream.shutdown().await.ok();
            }
        },
    }
}

const NOT_HTTP: Refusal = Refusal {
    status: 400,
    reason: "not-http",
    text: "this port speaks HTTP/1.1 and HTTP/2, and the first bytes were neither",
};

/// Reads until the protocol can be told; with `patience`, a silent caller is taken for one that
/// waits for the server to speak. `None`: the connection ended.
async fn first_bytes<S: AsyncRead + Unpin>(
    stream: &mut S,
    state: &ConnState,
    patience: Option<Duration>,
) -> Option<(Detected, Bytes)> {
    let mut first = BytesMut::new();
    let read = async {
        loop {
            match read_some(stream, &mut first).await {
                Ok(0) if first.is_empty() => return None,
                Ok(0) => return Some(Detected::Opaque),
                Err(_) => return None,
                Ok(_) => state.enter(Phase::Head),
            }
            match detect(&first) {
                Detected::NeedMore => {}
                found => return Some(found),
            }
        }
    };
    let found = match patience {
        None => read.await?,
        Some(patience) => match timeout(patience, read).await {
            Ok(found) => found?,
            Err(_) => Detected::NeedMore,
        },
    };
    Some((found, first.freeze()))
}

/// Reads what there is behind `into`, which has room only once there is something.
async fn read_some<S: AsyncRead + Unpin>(stream: &mut S, into: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut bytes = [0; FIRST_READ];
        let mut buf = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
        into.extend_from_slice(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    })
    .await
}

/// Where this listener sends bytes that are no HTTP, if it says so.
fn opaque_entry(conn: &Conn) -> Option<Rc<PathEntry>> {
    let listener = conn.listener.running.borrow().clone();
    let name = match &listener.spec.mode {
        Mode::Tcp { to } => tcp::target(to),
        Mode::Inbound { .. } => heddle_core::name::Path::from_elements([
            b"svc".as_slice(),
            listener.spec.name.as_bytes(),
        ]),
        Mode::Outbound => listener
            .spec
            .identify
            .iter()
            .find_map(|identifier| match identifier {
                Identifier::Static(name) => tcp::target(name),
                _ => None,
            }),
    }?;
    let worker = &conn.worker;
    worker.refresh();
    let running = worker.running.borrow().clone();
    Some(conn.listener.entry(
        &worker.shared,
        &running,
        name,
        heddle_core::name::Dtab::empty(),
    ))
}
