//! Foreign servers that tell of each request that came whole.

use heddle_e2e::binary::repository;
use heddle_e2e::needs::Need;
use heddle_e2e::process::Running;
use heddle_e2e::script::within;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How long a server may take to listen; Java compiles its source first.
const START: Duration = Duration::from_secs(40);

/// A kind of server: its name in the mesh, and what must be installed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) need: Need,
    command: fn(u16, u16, &TempDir) -> Command,
}

pub(crate) const KINDS: [Kind; 5] = [
    Kind {
        name: "node",
        need: Need::Node,
        command: |port, _, _| script(Need::Node, "server.mjs", port),
    },
    Kind {
        name: "python",
        need: Need::Python,
        command: |port, _, _| script(Need::Python, "server.py", port),
    },
    Kind {
        name: "java",
        need: Need::Java,
        command: |port, _, _| script(Need::Java, "Server.java", port),
    },
    Kind {
        name: "go",
        need: Need::Go,
        command: |port, _, _| {
            let mut command = Need::Go.command();
            command.arg("serve").arg(port.to_string());
            command
        },
    },
    Kind {
        name: "nginx",
        need: Need::Nginx,
        command: nginx,
    },
];

fn script(need: Need, file: &str, port: u16) -> Command {
    let mut command = need.command();
    command
        .arg(repository().join("e2e/tests/hostile/servers").join(file))
        .arg(port.to_string());
    command
}

fn nginx(port: u16, inner: u16, folder: &TempDir) -> Command {
    let text = include_str!("servers/nginx.conf")
        .replace("{folder}", &folder.path().display().to_string())
        .replace("{port}", &port.to_string())
        .replace("{inner}", &inner.to_string());
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, text).expect("the folder is ours");
    let mut command = Need::Nginx.command();
    command.arg("-p").arg(folder.path()).arg("-c").arg(file);
    command
}

/// A running server; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    running: Running,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

impl Server {
    /// Starts one and waits until it listens.
    pub(crate) fn start(kind: Kind) -> Self {
        let folder =
            TempDir::with_prefix("heddle-e2e-").expect("the system has a temporary folder");
        let [port, inner] = free_ports();
        let mut running = Running::start(&mut (kind.command)(port, inner, &folder));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        within(START, &format!("{} listens", kind.name), || {
            assert!(
                running.is_alive(),
                "{} has ended: {}",
                kind.name,
                running.output()
            );
            TcpStream::connect(address).is_ok()
        });
        Self {
            running,
            address,
            _folder: folder,
        }
    }

    /// The requests that it has seen so far: `METHOD TARGET LENGTH`.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.running
            .output()
            .lines()
            .filter_map(|line| line.strip_prefix("seen "))
            .map(str::to_owned)
            .collect()
    }
}

/// Ports that were free a moment ago.
fn free_ports() -> [u16; 2] {
    let held = [(); 2]
        .map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port"));
    held.map(|socket| {
        let address = socket.local_addr().expect("a bound socket has an address");
        address.port()
    })
}
