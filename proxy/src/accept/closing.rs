//! Closing a listening socket so that no connection is reset that seemed to stand.
//!
//! The kernel completes handshakes by itself and queues the connections; a socket that closes resets
//! what is queued, and for a request over such a connection nobody could tell whether it was done. So
//! first no new handshake may begin: a filter drops `SYN`s, which the caller's kernel repeats after a
//! second, to be refused by then, which is safe to try elsewhere. Handshakes under way finish, what is
//! queued is taken, and the socket closes with an empty queue.

use super::{accept_all, adopt, has_room};
use crate::app::BACKLOG;
use crate::router::ListenerState;
use crate::worker::Worker;
use socket2::{SockFilter, SockRef};
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// How long handshakes under way may take: the round trip of a data centre many times over.
const LAST_HANDSHAKES: Duration = Duration::from_millis(100);

/// Takes what is queued on the socket, and closes it. One that somebody else holds stays open with
/// its queue, whatever happens here, and must not be touched.
pub(super) async fn close(worker: &Rc<Worker>, state: &Rc<ListenerState>, listener: TcpListener) {
    if !worker.shared.sockets_outlive.load(Relaxed) {
        match refuse_handshakes(&listener) {
            Ok(()) => {
                let accepting = accept_all(worker, state, &listener);
                timeout(LAST_HANDSHAKES, accepting).await.ok();
            }
            Err(error) => tracing::debug!(%error, "no filter for the end of a listening socket"),
        }
    }
    take_queued(worker, state, listener);
}

/// Takes what is queued. The kernel is asked itself: the runtime knows only what was there when it
/// last looked.
fn take_queued(worker: &Rc<Worker>, state: &Rc<ListenerState>, listener: TcpListener) {
    let Ok(socket) = listener.into_std() else {
        return;
    };
    for _ in 0..BACKLOG {
        let Ok((stream, peer)) = socket.accept() else {
            return;
        };
        // Nobody else takes it over: other workers may have left this listener already.
        if has_room(worker, state, peer) && stream.set_nonblocking(true).is_ok() {
            adopt(worker, state, stream);
        }
    }
}

/// Drops each `SYN` that comes from now on. What a listening socket's filter sees begins with the
/// TCP header, whose 14th byte holds the flags (RFC 9293 section 3.1).
fn refuse_handshakes(listener: &TcpListener) -> io::Result<()> {
    const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
    const JUMP_IF_SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[tokio::test]
    async fn what_stands_is_taken_and_what_is_new_is_not_answered() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let _queued = TcpStream::connect(address).unwrap();
        refuse_handshakes(&listener).unwrap();
        // Not refused and not accepted: unanswered, so that it may be tried again.
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let socket = listener.into_std().unwrap();
        assert!(socket.accept().is_ok());
        let error = socket.accept().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(socket);
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
