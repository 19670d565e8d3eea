//! What the tour is played on: a folder with copies of the files in `examples/demo`, ports that are
//! free, the replicas, and the proxy.

use super::DemoArgs;
use super::service::{Replica, V1, V2, Version, ask, detach, wait};
use heddle_bench::process::Running;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const PROXY: &str = include_str!("../../../examples/demo/proxy.yaml");
const RULES: &str = include_str!("../../../examples/demo/rules/accounts.yaml");
/// The proxy's ports in [`PROXY`].
const LISTEN: u16 = 4140;
const ADMIN: u16 = 9990;
/// The line of [`RULES`] that shares the traffic begins so.
const SHARES: &str = "    - to: ";

/// Everything that runs. Fields are dropped in this order: the proxy before what it forwards to.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) proxy: Running,
    pub(super) replicas: Vec<Replica>,
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) dir: Folder,
}

/// A folder that is removed when this is dropped, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) keep: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What is left of it lies in the system's temporary folder and does no harm.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// Numbers of the proxy's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) generation: u64,
    pub(super) retries: u64,
    pub(super) ejections: u64,
    pub(super) ejected: u64,
}

impl Stage {
    /// Starts everything and waits until it answers. `tell` gets a line for what differs from the files.
    pub(super) fn set_up(
        args: &DemoArgs,
        interrupted: &AtomicBool,
        tell: &mut dyn FnMut(String),
    ) -> Result<Self, String> {
        let mut dir = Folder {
            path: make_folder()?,
            keep: false,
        };
        let mut ports = Ports::default();
        let listen = ports.take(LISTEN, args.port, "the proxy", tell)?;
        let admin = ports.take(ADMIN, args.admin_port, "the admin pages", tell)?;
        let mut places = Vec::new();
        for version in [V1, V2] {
            for (&port, number) in version.ports.iter().zip(1..) {
                let name = format!("{}-{number}", version.name);
                places.push((
                    version,
                    ports.take(port, port, &format!("the replica {name}"), tell)?,
                    name,
                ));
            }
        }
        write_files(&dir.path, &ports)?;
        let mut replicas = places
            .into_iter()
            .map(|(version, address, name)| Replica::start(version, name, address, &dir.path))
            .collect::<Result<Vec<_>, _>>()?;
        for replica in &mut replicas {
            replica.wait(interrupted)?;
        }
        let proxy = start_proxy(&mut dir, admin, interrupted)?;
        Ok(Self {
            proxy,
            replicas,
            listen,
            admin,
            dir,
        })
    }

    /// The file that shares the traffic between the versions.
    pub(super) fn rules(&self) -> PathBuf {
        self.dir.path.join("rules/accounts.yaml")
    }

    /// Gives version 2 this percentage of the traffic, by rename or in place, and waits until the proxy
    /// has taken it over. Returns how long that took.
    pub(super) fn shift(&self, percent: u8, by_rename: bool) -> Result<Duration, String> {
        let file = self.rules();
        let told = |error: std::io::Error| format!("cannot change {}: {error}", file.display());
        let text = with_shares(&fs::read_to_string(&file).map_err(told)?, percent);
        let before = self.counters()?.generation;
        if by_rename {
            let new = file.with_extension("new");
            fs::write(&new, text)
                .and_then(|()| fs::rename(&new, &file))
                .map_err(told)?;
        } else {
            fs::write(&file, text).map_err(told)?;
        }
        let changed = Instant::now();
        while self.counters()?.generation <= before {
            if changed.elapsed() > Duration::from_secs(5) {
                return Err(format!(
                    "the proxy did not take over the change of {} within 5 s",
                    file.display()
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(changed.elapsed())
    }

    /// The proxy's own numbers.
    pub(super) fn counters(&self) -> Result<Counters, String> {
        ask(self.admin, "GET", "/metrics")
            .map(|text| Counters::parse(&text))
            .map_err(|error| {
                format!(
                    "the proxy's /metrics at {} does not answer: {error}",
                    self.admin
                )
            })
    }

    /// The replica of that name.
    pub(super) fn replica(&mut self, name: &str) -> Result<&mut Replica, String> {
        self.replicas
            .iter_mut()
            .find(|replica| replica.name == name)
            .ok_or_else(|| format!("no replica {name}"))
    }
}

impl Counters {
    /// Sums each metric over its series.
    fn parse(text: &str) -> Self {
        let sum = |name: &str| {
            text.lines()
                .filter(|line| {
                    line.strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with(['{', ' ']))
                })
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .map(|value| value as u64)
                .sum()
        };
        Self {
            generation: sum("heddle_config_generation"),
            retries: sum("heddle_retries_total"),
            ejections: sum("heddle_ejections_total"),
            ejected: sum("heddle_endpoints_ejected"),
        }
    }
}

/// Which written address became which.
#[derive(Debug, Default)]
struct Ports(BTreeMap<SocketAddr, SocketAddr>);

impl Ports {
    /// The address to use where the files say `written`: `wanted` if it is free, else any that is.
    fn take(
        &mut self,
        written: u16,
        wanted: u16,
        what: &str,
        tell: &mut dyn FnMut(String),
    ) -> Result<SocketAddr, String> {
        let free = |port| TcpListener::bind(loopback(port)).and_then(|held| held.local_addr());
        let address = match free(wanted) {
            Ok(address) if !self.0.values().any(|taken| *taken == address) => address,
            _ => {
                let address =
                    free(0).map_err(|error| format!("no free port for {what}: {error}"))?;
                tell(format!(
                    "port {wanted} is in use: {what} takes {}",
                    address.port()
                ));
                address
            }
        };
        self.0.insert(loopback(written), address);
        Ok(address)
    }

    /// The text with every written address replaced.
    fn apply(&self, text: &str) -> String {
        // By way of marks, so that an address that was given out is not replaced again.
        let mut text = text.to_owned();
        for (index, written) in self.0.keys().enumerate() {
            text = text.replace(&written.to_string(), &format!("\u{0}{index}\u{0}"));
        }
        for (index, taken) in self.0.values().enumerate() {
            text = text.replace(&format!("\u{0}{index}\u{0}"), &taken.to_string());
        }
        text
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn make_folder() -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("heddle-demo-{}", std::process::id()));
    fs::create_dir_all(path.join("rules"))
        .map(|()| path.clone())
        .map_err(|error| format!("cannot make the folder {}: {error}", path.display()))
}

fn write_files(dir: &Path, ports: &Ports) -> Result<(), String> {
    let script = |version: Version| (version.file, version.script.to_owned());
    let files = [
        ("proxy.yaml", ports.apply(PROXY)),
        ("rules/accounts.yaml", RULES.to_owned()),
        script(V1),
        script(V2),
    ];
    for (name, text) in files {
        let file = dir.join(name);
        fs::write(&file, text)
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    Ok(())
}

fn start_proxy(
    dir: &mut Folder,
    admin: SocketAddr,
    interrupted: &AtomicBool,
) -> Result<Running, String> {
    let log = dir.path.join("proxy.log");
    let told = |error: std::io::Error| format!("cannot start the proxy: {error}");
    let output = File::create(&log).map_err(told)?;
    let mut command = Command::new(std::env::current_exe().map_err(told)?);
    command
        .arg("proxy")
        .arg("-c")
        .arg(dir.path.join("proxy.yaml"));
    detach(&mut command)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(told)?)
        .stderr(output);
    let mut proxy = Running::start(&mut command).map_err(told)?;
    wait(&mut proxy, interrupted, || {
        ask(admin, "GET", "/ready").is_ok()
    })
    .map_err(|why| {
        dir.keep = true;
        let text = fs::read_to_string(&log).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        format!(
            "the proxy {why}. Its log, {}, ends with:\n{}",
            log.display(),
            last.join("\n")
        )
    })?;
    Ok(proxy)
}

/// The rules with the traffic shared so; everything else as it was.
fn with_shares(rules: &str, percent: u8) -> String {
    let shares = format!(
        "{SHARES}[{{service: accounts-v1, weight: {}}}, {{service: accounts-v2, weight: {percent}}}]",
        100 - percent.min(100)
    );
    let lines: Vec<&str> = rules
        .lines()
        .map(|line| {
            if line.starts_with(SHARES) {
                shares.as_str()
            } else {
                line
            }
        })
        .collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_where_they_stand() {
        let changed = with_shares(RULES, 5);
        assert!(changed.contains(
            "- to: [{service: accounts-v1, weight: 95}, {service: accounts-v2, weight: 5}]"
        ));
        assert_eq!(changed.lines().count(), RULES.lines().count());
        assert_eq!(with_shares(&changed, 0), RULES, "and back");
    }

    #[test]
    fn written_addresses_become_free_ones_without_being_mixed_up() {
        let ports = Ports(BTreeMap::from([
            (loopback(9001), loopback(9002)),
            (loopback(9002), loopback(9001)),
        ]));
        assert_eq!(
            ports.apply("[127.0.0.1:9001, 127.0.0.1:9002]"),
            "[127.0.0.1:9002, 127.0.0.1:9001]"
        );
    }

    #[test]
    fn the_files_name_the_ports_that_are_replaced() {
        for port in [LISTEN, ADMIN].iter().chain(V1.ports).chain(V2.ports) {
            assert_eq!(
                PROXY
                    .lines()
                    .filter(|line| !line.starts_with('#'))
                    .collect::<String>()
                    .matches(&format!("127.0.0.1:{port}"))
                    .count(),
                1,
                "{port}"
            );
        }
    }

    /// The demo's files, with the rules as a shift leaves them.
    struct Files;

    impl heddle_core::spec::Source for Files {
        fn read(&self, file: &Path) -> std::io::Result<Vec<u8>> {
            match file.file_name().and_then(|name| name.to_str()) {
                Some("proxy.yaml") => Ok(PROXY.into()),
                Some("accounts.yaml") => Ok(with_shares(RULES, 5).into()),
                _ => Err(std::io::ErrorKind::NotFound.into()),
            }
        }

        fn list(&self, _: &Path) -> std::io::Result<Vec<String>> {
            Ok(vec!["accounts.yaml".into()])
        }

        fn env(&self, _: &str) -> Option<String> {
            None
        }
    }

    #[test]
    fn the_files_are_sound() {
        let loaded = heddle_core::spec::load(Some(Path::new("demo/proxy.yaml")), &Files);
        assert!(loaded.findings.is_empty(), "{:?}", loaded.findings);
        let config = loaded.config.expect("there is no finding");
        let route = config.routes.values().next().expect("the accounts route");
        let weights: Vec<f64> = route.rules[0].to.iter().map(|to| to.weight).collect();
        assert_eq!(weights, [95.0, 5.0]);
    }

    #[test]
    fn counters_are_summed_over_series() {
        let text = "# HELP heddle_retries_total x\nheddle_retries_total{service=\"a b\"} 2\n\
                    heddle_retries_total{service=\"b\"} 3\nheddle_retries_total_other 9\nheddle_config_generation 4\n";
        let wanted = Counters {
            generation: 4,
            retries: 5,
            ..Counters::default()
        };
        assert_eq!(Counters::parse(text), wanted);
    }
}
