//! A running `heddle control-plane` over a folder of documents.

use crate::binary::heddle;
use crate::process::Running;
use crate::script::within;
use crate::wire::{Message, Wire};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How long it may take to be ready, and a change to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running control plane; it is killed when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    running: Running,
    folder: TempDir,
    api: SocketAddr,
    xds: SocketAddr,
    outbound: SocketAddr,
}

impl ControlPlane {
    /// Starts one over a folder with these files and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it is not ready in time; the message holds what it said.
    pub fn start(files: &[(&str, &str)]) -> Self {
        let folder =
            TempDir::with_prefix("heddle-mesh-").expect("the system has a temporary folder");
        std::fs::create_dir(folder.path().join("mesh")).expect("the folder is ours");
        for (file, text) in files {
            std::fs::write(folder.path().join("mesh").join(file), text)
                .expect("the folder is ours");
        }
        let [api, xds, outbound] = free();
        let file = format!(
            "api: {{listen: '{api}'}}\nxds: {{listen: '{xds}', outbound: '{outbound}'}}\nsources: {{folder: {{dir: mesh}}}}\n"
        );
        std::fs::write(folder.path().join("control-plane.yaml"), file).expect("the folder is ours");
        let mut plane = Self {
            running: run(folder.path()),
            folder,
            api,
            xds,
            outbound,
        };
        plane.wait();
        plane
    }

    fn wait(&mut self) {
        let (api, running) = (self.api, &mut self.running);
        within(PATIENCE, "the control plane is ready", || {
            assert!(
                running.is_alive(),
                "it ended; it said:\n{}",
                running.output()
            );
            TcpStream::connect_timeout(&api, PATIENCE).is_ok() && ask(api, "/ready").status() == 200
        });
    }

    /// Kills it, as a machine that fails.
    pub fn kill(&mut self) {
        self.running.signal("KILL");
        self.running.wait(PATIENCE);
    }

    /// Starts it again, at the same addresses.
    ///
    /// # Panics
    ///
    /// When it is not ready in time.
    pub fn restart(&mut self) {
        self.running = run(self.folder.path());
        self.wait();
    }

    /// Stops and continues it without its knowledge (`STOP`, `CONT`).
    pub fn signal(&self, name: &str) {
        self.running.signal(name);
    }

    /// Writes a file of the mesh, by a rename as careful people do.
    ///
    /// # Panics
    ///
    /// When the folder is gone.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.folder.path().join("mesh").join(file);
        let aside = path.with_extension("new");
        std::fs::write(&aside, text).expect("the folder is ours");
        std::fs::rename(&aside, &path).expect("the folder is ours");
    }

    /// The folder of the mesh.
    pub fn folder(&self) -> std::path::PathBuf {
        self.folder.path().join("mesh")
    }

    /// Where xDS is served.
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// Where those listen that take their listeners from it.
    pub fn outbound(&self) -> SocketAddr {
        self.outbound
    }

    /// Asks its API.
    pub fn ask(&self, target: &str) -> Message {
        ask(self.api, target)
    }

    /// Its clients as it sees them.
    ///
    /// # Panics
    ///
    /// When it does not say.
    pub fn clients(&self) -> Vec<Value> {
        let all = self.ask("/clients").json();
        all["clients"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until as many clients are connected and each has accepted everything.
    ///
    /// # Panics
    ///
    /// When that is not so in time.
    pub fn wait_until_synced(&self, clients: usize) {
        let mut last = Vec::new();
        let synced = |last: &mut Vec<Value>| {
            *last = self.clients();
            last.len() == clients && last.iter().all(|client| client["state"] == "synced")
        };
        let deadline = std::time::Instant::now() + PATIENCE;
        while !synced(&mut last) {
            assert!(
                std::time::Instant::now() < deadline,
                "not synced: {last:#?}\nit said:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.running.output()
    }
}

fn run(folder: &Path) -> Running {
    let mut command = Command::new(heddle());
    command
        .arg("control-plane")
        .arg("-c")
        .arg(folder.join("control-plane.yaml"));
    Running::start(&mut command)
}

/// Free ports: taken from the system and given back at once.
pub fn free<const N: usize>() -> [SocketAddr; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port")
    });
    held.map(|socket| socket.local_addr().expect("a bound socket has an address"))
}

fn ask(address: SocketAddr, target: &str) -> Message {
    let mut wire = Wire::connect(address);
    wire.send(format!(
        "GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    ));
    wire.read_response()
}
