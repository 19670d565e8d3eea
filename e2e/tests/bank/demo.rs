//! The demo as a child of a test.

use heddle_e2e::needs::Need;
use heddle_e2e::process::Running;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the demo may take to open the bank on a busy machine.
const OPENING: Duration = Duration::from_secs(240);
/// How long it may take to end all that it started.
const ENDING: Duration = Duration::from_secs(60);

/// `heddle-bank` with its neighbours named.
pub(crate) fn heddle_bank() -> Command {
    let mut command = Need::Bank.command();
    command.env("HEDDLE_BIN", heddle_e2e::binary::heddle());
    command
}

/// A bank that is open until this is dropped.
pub(crate) struct Demo {
    running: Running,
    pub(crate) state: tempfile::TempDir,
    pub(crate) customers: Vec<Value>,
    description: Value,
}

impl Demo {
    /// Opens one on free ports.
    pub(crate) fn open() -> Self {
        let state = tempfile::tempdir().expect("the system has a temporary folder");
        let mut command = heddle_bank();
        command.args([
            "demo",
            "--port",
            "0",
            "--proxy-port",
            "0",
            "--admin-port",
            "0",
            "--state",
        ]);
        let mut running = Running::start(command.arg(state.path()));
        running.wait_for_line("The bank is open", OPENING);
        let read = |name: &str| -> Value {
            let text = fs::read_to_string(state.path().join(name)).expect("the demo wrote it");
            serde_json::from_str(&text).expect("it is JSON")
        };
        Self {
            customers: read("customers.json")["customers"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
            description: read("bank.json"),
            running,
            state,
        }
    }

    /// An address of `bank.json`.
    pub(crate) fn address(&self, what: &str) -> SocketAddr {
        let url = self.description[what].as_str().expect("bank.json has it");
        url.trim_start_matches("http://")
            .parse()
            .expect("it is an address")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.state.path()
    }

    /// Ends it as Ctrl-C does, and checks that nothing is left.
    pub(crate) fn end(mut self) {
        self.running.signal("INT");
        let code = self.running.wait(ENDING);
        assert_eq!(code, Some(0), "{}", self.running.output());
        let folder = self.folder().display().to_string();
        let left = processes_with(&folder);
        assert_eq!(left, Vec::<String>::new(), "processes outlive the demo");
    }
}

/// After a test that failed: what the demo has started would outlive a demo that is killed.
impl Drop for Demo {
    fn drop(&mut self) {
        let deadline = Instant::now() + ENDING;
        if self.running.is_alive() {
            self.running.signal("INT");
        }
        while self.running.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Command lines and environments that name the folder.
fn processes_with(folder: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("this is Linux").flatten();
    processes
        .filter(|process| {
            process
                .file_name()
                .to_string_lossy()
                .parse::<u32>()
                .is_ok_and(|id| id != std::process::id())
        })
        .filter_map(|process| {
            let told = |name: &str| fs::read(process.path().join(name)).unwrap_or_default();
            let command = String::from_utf8_lossy(&told("cmdline")).replace('\0', " ");
            let environment = String::from_utf8_lossy(&told("environ")).into_owned();
            (command.contains(folder) || environment.contains(folder)).then_some(command)
        })
        .collect()
}
