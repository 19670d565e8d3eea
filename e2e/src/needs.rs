//! What a test needs beyond this repository, where it is, and what to say when it is missing.
//!
//! `e2e/setup/install.sh` installs all of it. What is missing is a named skip on a developer's
//! machine and a failure where `CI=true`.

use crate::binary::{self, repository};
use crate::process;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A foreign component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// `curl`.
    Curl,
    /// `wrk`.
    Wrk,
    /// `h2load` of nghttp2.
    H2load,
    /// `nghttp` of nghttp2.
    Nghttp,
    /// OpenBSD's `nc`.
    Netcat,
    /// Python with only its own library.
    Python,
    /// Python's `grpcio`.
    Grpcio,
    /// Python's `opentelemetry-proto`, with `grpcio`.
    OpentelemetryProto,
    /// Python's `websockets`.
    Websockets,
    /// The system's Node.
    Node,
    /// A Node that knows `NODE_USE_ENV_PROXY`.
    Node24,
    /// `ws` for Node.
    Ws,
    /// `@grpc/grpc-js` for Node.
    GrpcJs,
    /// Java 17 or later.
    Java,
    /// Our Go client over net/http.
    Go,
    /// Our Go client over grpc-go.
    GrpcGo,
    /// Perl with only its own library.
    Perl,
    /// Ruby with only its own library.
    Ruby,
    /// nginx.
    Nginx,
    /// Chromium, which draws the dashboard.
    Chromium,
    /// The reference bank's program, and the embedded broker that its demo starts.
    Bank,
    /// The toolchain of Go, for services that are built on the spot.
    GoCompiler,
    /// Java's compiler, likewise.
    Javac,
    /// h2spec, in our program of suites in Go.
    H2spec,
    /// The interop cases of grpc-go, in the same program.
    GrpcInterop,
    /// kosoku, which runs Autobahn's WebSocket cases.
    Kosoku,
    /// slowhttptest.
    Slowhttptest,
    /// SSLyze.
    Sslyze,
    /// Prometheus's promtool.
    Promtool,
    /// `systemd-analyze`, which judges unit files.
    SystemdAnalyze,
    /// `systemd-socket-activate`, which passes sockets on.
    SystemdSocketActivate,
    /// Envoy.
    Envoy,
    /// `faketime`, with the library that changes what programs take for the time.
    Faketime,
}

impl Need {
    /// A command that runs it: the program itself, or the interpreter with what it finds its packages by.
    pub fn command(self) -> Command {
        Command::new(self.program())
    }

    /// The program to start.
    pub fn program(self) -> PathBuf {
        let state = repository().join(".heddle");
        match self {
            Self::Curl => "curl".into(),
            Self::Wrk => "wrk".into(),
            Self::H2load => "h2load".into(),
            Self::Nghttp => "nghttp".into(),
            Self::Netcat => "nc".into(),
            Self::Python => "python3".into(),
            Self::Grpcio | Self::OpentelemetryProto | Self::Websockets => {
                state.join("venv/bin/python")
            }
            Self::Node | Self::Ws | Self::GrpcJs => "node".into(),
            Self::Node24 => {
                let cpu = if cfg!(target_arch = "aarch64") {
                    "arm64"
                } else {
                    "x64"
                };
                clients("node").join(format!("node_modules/node-linux-{cpu}/bin/node"))
            }
            Self::Java => "java".into(),
            Self::Perl => "perl".into(),
            Self::Ruby => "ruby".into(),
            // Where Debian puts it is not in everybody's PATH.
            Self::Nginx if Path::new("/usr/sbin/nginx").exists() => "/usr/sbin/nginx".into(),
            Self::Nginx => "nginx".into(),
            Self::Chromium => "chromium".into(),
            Self::SystemdAnalyze => "systemd-analyze".into(),
            Self::SystemdSocketActivate => "systemd-socket-activate".into(),
            Self::Faketime => "faketime".into(),
            Self::Envoy => envoy(&state),
            Self::Bank => bank(),
            Self::GoCompiler => "go".into(),
            Self::Javac => "javac".into(),
            Self::Go | Self::GrpcGo => state.join("bin/clients-go"),
            Self::H2spec | Self::GrpcInterop => state.join("bin/suites-go"),
            Self::Kosoku | Self::Sslyze => state.join("suites/bin/python"),
            Self::Slowhttptest => "slowhttptest".into(),
            Self::Promtool if state.join("bin/promtool").exists() => state.join("bin/promtool"),
            Self::Promtool => "promtool".into(),
        }
    }

    /// Its version, by asking it.
    ///
    /// # Errors
    ///
    /// What is missing, and how to install it.
    pub fn version(self) -> Result<String, String> {
        let (arguments, word): (&[&str], usize) = match self {
            Self::Netcat => (&["-h"], 4),
            Self::Curl | Self::Wrk | Self::H2load | Self::Nghttp | Self::Python | Self::Java => {
                (&["--version"], 1)
            }
            Self::Chromium | Self::Ruby | Self::SystemdAnalyze | Self::SystemdSocketActivate => {
                (&["--version"], 1)
            }
            Self::Faketime => (&["--version"], 2),
            Self::Envoy => (&["--version"], 2),
            Self::Perl => (&["-e", "print $^V"], 0),
            Self::Bank | Self::Javac => (&["--version"], 1),
            Self::GoCompiler => (&["version"], 2),
            Self::Node | Self::Node24 => (&["--version"], 0),
            Self::Grpcio => (&["-c", "import grpc; print(grpc.__version__)"], 0),
            Self::OpentelemetryProto => (
                &[
                    "-c",
                    "import grpc, opentelemetry.proto.collector.trace.v1.trace_service_pb2; print('1')",
                ],
                0,
            ),
            Self::Websockets => (
                &["-c", "import websockets; print(websockets.__version__)"],
                0,
            ),
            Self::Ws => (&["-p", "require('ws/package.json').version"], 0),
            Self::GrpcJs => (&["-p", "require('@grpc/grpc-js/package.json').version"], 0),
            Self::Go => (&["version", "go"], 0),
            Self::GrpcGo => (&["version", "grpc"], 0),
            Self::Nginx => (&["-v"], 2),
            Self::H2spec => (&["version", "h2spec"], 0),
            Self::GrpcInterop => (&["version", "grpc"], 0),
            Self::Kosoku => (
                &[
                    "-c",
                    "from importlib.metadata import version; print(version('kosoku'))",
                ],
                0,
            ),
            Self::Sslyze => (
                &[
                    "-c",
                    "from importlib.metadata import version; print(version('sslyze'))",
                ],
                0,
            ),
            Self::Slowhttptest => (&["-h"], 12),
            Self::Promtool => (&["--version"], 2),
        };
        if self == Self::Bank && !broker().is_file() {
            return Err(format!(
                "the bank's broker ({}) is not here: scripts/step.sh build makes it",
                broker().display()
            ));
        }
        let mut command = self.command();
        command.args(arguments).current_dir(clients("node"));
        let text = ask(&mut command).ok_or_else(|| self.missing())?;
        let picked = text
            .lines()
            .find(|line| !line.trim().is_empty())
            .and_then(|line| line.split_whitespace().nth(word));
        // `nghttp2/1.52.0`, `debian/4.1.0-3`, `v20.20.2`, `1.219-1)`
        let version = picked.and_then(|word| word.rsplit('/').next());
        version
            .map(|word| word.trim_matches(['v', ')']).to_owned())
            .ok_or_else(|| self.missing())
    }

    fn missing(self) -> String {
        format!(
            "{self:?} ({}) is not here: run e2e/setup/install.sh",
            self.program().display()
        )
    }
}

/// Whether all of it is here, for tests that cannot be skipped by their runner: what is missing is told, and fails
/// where `CI=true`.
///
/// # Panics
///
/// In CI, when something is missing.
pub fn require(needs: &[Need]) -> bool {
    let missing: Vec<_> = needs
        .iter()
        .filter_map(|need| need.version().err())
        .collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join("; ");
    assert!(
        std::env::var("CI").map_or(true, |value| value != "true"),
        "{missing}"
    );
    eprintln!("skipped: {missing}");
    false
}

/// Envoy's binary within the virtual environment that `e2e/setup/install.sh` makes.
fn envoy(state: &Path) -> PathBuf {
    let libraries = std::fs::read_dir(state.join("envoy/lib"));
    let pythons = libraries.into_iter().flatten().flatten();
    let mut binaries = pythons.map(|python| python.path().join("site-packages/envoy/_bin/envoy"));
    binaries
        .find(|path| path.is_file())
        .unwrap_or_else(|| state.join("envoy/bin/envoy"))
}

/// What `scripts/step.sh build` has made of the bank: `HEDDLE_BANK_BIN`, else where cargo puts it.
fn bank() -> PathBuf {
    match std::env::var_os("HEDDLE_BANK_BIN") {
        Some(given) => given.into(),
        None => binary::heddle().with_file_name("heddle-bank"),
    }
}

/// The embedded broker, named as the demo wants it, or beside the bank.
fn broker() -> PathBuf {
    match std::env::var_os("HEDDLE_BANK_BROKER") {
        Some(given) => given.into(),
        None => bank().with_file_name("heddle-bank-broker"),
    }
}

/// What a program says of itself; some print it to standard error and exit with 1.
fn ask(command: &mut Command) -> Option<String> {
    // Only a look whether it can be started at all: `process::run` would panic.
    let found = Command::new(command.get_program())
        .arg("--version")
        .output();
    if found.is_err() {
        return None;
    }
    let finished = process::run(command, Duration::from_secs(20));
    let text = format!("{}{}", finished.stdout, finished.stderr);
    // What an interpreter says of a package that is not there.
    (finished.code.is_some_and(|code| code <= 1) && !text.contains("Error:")).then_some(text)
}

/// The folder of our client programs in one language.
pub fn clients(language: &str) -> PathBuf {
    repository().join("e2e/clients").join(language)
}
