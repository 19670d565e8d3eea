//! Memory is short: the proxy refuses work before the system kills it.

use crate::support::{GET, ask, served};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::within;
use heddle_e2e::wire::Wire;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

const MIB: usize = 1024 * 1024;
const PRESSURE: &str = "heddle_memory_pressure";
const REFUSED: &str = "heddle_refused_total{listener=\"outbound\",reason=\"memory\"}";

/// Heads that do not end, each as large as a listener takes, until the proxy says that it is full.
fn flood(proxy: &Proxy) -> Vec<TcpStream> {
    let mut head = b"GET / HTTP/1.1\r\nhost: echo\r\n".to_vec();
    for number in 0..15 {
        head.extend(format!("x-{number}: {}\r\n", "a".repeat(4000)).bytes());
    }
    let mut flood = Vec::new();
    for number in 0..4000 {
        let mut stream =
            TcpStream::connect(proxy.outbound()).expect("the kernel queues connections");
        stream
            .set_write_timeout(Some(Duration::from_secs(5)))
            .expect("the time is not zero");
        // It may be refused, which is the point.
        drop(stream.write_all(&head));
        flood.push(stream);
        if number % 100 == 99 && proxy.metric(REFUSED) > 50.0 {
            break;
        }
    }
    flood
}

/// The proxy under a flood, with so many bytes of memory at most.
fn survives(mut proxy: Proxy, limit: usize) {
    let mut established = served(proxy.outbound());
    let flood = flood(&proxy);
    assert!(
        proxy.metric(REFUSED) > 0.0,
        "{} connections were taken",
        flood.len()
    );
    let resident = proxy.resident();
    assert!(resident < limit, "{resident} bytes are resident");
    // Those who are there are told, and so is who looks.
    let answer = ask(&mut established, GET);
    if answer.status() != 200 {
        assert_eq!(answer.status(), 503);
        let why = answer.head.get("heddle-err").expect("the proxy says why");
        assert!(
            why.starts_with("overloaded") && why.contains("memory"),
            "{why}"
        );
    }
    assert_eq!(proxy.ask_admin("/ready").status(), 200);
    assert!(proxy.metric(PRESSURE) >= 1.0);
    within(Duration::from_secs(60), "requests are served again", || {
        // The flood's heads are given up after headerTimeout.
        let mut wire = Wire::connect(proxy.outbound());
        wire.set_patience(Duration::from_secs(2));
        wire.try_send(GET) && wire.try_read_head().is_ok_and(|head| head.status() == 200)
    });
    assert_eq!(ask(&mut established, GET).status(), 200);
    assert!(proxy.process().is_alive());
}

fn setup(echo: &Echo) -> Setup {
    Setup::new()
        .listener("outbound", "limits: {headerTimeout: 8s}")
        .replicas("echo", &[echo.address()])
}

#[test]
fn near_the_limit_of_its_configuration_work_is_refused() {
    let echo = Echo::start("echo");
    let setup = setup(&echo).top("limits: {memoryBytes: 80000000}");
    let proxy = Proxy::start(&setup);
    assert_eq!(proxy.metric("heddle_memory_limit_bytes"), 80e6);
    survives(proxy, 80_000_000);
}

/// A control group of version 1 or 2 with a limit of memory; removed when dropped.
struct Group(PathBuf);

impl Group {
    fn make(limit: usize) -> Result<Self, String> {
        let name = format!("heddle-e2e-{}", std::process::id());
        let (folder, file) = if PathBuf::from("/sys/fs/cgroup/memory").exists() {
            (
                PathBuf::from("/sys/fs/cgroup/memory").join(name),
                "memory.limit_in_bytes",
            )
        } else {
            (PathBuf::from("/sys/fs/cgroup").join(name), "memory.max")
        };
        std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let group = Self(folder);
        std::fs::write(group.0.join(file), limit.to_string())
            .map_err(|error| format!("{file}: {error}"))?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel takes a moment to see that its last process has ended.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn in_a_control_group_the_proxy_is_not_killed() {
    let limit = 96 * MIB;
    let group = match Group::make(limit) {
        Ok(group) => group,
        Err(why) => {
            // Control groups are the kernel's and the user's matter: nothing installs them.
            eprintln!("skipped: no control group for memory can be made here ({why})");
            return;
        }
    };
    let echo = Echo::start("echo");
    let script = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", group.0.display());
    let proxy = Proxy::start(&setup(&echo).under(&["sh", "-c", &script, "sh"]));
    assert_eq!(proxy.metric("heddle_memory_limit_bytes"), limit as f64);
    survives(proxy, limit);
}
