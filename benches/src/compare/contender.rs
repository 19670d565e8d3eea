//! Who is compared, and how each is started.

use super::{pinned, wait_for};
use crate::load::Protocol;
use crate::process::Running;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The core of load and backend.
pub(super) const LOAD_CORE: usize = 0;
/// The core of the proxy under test.
const PROXY_CORE: usize = 1;

/// The backend's addresses, three per protocol, so that there is something to balance.
#[derive(Debug, Clone)]
pub struct Addresses {
    http1: Vec<SocketAddr>,
    http2: Vec<SocketAddr>,
}

impl Addresses {
    /// Free ones on the loopback interface.
    ///
    /// # Errors
    /// When there are none.
    pub fn free() -> io::Result<Self> {
        let all = free_addresses(6)?;
        Ok(Self {
            http1: all[..3].to_vec(),
            http2: all[3..].to_vec(),
        })
    }
}

/// Different free addresses on the loopback interface.
pub(super) fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    // All are held at once, so that no two are the same.
    let held: Vec<_> = (0..count)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
        .collect::<io::Result<_>>()?;
    held.iter().map(std::net::TcpListener::local_addr).collect()
}

/// Why a contender is left out.
#[derive(Debug)]
pub struct Missing(pub String);

/// One contender.
#[derive(Debug, Clone, Copy)]
pub struct Contender {
    /// Its name in tables.
    pub name: &'static str,
    find: fn() -> Result<PathBuf, String>,
    /// File name and text of its configuration, with `@…@` places to fill in; none for what needs no file.
    config: Option<(&'static str, &'static str)>,
    arguments: fn(&mut Command, &Places),
    version: &'static [&'static str],
}

/// A contender that runs.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) version: String,
    process: Option<Running>,
    http1: SocketAddr,
    http2: SocketAddr,
}

impl Started {
    pub(super) fn target(&self, protocol: Protocol) -> SocketAddr {
        match protocol {
            Protocol::Http1 => self.http1,
            Protocol::Http2 => self.http2,
        }
    }

    /// The proxy's process; none for the backend alone.
    pub(super) fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Running::id)
    }
}

/// What goes into a configuration.
struct Places {
    http1: SocketAddr,
    http2: SocketAddr,
    admin: SocketAddr,
    backend: Addresses,
    dir: PathBuf,
    config: PathBuf,
}

impl Places {
    fn fill(&self, text: &str) -> String {
        let mut text = text.replace("@DIR@", &self.dir.display().to_string());
        let numbered = |name: &str, list: &[SocketAddr]| -> Vec<(String, SocketAddr)> {
            list.iter()
                .zip(1..)
                .map(|(&address, n)| (format!("{name}_BACKEND_{n}"), address))
                .collect()
        };
        let mut places = vec![
            ("HTTP1".to_owned(), self.http1),
            ("HTTP2".to_owned(), self.http2),
            ("ADMIN".to_owned(), self.admin),
        ];
        places.extend(numbered("HTTP1", &self.backend.http1));
        places.extend(numbered("HTTP2", &self.backend.http2));
        for (name, address) in places {
            text = text.replace(&format!("@{name}@"), &address.to_string());
            text = text.replace(&format!("@{name}_PORT@"), &address.port().to_string());
        }
        text
    }
}

/// All contenders; the first is no proxy at all.
pub fn contenders() -> [Contender; 7] {
    [
        Contender {
            name: "direct",
            find: || Ok(PathBuf::new()),
            config: None,
            arguments: |_, _| {},
            version: &[],
        },
        Contender {
            name: "heddle",
            find: || sibling("heddle"),
            config: Some(("heddle.yaml", include_str!("../../contenders/heddle.yaml"))),
            arguments: |command, places| {
                command
                    .args(["proxy", "--workers", "1", "-c"])
                    .arg(&places.config);
            },
            version: &["--version"],
        },
        Contender {
            name: "bare",
            find: || sibling("heddle-bench"),
            config: None,
            arguments: bare_arguments,
            version: &[],
        },
        Contender {
            name: "haproxy",
            find: || installed("haproxy"),
            config: Some(("haproxy.cfg", include_str!("../../contenders/haproxy.cfg"))),
            arguments: |command, places| {
                command.args(["-db", "-f"]).arg(&places.config);
            },
            version: &["-v"],
        },
        Contender {
            name: "nginx",
            find: || installed("nginx"),
            config: Some(("nginx.conf", include_str!("../../contenders/nginx.conf"))),
            arguments: |command, places| {
                command
                    .arg("-p")
                    .arg(&places.dir)
                    .arg("-c")
                    .arg(&places.config);
            },
            version: &["-v"],
        },
        Contender {
            name: "envoy",
            find: envoy,
            config: Some(("envoy.yaml", include_str!("../../contenders/envoy.yaml"))),
            arguments: |command, places| {
                command.args([
                    "--concurrency",
                    "1",
                    "--use-dynamic-base-id",
                    "--log-level",
                    "error",
                    "-c",
                ]);
                command.arg(&places.config);
            },
            version: &["--version"],
        },
        Contender {
            name: "pingora",
            find: pingora,
            config: None,
            arguments: |command, places| {
                let list = |addresses: &[SocketAddr]| {
                    let texts: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
                    texts.join(",")
                };
                command
                    .arg(places.http1.to_string())
                    .arg(list(&places.backend.http1))
                    .arg(places.http2.to_string())
                    .arg(list(&places.backend.http2));
            },
            version: &["--version"],
        },
    ]
}

fn bare_arguments(command: &mut Command, places: &Places) {
    command.arg("forwarder");
    for (name, listen, upstreams) in [
        ("http1", places.http1, &places.backend.http1),
        ("http2", places.http2, &places.backend.http2),
    ] {
        command.arg(format!("--{name}")).arg(listen.to_string());
        for upstream in upstreams {
            command
                .arg(format!("--{name}-upstream"))
                .arg(upstream.to_string());
        }
    }
}

impl Contender {
    /// Starts it on its core, in front of the backend, and waits until it listens.
    pub(super) fn start(&self, backend: &Addresses, dir: &Path) -> Result<Started, Missing> {
        let program = (self.find)().map_err(Missing)?;
        if program.as_os_str().is_empty() {
            let (http1, http2) = (backend.http1[0], backend.http2[0]);
            return Ok(Started {
                version: "no proxy".into(),
                process: None,
                http1,
                http2,
            });
        }
        self.launch(&program, backend, dir)
            .map_err(|error| Missing(error.to_string()))
    }

    fn launch(&self, program: &Path, backend: &Addresses, dir: &Path) -> io::Result<Started> {
        let addresses = free_addresses(3)?;
        let (http1, http2, admin) = (addresses[0], addresses[1], addresses[2]);
        let dir = std::path::absolute(dir)?;
        let config = dir.join(self.config.map_or(self.name, |(file, _)| file));
        let places = Places {
            http1,
            http2,
            admin,
            backend: backend.clone(),
            dir,
            config,
        };
        if let Some((_, text)) = self.config {
            std::fs::write(&places.config, places.fill(text))?;
        }
        let log = std::fs::File::create(places.dir.join(format!("{}.log", self.name)))?;
        let mut command = pinned(PROXY_CORE, program);
        (self.arguments)(&mut command, &places);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut process = Running::start(&mut command)?;
        wait_for(http1, &mut process)
            .and_then(|()| wait_for(http2, &mut process))
            .map_err(|error| {
                io::Error::other(format!(
                    "{error}; see {}.log in {}",
                    self.name,
                    places.dir.display()
                ))
            })?;
        let version = version_of(program, self.version);
        Ok(Started {
            version,
            process: Some(process),
            http1,
            http2,
        })
    }
}

/// Starts the backend on the core of the load.
pub(super) fn start_backend(addresses: &Addresses) -> io::Result<Running> {
    let program = sibling("heddle-bench").map_err(io::Error::other)?;
    let mut command = pinned(LOAD_CORE, &program);
    command.arg("backend");
    for (name, list) in [("--http1", &addresses.http1), ("--http2", &addresses.http2)] {
        for address in list {
            command.arg(name).arg(address.to_string());
        }
    }
    let mut process = Running::start(command.stdin(Stdio::null()))?;
    for &address in addresses.http1.iter().chain(&addresses.http2) {
        wait_for(address, &mut process)?;
    }
    Ok(process)
}

fn version_of(program: &Path, arguments: &[&str]) -> String {
    if arguments.is_empty() {
        return "built with this comparison".into();
    }
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return "unknown".into();
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("unknown")
        .to_owned()
}

/// A program built beside this one.
fn sibling(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = own.with_file_name(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{} is not built: run make bench", path.display()))
    }
}

fn installed(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps daemons out of a user's PATH.
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{name} is not installed: run benches/setup.sh"))
}

/// Envoy's binary within the virtual environment that `benches/setup.sh` makes.
fn envoy() -> Result<PathBuf, String> {
    let missing = || "Envoy is not installed: run benches/setup.sh".to_owned();
    let libraries = std::fs::read_dir(".heddle/envoy/lib").map_err(|_| missing())?;
    libraries
        .flatten()
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find(|path| path.is_file())
        .and_then(|path| std::path::absolute(path).ok())
        .ok_or_else(missing)
}

/// The proxy on pingora, which is a crate of its own: its dependencies are not ours.
fn pingora() -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let path = Path::new(&target).join("pingora/release/pingora-contender");
    if path.is_file() {
        std::path::absolute(path).map_err(|error| error.to_string())
    } else {
        Err("the proxy on pingora is not built: run make bench".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_every_configuration_is_filled() {
        let all = free_addresses(9).expect("free ports");
        let backend = Addresses {
            http1: all[..3].to_vec(),
            http2: all[3..6].to_vec(),
        };
        let (dir, config) = (PathBuf::from("/d"), PathBuf::from("/d/c"));
        let places = Places {
            http1: all[6],
            http2: all[7],
            admin: all[8],
            backend,
            dir,
            config,
        };
        for contender in contenders() {
            let Some((file, text)) = contender.config else {
                continue;
            };
            let filled = places.fill(text).replace("\"@type\"", "");
            assert!(!filled.contains('@'), "{file}: {filled}");
            assert!(filled.contains(&all[6].port().to_string()), "{file}");
        }
    }
}
