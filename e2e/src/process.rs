//! Foreign programs: run with a limit on their time, or kept running and stopped by their id.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a program to its end.
///
/// # Panics
///
/// When it cannot be started, or runs longer than `limit` (it is killed, and its output shown).
pub fn run(command: &mut Command, limit: Duration) -> Finished {
    let mut running = Running::start(command);
    let deadline = Instant::now() + limit;
    let status = loop {
        match running
            .child
            .try_wait()
            .expect("waiting for a child of ours")
        {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                running.stop();
                panic!(
                    "{command:?} ran longer than {limit:?}; it said:\n{}",
                    running.output()
                );
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    running.join_readers();
    Finished {
        code: status.code(),
        stdout: running.stdout.text(),
        stderr: running.stderr.text(),
    }
}

/// Runs a program that must succeed, and gives its standard output.
///
/// # Panics
///
/// When it fails; the message holds all that it said.
pub fn succeed(command: &mut Command, limit: Duration) -> String {
    let finished = run(command, limit);
    assert!(
        finished.code == Some(0),
        "{command:?} ended with {:?}; stdout:\n{}\nstderr:\n{}",
        finished.code,
        finished.stdout,
        finished.stderr
    );
    finished.stdout
}

/// A program that runs until this value is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Captured,
    stderr: Captured,
}

impl Running {
    /// Starts a program without standard input and captures what it says.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        Self::with_input(command, Stdio::null())
    }

    /// Starts a program with this standard input and captures what it says.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn with_input(command: &mut Command, input: Stdio) -> Self {
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let stdout = Captured::read(child.stdout.take().expect("stdout was piped"));
        let stderr = Captured::read(child.stderr.take().expect("stderr was piped"));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Everything it has said so far: standard output, then standard error.
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout.text(), self.stderr.text())
    }

    /// The first line of standard output that starts with `prefix`, without the prefix.
    ///
    /// # Panics
    ///
    /// When none comes within `limit`, or the program ends before.
    pub fn wait_for_line(&mut self, prefix: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        loop {
            let alive = self.is_alive();
            let text = self.stdout.text();
            if let Some(rest) = text.lines().find_map(|line| line.strip_prefix(prefix)) {
                return rest.trim().to_owned();
            }
            assert!(
                alive && Instant::now() < deadline,
                "no line '{prefix}…' within {limit:?}; the program said:\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal by its name (`TERM`, `HUP`).
    ///
    /// # Panics
    ///
    /// When there is no `kill`.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .expect("every system has kill");
    }

    /// Waits until it has ended by itself, and gives the exit code.
    ///
    /// # Panics
    ///
    /// When it is still running after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("waiting for a child of ours") {
                self.join_readers();
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "still running after {limit:?}:\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it, if it still runs.
    pub fn stop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    fn join_readers(&mut self) {
        self.stdout.join();
        self.stderr.join();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A pipe that a thread reads to its end.
#[derive(Debug)]
struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Captured {
    /// More output than this is not kept.
    const LIMIT: usize = 4 * 1024 * 1024;

    fn read(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() < Self::LIMIT {
                    kept.extend_from_slice(&buffer[..count]);
                }
            }
        });
        Self {
            bytes,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
            .into_owned()
    }

    fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}
