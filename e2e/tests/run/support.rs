//! A program beside a proxy, as `heddle run` starts both.

use heddle_e2e::binary::heddle;
use heddle_e2e::needs::clients;
use heddle_e2e::process::Running;
use heddle_e2e::script::within;
use heddle_e2e::wire::{Message, Wire};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

/// More than anything here takes, on a loaded machine as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// `heddle run` with these arguments.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(heddle());
    command.arg("run").args(arguments);
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "no_proxy",
        "NO_PROXY",
        "JAVA_TOOL_OPTIONS",
    ] {
        command.env_remove(name);
    }
    command.env("HEDDLE_LOG", "warn");
    command
}

/// The path of our Python service.
pub(crate) fn python() -> String {
    path("python", "beside.py")
}

/// The path of our Node service.
pub(crate) fn node() -> String {
    path("node", "beside.mjs")
}

fn path(language: &str, file: &str) -> String {
    clients(language).join(file).display().to_string()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> String {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = socket.local_addr().expect("a bound socket has an address");
    address.port().to_string()
}

/// `heddle run` under way; killed when dropped.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) running: Running,
}

impl Beside {
    /// Starts it, so that it says where everything is before the program is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let arguments = [&["--verbose"], arguments].concat();
        Self {
            running: Running::start(&mut command(&arguments)),
        }
    }

    /// Starts a service and waits until it is announced in `folder`.
    pub(crate) fn announced(name: &str, folder: &str, program: &[&str]) -> Self {
        let port = free_port();
        let mut arguments = vec![
            "--service",
            name,
            "--port",
            &port,
            "--announce",
            folder,
            "--",
        ];
        arguments.extend(program);
        let beside = Self::start(&arguments);
        beside.wait_for(&format!("{name} is ready, announced"));
        beside
    }

    /// Waits until it or its program has said something.
    pub(crate) fn wait_for(&self, text: &str) {
        within(PATIENCE, &format!("it says '{text}'"), || {
            self.running.output().contains(text)
        });
    }

    /// Where the program's calls go.
    pub(crate) fn outbound(&self) -> SocketAddr {
        self.told("calls of the program go through http://")
    }

    /// Where requests for the program go.
    pub(crate) fn inbound(&self) -> SocketAddr {
        self.told("is reached at http://")
    }

    /// The admin server.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.told("the admin server is http://")
    }

    fn told(&self, before: &str) -> SocketAddr {
        let address = || {
            let output = self.running.output();
            let (_, rest) = output.split_once(before)?;
            let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c))?;
            rest[..end].parse().ok()
        };
        within(PATIENCE, &format!("it says '{before}'"), || {
            address().is_some()
        });
        address().expect("it was there a moment ago")
    }

    /// A metric with all its labels, 0 when it is not there.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let text = ask(self.admin(), "localhost", "GET", "/metrics", "").text();
        let of = |line: &&str| line.starts_with(name) && line.contains(label);
        let values = text
            .lines()
            .filter(of)
            .filter_map(|line| line.rsplit(' ').next());
        values.filter_map(|value| value.parse::<f64>().ok()).sum()
    }

    /// Ends it with a signal and gives its exit status.
    pub(crate) fn end(&mut self, signal: &str) -> Option<i32> {
        self.running.signal(signal);
        self.running.wait(PATIENCE)
    }
}

impl Drop for Beside {
    /// Killing it would leave its program behind, so it is told, without patience for what it waits for.
    fn drop(&mut self) {
        let give_up = Instant::now() + PATIENCE;
        while self.running.is_alive() && Instant::now() < give_up {
            self.running.signal("TERM");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// One request on a connection of its own. `extra` is header lines.
pub(crate) fn ask(to: SocketAddr, host: &str, method: &str, target: &str, extra: &str) -> Message {
    let mut wire = Wire::connect(to);
    wire.send(format!(
        "{method} {target} HTTP/1.1\r\nhost: {host}\r\n{extra}connection: close\r\n\r\n"
    ));
    wire.read_response()
}

/// `curl` through a proxy, by name; its output.
pub(crate) fn curl(proxy: SocketAddr, url: &str) -> String {
    let mut command = Command::new("curl");
    command.args([
        "-sS",
        "--max-time",
        "20",
        "-x",
        &format!("http://{proxy}"),
        url,
    ]);
    heddle_e2e::process::succeed(&mut command, PATIENCE)
}
