//! Memory is short: the proxy refuses work before the system kills it.

use crate::support::{GET, ask, is_served, served, turned_away};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::within;
use heddle_e2e::wire::Wire;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

const MIB: usize = 1024 * 1024;
const PRESSURE: &str = "heddle_memory_pressure";
const REFUSED: &str = "heddle_refused_total{listener=\"outbound\",reason=\"memory\"}";

/// Heads that do not end, each as large as a listener takes: without a bound, several hundred megabytes.
fn flood(proxy: &Proxy) -> Vec<TcpStream> {
    let mut head = b"GET / HTTP/1.1\r\nhost: echo\r\n".to_vec();
    for number in 0..15 {
        head.extend(format!("x-{number}: {}\r\n", "a".repeat(4000)).bytes());
    }
    let mut flood = Vec::new();
    for _ in 0..3000 {
        // The kernel queues them until it does not, either.
        let Ok(mut stream) =
            TcpStream::connect_timeout(&proxy.outbound(), Duration::from_millis(500))
        else {
            continue;
        };
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .expect("the time is not zero");
        // It may be refused, which is the point.
        drop(stream.write_all(&head));
        flood.push(stream);
    }
    flood
}

/// Somebody who is there already and goes on asking.
struct Regular {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Vec<u16>>,
}

impl Regular {
    fn start(proxy: &Proxy) -> Self {
        let mut wire = served(proxy.outbound());
        wire.set_patience(Duration::from_secs(30));
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let asking = std::thread::spawn(move || {
            let mut statuses = Vec::new();
            while !stopped.load(SeqCst) {
                statuses.push(ask(&mut wire, GET).status());
                std::thread::sleep(Duration::from_millis(200));
            }
            statuses
        });
        Self { stop, asking }
    }

    fn end(self) -> Vec<u16> {
        self.stop.store(true, SeqCst);
        self.asking.join().expect("its connection is never closed")
    }
}

/// The proxy under a flood, with so many bytes of memory at most.
fn survives(mut proxy: Proxy, limit: usize) {
    let regular = Regular::start(&proxy);
    let flood = flood(&proxy);
    assert_eq!(proxy.ask_admin("/ready").status(), 200);
    // It is looked at in a while, so a crowd gets a little further.
    let resident = proxy.most_resident();
    assert!(
        resident < limit + limit / 4,
        "{resident} bytes were resident"
    );
    proxy.wait_for_log("memory is short");
    drop(flood);
    within(
        Duration::from_secs(60),
        "new clients are served again",
        || {
            let mut wire = Wire::connect(proxy.outbound());
            wire.set_patience(Duration::from_secs(2));
            wire.try_send(GET) && wire.try_read_head().is_ok_and(|head| head.status() == 200)
        },
    );
    let statuses = regular.end();
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(
        statuses.iter().all(|status| matches!(status, 200 | 503)),
        "{statuses:?}"
    );
    assert!(proxy.process().is_alive());
}

fn setup(echo: &Echo) -> Setup {
    Setup::new().replicas("echo", &[echo.address()])
}

#[test]
fn a_flood_does_not_get_beyond_the_configured_limit() {
    let echo = Echo::start("echo");
    let proxy = Proxy::start(&setup(&echo).top("limits: {memoryBytes: 80000000}"));
    assert_eq!(proxy.metric("heddle_memory_limit_bytes"), 80e6);
    survives(proxy, 80_000_000);
}

#[test]
fn a_proxy_that_is_full_refuses_and_says_why() {
    let echo = Echo::start("echo");
    let setup = setup(&echo);
    let (plenty, less_than_it_has) = (
        setup.clone().top("limits: {memoryBytes: 1000000000}"),
        setup.top("limits: {memoryBytes: 16000000}"),
    );
    let proxy = Proxy::start(&plenty);
    let mut established = served(proxy.outbound());
    proxy.rewrite(&less_than_it_has);
    within(Duration::from_secs(10), "it is full", || {
        proxy.metric(PRESSURE) == 2.0
    });
    let answer = ask(&mut established, GET);
    assert_eq!(answer.status(), 503);
    let why = answer.head.get("heddle-err").expect("the proxy says why");
    assert!(
        why.starts_with("overloaded") && why.contains("memory"),
        "{why}"
    );
    assert!(turned_away(proxy.outbound()).is_some());
    assert!(proxy.metric(REFUSED) >= 1.0);
    assert_eq!(proxy.ask_admin("/ready").status(), 200);
    proxy.rewrite(&plenty);
    within(Duration::from_secs(10), "there is enough", || {
        proxy.metric(PRESSURE) == 0.0
    });
    assert!(is_served(proxy.outbound()));
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
