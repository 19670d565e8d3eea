//! A running `heddle proxy`, and the configuration it was started with.

use crate::binary::heddle;
use crate::process::Running;
use crate::script::within;
use crate::wire::{Message, Wire};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a proxy may take to be ready.
const READY: Duration = Duration::from_secs(10);

/// Starts that may fail because another process took a port in between.
const TRIES: usize = 5;

/// The configuration of a proxy. Addresses are filled in when it is started.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    listeners: Vec<(String, String)>,
    replicas: Vec<(String, String)>,
    documents: Vec<String>,
    top: String,
    arguments: Vec<String>,
    binary: Option<PathBuf>,
    under: Vec<String>,
}

impl Setup {
    /// One listener, `outbound`, that detects the protocol.
    pub fn new() -> Self {
        Self::default().listener("outbound", "")
    }

    /// A further listener. `extra` is YAML at the listener's own level, one key a line, without indentation.
    pub fn listener(mut self, name: &str, extra: &str) -> Self {
        self.listeners.retain(|(taken, _)| taken != name);
        self.listeners.push((name.to_owned(), extra.to_owned()));
        self
    }

    /// A replica set that speaks what its callers speak.
    pub fn replicas(mut self, name: &str, endpoints: &[SocketAddr]) -> Self {
        self.replicas.push((name.to_owned(), list(endpoints)));
        self
    }

    /// A replica set that speaks `http1` or `http2`.
    pub fn replicas_speaking(
        mut self,
        name: &str,
        endpoints: &[SocketAddr],
        protocol: &str,
    ) -> Self {
        let written = format!("{{endpoints: {}, protocol: {protocol}}}", list(endpoints));
        self.replicas.push((name.to_owned(), written));
        self
    }

    /// One document of the rule language, of this kind, name and `spec` in YAML's flow style.
    pub fn document(mut self, kind: &str, name: &str, spec: &str) -> Self {
        self.documents.push(format!(
            "apiVersion: heddle.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        ));
        self
    }

    /// More YAML at the top level of the proxy's file.
    pub fn top(mut self, yaml: &str) -> Self {
        self.top.push_str(yaml);
        self.top.push('\n');
        self
    }

    /// A further argument of `heddle proxy`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Another binary than the one that was built.
    pub fn binary(mut self, path: PathBuf) -> Self {
        self.binary = Some(path);
        self
    }

    /// Starts the proxy by another program, which ends by becoming it: `prlimit --nofile=256`.
    pub fn under(mut self, words: &[&str]) -> Self {
        self.under = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    fn program(&self) -> &Path {
        self.binary.as_deref().unwrap_or_else(|| heddle())
    }

    fn command(&self) -> Command {
        let Some((program, words)) = self.under.split_first() else {
            return Command::new(self.program());
        };
        let mut command = Command::new(program);
        command.args(words).arg(self.program());
        command
    }

    /// The file, with these addresses.
    fn yaml(&self, ports: &Ports) -> String {
        let mut text = format!(
            "admin: {{listen: {}}}\n{}listeners:\n",
            ports.admin, self.top
        );
        for (name, extra) in &self.listeners {
            let address = ports.listeners[name];
            writeln!(text, "  - name: {name}\n    listen: {address}").expect("a string takes all");
            for line in extra.lines() {
                writeln!(text, "    {line}").expect("a string takes all");
            }
        }
        if !self.replicas.is_empty() {
            text.push_str("discovery:\n  static:\n");
        }
        for (name, written) in &self.replicas {
            writeln!(text, "    {name}: {written}").expect("a string takes all");
        }
        if !self.documents.is_empty() {
            text.push_str("rules: [./rules.yaml]\n");
        }
        text
    }

    fn write(&self, folder: &Path, ports: &Ports) {
        std::fs::write(folder.join("rules.yaml"), self.documents.join("---\n"))
            .expect("the folder is ours");
        std::fs::write(folder.join("heddle.yaml"), self.yaml(ports)).expect("the folder is ours");
    }
}

fn list(endpoints: &[SocketAddr]) -> String {
    let quoted: Vec<_> = endpoints
        .iter()
        .map(|address| format!("\"{address}\""))
        .collect();
    format!("[{}]", quoted.join(", "))
}

#[derive(Debug)]
struct Ports {
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
}

impl Ports {
    /// Free ones: taken from the system and given back at once.
    fn free(setup: &Setup) -> Self {
        let mut held = Vec::new();
        let mut take = || {
            let socket =
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
            let address = socket.local_addr().expect("a bound socket has an address");
            held.push(socket);
            address
        };
        let admin = take();
        Self {
            admin,
            listeners: setup
                .listeners
                .iter()
                .map(|(name, _)| (name.clone(), take()))
                .collect(),
        }
    }
}

/// A running proxy; it is killed when dropped, and its log is shown if the test is failing.
#[derive(Debug)]
pub struct Proxy {
    running: Running,
    ports: Ports,
    folder: TempDir,
}

impl Proxy {
    /// Starts one and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it is not ready in time; the message holds its configuration and what it said.
    pub fn start(setup: &Setup) -> Self {
        Self::start_within(setup, READY)
    }

    /// Starts one that may take its time, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it is not ready in time.
    pub fn start_within(setup: &Setup, limit: Duration) -> Self {
        let mut last = String::new();
        for _ in 0..TRIES {
            match Self::try_start(setup, limit) {
                Ok(proxy) => return proxy,
                Err(output) if output.contains("in use") => last = output,
                Err(output) => {
                    panic!(
                        "the proxy does not start on\n{}\nit said:\n{output}",
                        setup.yaml(&Ports::free(setup))
                    )
                }
            }
        }
        panic!("no start without a port in use: {last}");
    }

    /// Starts one; what it said, if it is not ready in time.
    fn try_start(setup: &Setup, limit: Duration) -> Result<Self, String> {
        let folder =
            TempDir::with_prefix("heddle-e2e-").expect("the system has a temporary folder");
        let ports = Ports::free(setup);
        setup.write(folder.path(), &ports);
        let mut command = setup.command();
        command
            .arg("proxy")
            .arg("-c")
            .arg(folder.path().join("heddle.yaml"))
            .args(&setup.arguments);
        command
            .current_dir(folder.path())
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy");
        let mut running = Running::start(&mut command);
        let deadline = Instant::now() + limit;
        while !is_ready(ports.admin) {
            if !running.is_alive() || Instant::now() > deadline {
                std::thread::sleep(Duration::from_millis(20));
                return Err(running.output());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self {
            running,
            ports,
            folder,
        })
    }

    /// Where a listener listens.
    ///
    /// # Panics
    ///
    /// When the setup has no such listener.
    pub fn address(&self, listener: &str) -> SocketAddr {
        *self
            .ports
            .listeners
            .get(listener)
            .unwrap_or_else(|| panic!("no listener is called {listener}"))
    }

    /// Where the listener `outbound` listens.
    pub fn outbound(&self) -> SocketAddr {
        self.address("outbound")
    }

    /// Where the admin server listens.
    pub fn admin(&self) -> SocketAddr {
        self.ports.admin
    }

    /// Asks the admin server.
    pub fn ask_admin(&self, target: &str) -> Message {
        let mut wire = Wire::connect(self.ports.admin);
        wire.send(format!(
            "GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        ));
        wire.read_response()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Running {
        &mut self.running
    }

    /// The folder that holds `heddle.yaml` and `rules.yaml`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes another configuration over the running one; listeners keep their addresses.
    ///
    /// # Panics
    ///
    /// When the setup has a listener that the first one had not.
    pub fn rewrite(&self, setup: &Setup) {
        setup.write(self.folder.path(), &self.ports);
    }

    /// Resident memory, in bytes.
    ///
    /// # Panics
    ///
    /// When the process has ended.
    pub fn resident(&self) -> usize {
        self.memory("VmRSS:")
    }

    /// The most memory that was ever resident, in bytes.
    ///
    /// # Panics
    ///
    /// When the process has ended.
    pub fn most_resident(&self) -> usize {
        self.memory("VmHWM:")
    }

    fn memory(&self, key: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.id()))
            .expect("a running process has a status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .expect("Linux reports it");
        let kibibytes: usize = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("it is in kB");
        kibibytes * 1024
    }

    /// Processor time that it has used, user and system.
    ///
    /// # Panics
    ///
    /// When the process has ended.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.running.id()))
            .expect("a running process has a stat");
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("ticks are a number"))
            .sum();
        // USER_HZ is 100 on every architecture that Linux still ships.
        Duration::from_millis(10 * ticks)
    }

    /// Descriptors that it has open.
    ///
    /// # Panics
    ///
    /// When the process has ended.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.running.id()))
            .expect("a running process has descriptors")
            .count()
    }

    /// The value of a metric, by its name and labels as they are exposed; 0 when it is not there.
    ///
    /// # Panics
    ///
    /// When the admin server does not answer.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.ask_admin("/metrics").text();
        text.lines()
            .filter_map(|line| line.strip_prefix(series)?.trim().parse().ok())
            .next()
            .unwrap_or(0.0)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.running.output()
    }

    /// Waits until its log contains `text`.
    ///
    /// # Panics
    ///
    /// When it does not in time.
    pub fn wait_for_log(&self, text: &str) {
        within(READY, &format!("the proxy logs '{text}'"), || {
            self.log().contains(text)
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let alive = self.running.is_alive();
        self.running.stop();
        if std::thread::panicking() {
            let state = if alive { "was running" } else { "HAD ENDED" };
            eprintln!("--- the proxy {state}; it said:\n{}---", self.log());
        }
    }
}

fn is_ready(admin: SocketAddr) -> bool {
    if TcpStream::connect_timeout(&admin, Duration::from_millis(500)).is_err() {
        return false;
    }
    let mut wire = Wire::connect(admin);
    wire.set_patience(Duration::from_secs(1));
    wire.try_send("GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        && wire.try_read_head().is_ok_and(|head| head.status() == 200)
}
