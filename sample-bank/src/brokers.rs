//! Brokers that the demo and the tests start on this machine: the embedded one, and Apache Kafka.
//!
//! Each is a child process, killed by its id when its owner is dropped. What they keep stays in the folder that they were
//! given, so a broker that was killed can be started again.

mod apache;

pub use apache::{Cluster, JARS};

use crate::Failure;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The variable that names the embedded broker's binary.
pub const BINARY: &str = "HEDDLE_BANK_BROKER";

/// How long a signal to stop is waited for before the process is killed.
const LEAVE: Duration = Duration::from_secs(10);

/// The embedded broker, running.
#[derive(Debug)]
pub struct Embedded {
    process: Process,
    address: SocketAddr,
}

impl Embedded {
    /// Where its binary is: what `HEDDLE_BANK_BROKER` names, else `heddle-bank-broker` beside this program.
    pub fn binary() -> Option<PathBuf> {
        if let Some(named) = std::env::var_os(BINARY) {
            return Some(PathBuf::from(named)).filter(|path| path.is_file());
        }
        let beside = std::env::current_exe()
            .ok()?
            .with_file_name("heddle-bank-broker");
        beside.is_file().then_some(beside)
    }

    /// Starts it on a port of loopback, 0 for a free one, with its records in `folder`; returns when it accepts connections.
    ///
    /// # Errors
    ///
    /// There is no binary, or it does not start.
    pub fn start(folder: &Path, port: u16) -> Result<Self, Failure> {
        let binary = Self::binary().ok_or_else(|| {
            Failure::new(format!(
                "there is no heddle-bank-broker: build it with `cargo build --manifest-path sample-bank/broker/Cargo.toml`, \
                 and name it in {BINARY}"
            ))
        })?;
        let mut command = Command::new(&binary);
        command
            .args(["--listen", &format!("127.0.0.1:{port}"), "--dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        let out = process.child.stdout.take().map(BufReader::new);
        let mut lines = out
            .into_iter()
            .flat_map(BufRead::lines)
            .map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
        let address = address.ok_or_else(|| {
            Failure::new(format!(
                "{} did not start; what it printed says why",
                binary.display()
            ))
        })?;
        Ok(Self { process, address })
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Asks it to end, and waits for that.
    pub fn stop(mut self) {
        self.process.stop();
    }
}

/// A child process that does not outlive its owner.
#[derive(Debug)]
struct Process {
    child: Child,
}

impl Process {
    fn start(command: &mut Command) -> Result<Self, Failure> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn();
        let child = child.map_err(|e| Failure::new(format!("cannot start {program}: {e}")))?;
        Ok(Self { child })
    }

    fn kill(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn stop(&mut self) {
        let id = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            // Not waited for yet, so the id is still its own.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let until = Instant::now() + LEAVE;
        while Instant::now() < until {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Free ports of loopback. Another process may take one before it is used; then whoever wanted it says so.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let listeners = (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0)));
    let listeners: Vec<TcpListener> = listeners.collect::<std::io::Result<_>>()?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}
