//! Handing the listening sockets to a new process, and taking them from whoever held them before.
//!
//! Both ways use systemd's protocol (`LISTEN_FDS`, `LISTEN_FDNAMES`), so that a successor starts as
//! one does that systemd starts. A successor has a socket for its standard input besides, on which
//! three lines are exchanged: it says `ready`, is told `go`, and says `serving`. Until the last one
//! the old process serves on, whatever becomes of the new one.

use command_fds::{CommandFdExt, FdMapping};
use listenfd::ListenFd;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Set for a process that takes over, so that it talks to the old one on its standard input.
const HANDOVER: &str = "HEDDLE_HANDOVER";
/// Its value when somebody beside these processes holds the sockets, such as systemd.
const HELD: &str = "held";
/// The name of the admin server's socket among those that are handed over.
pub(crate) const ADMIN: &str = "heddle-admin";
/// What a new process may take until it is ready; one that waits for longer would never be.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// What it may take to begin after it was told to.
const SERVING_WITHIN: Duration = Duration::from_secs(10);
/// The first descriptor that is passed on (`SD_LISTEN_FDS_START`).
const FIRST_DESCRIPTOR: i32 = 3;

const READY: u8 = b'r';
const GO: u8 = b'g';
const SERVING: u8 = b's';

/// Sockets that another process opened: the one before this, or systemd.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    sockets: Mutex<Vec<(String, TcpListener)>>,
    predecessor: Option<StdUnixStream>,
    /// Whether who opened the sockets keeps them.
    held: bool,
}

impl Inherited {
    /// What the environment says was passed on. To be called once, before there are threads.
    pub(crate) fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut given = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..given.len() {
            let name = names.next().unwrap_or_default();
            match given.take_tcp_listener(index) {
                Ok(Some(socket)) => sockets.push((name, socket)),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(name, %error, "a descriptor that was passed on is left alone");
                }
            }
        }
        let input = std::io::stdin();
        let handover = std::env::var_os(HANDOVER);
        let held = !sockets.is_empty() && handover.as_deref().is_none_or(|how| how == HELD);
        let predecessor = handover
            .and_then(|_| input.as_fd().try_clone_to_owned().ok())
            .map(StdUnixStream::from);
        Self {
            sockets: Mutex::new(sockets),
            predecessor,
            held,
        }
    }

    /// Whether who opened the sockets keeps them, so that they outlive this process.
    pub(crate) fn are_held(&self) -> bool {
        self.held
    }

    /// Takes the sockets that are meant for `name` at `address`: those of that name, else those of
    /// that address. From a process before this one a name is not enough: its configuration may
    /// have said another address.
    pub(crate) fn take(&self, name: &str, address: SocketAddr) -> Vec<TcpListener> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |socket: &TcpListener| {
            socket.local_addr().is_ok_and(|actual| {
                actual == address || (address.port() == 0 && actual.ip() == address.ip())
            })
        };
        let own_process = self.predecessor.is_some();
        let by_name: Vec<_> = sockets
            .extract_if(.., |(given, socket)| {
                given == name && (!own_process || fits(socket))
            })
            .collect();
        let taken = if by_name.is_empty() && address.port() != 0 {
            sockets.extract_if(.., |(_, socket)| fits(socket)).collect()
        } else {
            by_name
        };
        taken.into_iter().map(|(_, socket)| socket).collect()
    }

    /// Closes what no listener took.
    pub(crate) fn close_rest(&self) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, socket) in sockets.drain(..) {
            let address = socket.local_addr().ok();
            tracing::warn!(name, ?address, "no listener has this socket; closing it");
        }
    }

    /// The process before this one, if it waits for it.
    pub(crate) fn predecessor(&mut self) -> Option<Predecessor> {
        let channel = self.predecessor.take()?;
        channel.set_nonblocking(true).ok()?;
        UnixStream::from_std(channel).map(Predecessor).ok()
    }
}

/// The process that served until now.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// Says that this process is ready, and waits until it is told to take over. When the old
    /// process is gone, that is so at once: nobody else serves.
    pub(crate) async fn relieve(&mut self) {
        self.0.write_all(&[READY]).await.ok();
        self.0.read_u8().await.ok();
    }

    /// Says that this process serves.
    pub(crate) async fn serving(mut self) {
        // The old one may be gone, which makes no difference.
        self.0.write_all(&[SERVING]).await.ok();
    }
}

/// A new process that is to take over. It is killed when dropped before it serves.
#[derive(Debug)]
pub(crate) struct Successor {
    child: Option<Child>,
    channel: UnixStream,
}

impl Successor {
    /// Starts this program again with the same arguments, and waits until it is ready.
    /// `held`: somebody beside the two processes holds the sockets.
    pub(crate) async fn start(sockets: Vec<(String, OwnedFd)>, held: bool) -> Result<Self, String> {
        let (ours, theirs) =
            StdUnixStream::pair().map_err(|error| format!("no socket pair: {error}"))?;
        ours.set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(ours))
            .map_err(|error| format!("no channel to the new process: {error}"))
            .and_then(|channel| {
                let child = spawn(sockets, held, theirs)?;
                Ok(Self {
                    child: Some(child),
                    channel,
                })
            })?
            .ready()
            .await
    }

    async fn ready(mut self) -> Result<Self, String> {
        match timeout(READY_WITHIN, self.channel.read_u8()).await {
            Ok(Ok(READY)) => Ok(self),
            Ok(_) => Err("the new process ended before it was ready; its log says why".to_owned()),
            Err(_) => Err(format!(
                "the new process was not ready within {} s",
                READY_WITHIN.as_secs()
            )),
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Tells it to serve, and returns once it does. From then on it is on its own.
    pub(crate) async fn take_over(mut self) -> Result<(), String> {
        let gone = |_| "the new process ended when it was to take over".to_owned();
        self.channel.write_all(&[GO]).await.map_err(gone)?;
        let answer = timeout(SERVING_WITHIN, self.channel.read_u8())
            .await
            .map_err(|_| "the new process does not begin to serve".to_owned())?;
        if answer.map_err(gone)? != SERVING {
            return Err("the new process does not speak this protocol".to_owned());
        }
        self.child = None;
        Ok(())
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only when it has ended already.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The same program, found as it was found the first time, so that a new binary at the same place
/// is the one that starts.
fn spawn(
    sockets: Vec<(String, OwnedFd)>,
    held: bool,
    channel: StdUnixStream,
) -> Result<Child, String> {
    let mut arguments = std::env::args_os();
    let program = arguments
        .next()
        .ok_or_else(|| "the name of this program is not known".to_owned())?;
    let names: Vec<_> = sockets.iter().map(|(name, _)| name.as_str()).collect();
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .env(HANDOVER, if held { HELD } else { "1" })
        .env("LISTEN_FDS", sockets.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        // These name this process; without them they hold for whoever has the rest.
        .env_remove("LISTEN_PID")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::from(OwnedFd::from(channel)));
    let mappings = sockets
        .into_iter()
        .zip(FIRST_DESCRIPTOR..)
        .map(|((_, parent_fd), child_fd)| FdMapping {
            parent_fd,
            child_fd,
        })
        .collect();
    command
        .fd_mappings(mappings)
        .map_err(|error| format!("descriptors cannot be passed on: {error}"))?;
    command
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", program.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn socket() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[test]
    fn sockets_are_matched_by_name_then_by_address() {
        let other = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        for own_process in [false, true] {
            for (given, name, address, expect) in [
                ("in", "in", None, true),
                ("in", "in", Some(any), true),
                ("", "in", None, true),
                ("x", "in", Some(any), false),
                ("x", "in", Some(other), false),
                // systemd decides where; another configuration of ours does not.
                ("in", "in", Some(other), !own_process),
            ] {
                let (socket, actual) = socket();
                let inherited = Inherited {
                    sockets: Mutex::new(vec![(given.to_owned(), socket)]),
                    predecessor: own_process.then(|| StdUnixStream::pair().unwrap().0),
                    held: false,
                };
                let taken = inherited.take(name, address.unwrap_or(actual));
                assert_eq!(
                    taken.len() == 1,
                    expect,
                    "{given} {address:?} {own_process}"
                );
            }
        }
    }
}
