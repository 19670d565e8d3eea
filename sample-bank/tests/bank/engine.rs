//! The engines under the services: files, and servers that the tests start for themselves and stop by their ids.

use crate::process::free_port;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// What a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
    Embedded,
    Etcd,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Embedded => "embedded",
            Self::Etcd => "etcd",
        }
    }
}

/// The servers, each started when the first test needs it.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    postgres: Mutex<Option<Result<Server, String>>>,
    etcd: Mutex<Option<Result<Server, String>>>,
    databases: AtomicU32,
}

#[derive(Debug)]
struct Server {
    child: Child,
    port: u16,
    signal: rustix::process::Signal,
    _folder: TempDir,
}

impl Engines {
    /// Starts what an engine needs.
    ///
    /// # Errors
    ///
    /// What is missing, and how to install it.
    pub(crate) fn start(&self, engine: Engine) -> Result<(), String> {
        match engine {
            Engine::Sqlite | Engine::Embedded => Ok(()),
            Engine::Postgres => once(&self.postgres, start_postgres).map(|_| ()),
            Engine::Etcd => once(&self.etcd, start_etcd).map(|_| ()),
        }
    }

    /// `BANK_DATABASE` for a bank of its own.
    pub(crate) fn database(&self, engine: Engine, folder: &Path) -> String {
        if engine != Engine::Postgres {
            return format!("sqlite:{}", folder.join("bank.db").display());
        }
        let port = once(&self.postgres, start_postgres).expect("it was started before the test");
        let name = format!("bank{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let url = |name: &str| format!("postgres://bank@127.0.0.1:{port}/{name}");
        let create = format!("CREATE DATABASE {name}");
        // A test calls this inside its runtime, which another cannot start in.
        thread::scope(|scope| {
            scope.spawn(|| crate::http::block_on(create_database(&url("postgres"), &create)));
        });
        url(&name)
    }

    /// `BANK_ETCD`, for etcd.
    pub(crate) fn etcd(&self, engine: Engine) -> Option<String> {
        (engine == Engine::Etcd).then(|| {
            let port = once(&self.etcd, start_etcd).expect("it was started before the test");
            format!("127.0.0.1:{port}")
        })
    }

    /// Stops what was started.
    pub(crate) fn stop(&self) {
        for server in [&self.postgres, &self.etcd] {
            let server = server
                .lock()
                .expect("no test holds this when it panics")
                .take();
            if let Some(Ok(mut server)) = server {
                let id = rustix::process::Pid::from_child(&server.child);
                let _ = rustix::process::kill_process(id, server.signal);
                let _ = server.child.wait();
            }
        }
    }
}

async fn create_database(url: &str, create: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .expect("the server answers");
    let running = tokio::spawn(connection);
    client
        .batch_execute(create)
        .await
        .expect("a database is created");
    drop(client);
    let _ = running.await;
}

fn once(
    place: &Mutex<Option<Result<Server, String>>>,
    start: fn() -> Result<Server, String>,
) -> Result<u16, String> {
    let mut place = place.lock().expect("starting does not panic");
    match place.get_or_insert_with(start) {
        Ok(server) => Ok(server.port),
        Err(missing) => Err(missing.clone()),
    }
}

/// A real server, as a plain user: it refuses to run as root.
fn start_postgres() -> Result<Server, String> {
    let missing = |what: &str| format!("{what}: run e2e/setup/install.sh bank");
    let programs = postgres_programs()
        .ok_or_else(|| missing("PostgreSQL's initdb and postgres are not here"))?;
    let folder = tempfile::Builder::new()
        .prefix("bank-postgres")
        .tempdir()
        .map_err(|e| e.to_string())?;
    let user = plain_user().map_err(|e| missing(&e))?;
    if let Some((uid, gid)) = user {
        chown(folder.path(), Some(uid), Some(gid)).map_err(|e| e.to_string())?;
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))
        .map_err(|e| e.to_string())?;
    let data = folder.path().join("data");
    let mut made = as_user(&programs.join("initdb"), user);
    made.args([
        "--auth=trust",
        "--username=bank",
        "--encoding=UTF8",
        "--no-instructions",
        "--pgdata",
    ])
    .arg(&data)
    .current_dir(folder.path());
    let made = made
        .output()
        .map_err(|e| missing(&format!("initdb: {e}")))?;
    if !made.status.success() {
        return Err(format!(
            "initdb failed: {}",
            String::from_utf8_lossy(&made.stderr)
        ));
    }
    let port = free_port();
    let mut server = as_user(&programs.join("postgres"), user);
    server
        .arg("-D")
        .arg(&data)
        .args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "max_connections=300",
        ])
        .args(["-c", &format!("port={port}")])
        .arg("-c")
        .arg(format!(
            "unix_socket_directories={}",
            folder.path().display()
        ))
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = server
        .spawn()
        .map_err(|e| missing(&format!("postgres: {e}")))?;
    let server = Server {
        child,
        port,
        signal: rustix::process::Signal::INT, // its fast shutdown
        _folder: folder,
    };
    let url = format!("postgres://bank@127.0.0.1:{port}/postgres");
    wait_for(server, move || {
        crate::http::block_on(async {
            tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .map(|_| ())
                .map_err(|e| e.to_string())
        })
    })
}

fn start_etcd() -> Result<Server, String> {
    let missing = |what: &str| format!("{what}: run e2e/setup/install.sh bank");
    let folder = tempfile::Builder::new()
        .prefix("bank-etcd")
        .tempdir()
        .map_err(|e| e.to_string())?;
    let (port, peers) = (free_port(), free_port());
    let mut server = Command::new(etcd_program());
    for (name, value) in [
        ("--listen-client-urls", format!("http://127.0.0.1:{port}")),
        (
            "--advertise-client-urls",
            format!("http://127.0.0.1:{port}"),
        ),
        ("--listen-peer-urls", format!("http://127.0.0.1:{peers}")),
        (
            "--initial-advertise-peer-urls",
            format!("http://127.0.0.1:{peers}"),
        ),
        (
            "--initial-cluster",
            format!("default=http://127.0.0.1:{peers}"),
        ),
    ] {
        server.arg(name).arg(value);
    }
    server.arg("--data-dir").arg(folder.path().join("data"));
    server.stdout(Stdio::null()).stderr(Stdio::null());
    let child = server.spawn().map_err(|e| missing(&format!("etcd: {e}")))?;
    let server = Server {
        child,
        port,
        signal: rustix::process::Signal::TERM,
        _folder: folder,
    };
    let url = format!("http://127.0.0.1:{port}/health");
    wait_for(server, move || {
        crate::http::block_on(async {
            let client = crate::http::client();
            let answer = client.get(&url).send().await.map_err(|e| e.to_string())?;
            answer
                .error_for_status()
                .map(|_| ())
                .map_err(|e| e.to_string())
        })
    })
}

/// Where `e2e/setup/install.sh` puts it, or in PATH.
fn etcd_program() -> PathBuf {
    let taken = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.heddle/bin/etcd");
    if taken.exists() { taken } else { "etcd".into() }
}

fn wait_for(mut server: Server, ready: impl Fn() -> Result<(), String>) -> Result<Server, String> {
    let until = Instant::now() + START;
    loop {
        let Err(why) = ready() else {
            return Ok(server);
        };
        let ended = server.child.try_wait().map_err(|e| e.to_string())?;
        if ended.is_some() || Instant::now() > until {
            let _ = server.child.kill();
            let _ = server.child.wait();
            return Err(format!("a server does not start ({ended:?}): {why}"));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Where Debian puts PostgreSQL's programs, newest version first, or where PATH has both.
fn postgres_programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    folders.sort();
    folders.reverse();
    folders.extend(
        std::env::var_os("PATH")
            .iter()
            .flat_map(std::env::split_paths),
    );
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// Ids of a user who is not root, if we are.
fn plain_user() -> Result<Option<(u32, u32)>, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|e| e.to_string())?;
    let found = ["postgres", "nobody"].iter().find_map(|name| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    found
        .map(Some)
        .ok_or_else(|| "there is no plain user to run PostgreSQL".to_owned())
}

fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}
