//! The demo's replicas, and the few words of HTTP that it speaks to them and to the admin pages.

use heddle_bench::process::Running;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a started process has to answer.
const START: Duration = Duration::from_secs(15);
/// How long one question to a page may take.
const QUESTION: Duration = Duration::from_secs(3);
/// Longest answer that is read.
const ANSWER: u64 = 8 * 1024 * 1024;

/// A version of the service: its language's program and its script.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version {
    pub(super) name: &'static str,
    pub(super) language: &'static str,
    pub(super) program: &'static str,
    /// The Debian package that has the program.
    pub(super) package: &'static str,
    pub(super) file: &'static str,
    pub(super) script: &'static str,
    /// Ports of its replicas, as in `examples/demo/proxy.yaml`.
    pub(super) ports: &'static [u16],
}

pub(super) const V1: Version = Version {
    name: "v1",
    language: "Python",
    program: "python3",
    package: "python3",
    file: "accounts_v1.py",
    script: include_str!("../../../examples/demo/accounts_v1.py"),
    ports: &[9001, 9002, 9003],
};

pub(super) const V2: Version = Version {
    name: "v2",
    language: "Node",
    program: "node",
    package: "nodejs",
    file: "accounts_v2.js",
    script: include_str!("../../../examples/demo/accounts_v2.js"),
    ports: &[9011, 9012],
};

/// A started copy of a version; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) version: Version,
    pub(super) address: SocketAddr,
    script: PathBuf,
    process: Running,
}

impl Replica {
    /// Starts `version` under `name` at `address`; [`Self::wait`] tells when it answers.
    pub(super) fn start(
        version: Version,
        name: String,
        address: SocketAddr,
        dir: &Path,
    ) -> Result<Self, String> {
        let script = dir.join(version.file);
        let process = launch(version, &script, address, &name)?;
        Ok(Self {
            name,
            version,
            address,
            script,
            process,
        })
    }

    /// Waits until it answers.
    pub(super) fn wait(&mut self, interrupted: &AtomicBool) -> Result<(), String> {
        let (name, program) = (&self.name, self.version.program);
        wait(&mut self.process, interrupted, || {
            ask(self.address, "GET", "/").is_ok()
        })
        .map_err(|why| {
            format!(
                "the replica {name} ({program} {}) {why}",
                self.script.display()
            )
        })
    }

    /// Makes every answer wait; zero heals it.
    pub(super) fn slow_down(&self, delay: Duration) -> Result<(), String> {
        ask(
            self.address,
            "POST",
            &format!("/control/slow?ms={}", delay.as_millis()),
        )
        .map(drop)
        .map_err(|error| format!("cannot tell the replica {} to be slow: {error}", self.name))
    }

    /// Ends it as a crash would.
    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again where it was.
    pub(super) fn restart(&mut self, interrupted: &AtomicBool) -> Result<(), String> {
        self.process = launch(self.version, &self.script, self.address, &self.name)?;
        self.wait(interrupted)
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }
}

fn launch(
    version: Version,
    script: &Path,
    address: SocketAddr,
    name: &str,
) -> Result<Running, String> {
    let mut command = Command::new(version.program);
    command
        .arg(script)
        .arg(address.port().to_string())
        .arg(name);
    // Its standard input ends with this process, however this process ends, and it with it.
    detach(&mut command)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Running::start(&mut command).map_err(|error| error.to_string())
}

/// Keeps the terminal's Ctrl-C from a child: this process stops it in its order.
pub(super) fn detach(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Says by name which programs are missing and how they are installed.
pub(super) fn check_languages() -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let missing: Vec<Version> = [V1, V2]
        .into_iter()
        .filter(|version| !has(version.program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing
        .iter()
        .map(|version| format!("{} ({})", version.program, version.language))
        .collect();
    let packages: Vec<_> = missing.iter().map(|version| version.package).collect();
    Err(format!(
        "{} not found in PATH: the demo's services are written in Python and JavaScript. On Debian or Ubuntu: \
         apt-get install {}; elsewhere install them with your package manager, then start again",
        names.join(" and "),
        packages.join(" ")
    ))
}

/// Asks until `answers`, or says why it gave up.
pub(super) fn wait(
    process: &mut Running,
    interrupted: &AtomicBool,
    answers: impl Fn() -> bool,
) -> Result<(), String> {
    let deadline = Instant::now() + START;
    while !answers() {
        if interrupted.load(Ordering::Relaxed) {
            return Err("was interrupted before it answered".into());
        }
        if !process.is_running() {
            return Err("ended before it answered".into());
        }
        if Instant::now() > deadline {
            return Err(format!("did not answer within {} s", START.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    Ok(())
}

/// Sends one request and returns the body of a 200.
///
/// HTTP/1.0 on purpose: the answer is neither chunked nor followed by another.
pub(super) fn ask(address: SocketAddr, method: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, QUESTION)?;
    stream.set_read_timeout(Some(QUESTION))?;
    stream.set_write_timeout(Some(QUESTION))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::other("the answer has no end"))?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(
            head.lines().next().unwrap_or_default().to_owned(),
        )),
    }
}
