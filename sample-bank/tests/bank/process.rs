//! Services as processes: started on a free port, stopped by their ids.

use crate::engine::{Engine, Engines};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A free port of this machine.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a listener has an address")
        .port()
}

/// A folder, a database and a set of variables that the services of one bank share.
#[derive(Debug)]
pub(crate) struct Bank {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// The key of all tokens in the tests.
pub(crate) const TOKEN_KEY: &str =
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

impl Bank {
    pub(crate) fn new(engines: &Engines, engine: Engine) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("bank")
            .tempdir()
            .expect("a folder");
        let mut variables = vec![
            ("BANK_STATE".to_owned(), folder.path().display().to_string()),
            (
                "BANK_DATABASE".to_owned(),
                engines.database(engine, folder.path()),
            ),
            ("BANK_TOKEN_KEY".to_owned(), TOKEN_KEY.to_owned()),
        ];
        if let Some(endpoints) = engines.etcd(engine) {
            variables.push(("BANK_ETCD".to_owned(), endpoints));
        }
        Self { folder, variables }
    }

    /// A variable for the services that are started from now on.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
    }

    pub(crate) fn database(&self) -> &str {
        let found = self
            .variables
            .iter()
            .find(|(name, _)| name == "BANK_DATABASE");
        &found.expect("every bank has one").1
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a replica of a service and waits until it listens.
    pub(crate) fn start(&self, service: &'static str) -> Replica {
        self.start_with(service, &[])
    }

    pub(crate) fn start_with(&self, service: &'static str, more: &[(&str, &str)]) -> Replica {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle-bank"));
        command
            .args(["serve", service])
            .env_clear()
            .env(
                "RUST_LOG",
                std::env::var("RUST_LOG").unwrap_or_else(|_| "off".to_owned()),
            )
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(more.iter().copied())
            .stdout(Stdio::piped())
            .current_dir(self.folder.path());
        let mut child = command.spawn().expect("our own binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let line = match lines.next() {
            Some(Ok(line)) => line,
            _ => panic!("{service} ended before it listened: {:?}", child.wait()),
        };
        let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("{service} says: {line}"));
        Replica {
            service,
            child,
            port,
        }
    }
}

/// A running service. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) service: &'static str,
    child: Child,
    pub(crate) port: u16,
}

impl Replica {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("it is our child");
    }

    /// Asks it to stop, and tells how it ended.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < until, "{} does not stop", self.service);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
