//! Each subscriber by itself, with a double of the queue: repeated events, bad ones, a queue that fails, a stream that is
//! resumed, and the signal to end.

use super::http::{ask, until};
use heddle_e2e::binary::repository;
use heddle_e2e::process::{Running, succeed};
use heddle_e2e::wire::Wire;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Java on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

fn services() -> PathBuf {
    repository().join("sample-bank/services")
}

/// A proxy in front of nothing: it takes what is published, and knows one merchant.
struct Double {
    address: SocketAddr,
    fails: Arc<AtomicBool>,
    /// Head in lower case, and body.
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

impl Double {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let double = Self {
            address: listener.local_addr().expect("it is bound"),
            fails: Arc::default(),
            seen: Arc::default(),
        };
        let (fails, seen) = (Arc::clone(&double.fails), Arc::clone(&double.seen));
        // It ends with the test's process: nobody connects after the last test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (fails, seen) = (Arc::clone(&fails), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, &fails, &seen));
            }
        });
        double
    }

    fn seen(&self) -> Vec<(String, String)> {
        self.seen
            .lock()
            .expect("no thread panics while it holds this")
            .clone()
    }
}

fn serve(stream: TcpStream, fails: &AtomicBool, seen: &Mutex<Vec<(String, String)>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let head = head.to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![
            0;
            length
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0)
        ];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        seen.lock()
            .expect("no thread panics while it holds this")
            .push((head, body));
        let (status, answer) = if fails.load(SeqCst) {
            ("503 Away", "{}")
        } else {
            ("200 OK", "{\"payments\":7}")
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        )
        .ok()?;
    }
}

/// A service with its folder and its double.
struct Subject {
    running: Running,
    address: SocketAddr,
    double: Double,
    state: tempfile::TempDir,
}

impl Subject {
    fn start(mut command: Command) -> Self {
        let state = tempfile::tempdir().expect("the system has a temporary folder");
        let double = Double::start();
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|held| held.local_addr());
        let address = free.expect("loopback has a free port");
        command
            .env("PORT", address.port().to_string())
            .env("BANK_STATE", state.path())
            .env("BANK_MERCHANTS", services().join("merchants.json"))
            .env("http_proxy", format!("http://{}", double.address))
            .env_remove("HTTP_PROXY")
            .env_remove("no_proxy")
            .env_remove("NO_PROXY");
        let running = Running::start(&mut command);
        until("the service listens", || TcpStream::connect(address).ok());
        let subject = Self {
            running,
            address,
            double,
            state,
        };
        assert_eq!(subject.get("/ready").0, 200);
        subject
    }

    fn get(&self, target: &str) -> (u16, Value) {
        let answer = ask(self.address, "GET", target, &[("traceparent", TRACE)], "");
        (answer.status(), answer.json())
    }

    fn post(&self, body: &str) -> (u16, Value) {
        let answer = ask(
            self.address,
            "POST",
            "/events",
            &[("traceparent", TRACE)],
            body,
        );
        (answer.status(), answer.json())
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.state.path().join(folder))
            .into_iter()
            .flatten()
            .flatten()
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// What every subscriber must do with events.
    fn takes_events(&self, service: &str) {
        let new = |answer: (u16, Value)| (answer.0, answer.1["new"].as_bool());
        assert_eq!(new(self.post(&event(1).to_string())), (200, Some(true)));
        assert_eq!(
            new(self.post(&event(1).to_string())),
            (200, Some(false)),
            "a repetition has no effect"
        );
        let mut other = event(1);
        other["id"] = "txn-other:acc-1".into();
        assert_eq!(
            self.post(&other.to_string()).0,
            409,
            "another event at the same place is poison"
        );
        assert_eq!(self.post(&event(2).to_string()).0, 200);
        for bad in bad_events() {
            let (status, problem) = self.post(&bad);
            let shown: String = bad.chars().take(80).collect();
            assert!(matches!(status, 400 | 413), "{shown}: {status}");
            assert!(
                problem["type"]
                    .as_str()
                    .is_some_and(|t| t.starts_with("urn:heddle-bank:")),
                "{shown}: {problem}"
            );
        }
        let names = ["000000000001.json", "000000000002.json"];
        assert_eq!(
            self.files(&format!("{service}/acc-1")),
            names,
            "nothing else was written"
        );
        let hidden = self
            .files(service)
            .into_iter()
            .filter(|name| name.starts_with('.'));
        assert_eq!(hidden.count(), 0, "nothing is left behind");
        assert_eq!(self.get("/nothing").0, 404);
    }

    /// Ends it in good order.
    fn end(mut self) {
        self.running.signal("TERM");
        assert_eq!(
            self.running.wait(PATIENCE),
            Some(0),
            "{}",
            self.running.output()
        );
    }
}

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn event(sequence: i64) -> Value {
    json!({
        "id": format!("txn-{sequence}:acc-1"), "type": "posting", "account": "acc-1", "sequence": sequence,
        "amount": -100, "currency": "EUR", "balance": 0, "available": 0, "kind": "card", "reference": "",
        "merchant": "mer-bean", "descriptor": "BEAN THERE 0042", "time": "2026-11-24T11:37:09.042Z",
    })
}

/// An event whose merchant is spelt out, as the topic `feed.items` has it.
fn item(sequence: i64) -> String {
    let mut item = event(sequence);
    item["merchant"] =
        json!({"id": "mer-bean", "name": "Bean There", "category": "coffee", "emoji": "☕"});
    item.to_string()
}

fn bad_events() -> Vec<String> {
    let with = |name: &str, value: Value| {
        let mut event = event(3);
        event[name] = value;
        event.to_string()
    };
    vec![
        String::new(),
        "{".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"text\"".to_owned(),
        "{}".to_owned(),
        "[".repeat(30_000),
        "x".repeat(70_000),
        with("id", json!(1)),
        with("id", json!("../x")),
        with("account", json!("../x")),
        with("account", json!("a".repeat(65))),
        with("account", Value::Null),
        with("sequence", json!(0)),
        with("sequence", json!(-1)),
        with("sequence", json!(1.5)),
        with("sequence", json!("1")),
        with("sequence", json!(1_000_000_000_000_i64)),
        with("amount", json!(1.5)),
        with("amount", Value::Null),
        with("amount", json!(2_000_000_000_000_000_i64)),
        with("currency", json!("XYZ")),
        with("currency", Value::Null),
    ]
}

fn go_services() -> PathBuf {
    let built = repository().join(".heddle/bin/bank-go");
    let mut go = Command::new("go");
    go.args(["build", "-buildvcs=false", "-o"])
        .arg(&built)
        .arg(".")
        .current_dir(services().join("go"));
    succeed(&mut go, Duration::from_secs(300));
    built
}

fn go(service: &str) -> Command {
    let mut command = Command::new(go_services());
    command.arg(service);
    command
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(services().join("node").join(script));
    command
}

pub(crate) fn merchants_in_python() {
    let mut command = Command::new("python3");
    command.arg(services().join("python/merchants.py"));
    merchants(command, "v1");
}

pub(crate) fn merchants_in_go() {
    merchants(go("merchants"), "v2");
}

fn merchants(command: Command, version: &str) {
    let subject = Subject::start(command);
    subject.double.fails.store(true, SeqCst);
    assert_eq!(
        subject.post(&event(1).to_string()).0,
        503,
        "what is not published is not done"
    );
    assert_eq!(subject.files("merchants/acc-1"), Vec::<String>::new());
    subject.double.fails.store(false, SeqCst);
    subject.takes_events("merchants");
    let seen = subject.double.seen();
    let published: Vec<_> = seen.iter().filter(|(_, body)| !body.is_empty()).collect();
    assert_eq!(published.len(), 3, "once in vain, then one for each event");
    for (head, body) in published {
        assert!(
            head.starts_with("post http://queue/topics/feed.items "),
            "{head}"
        );
        assert!(head.contains(&format!("traceparent: {TRACE}")), "{head}");
        let message: Value = serde_json::from_str(body).expect("it is JSON");
        assert_eq!(
            (&message["key"], &message["id"]),
            (&json!("acc-1"), &message["value"]["id"])
        );
        assert_eq!(message["value"]["merchant"]["name"], "Bean There");
        assert_eq!(message["value"]["merchant"]["id"], "mer-bean");
    }
    let (status, bean) = subject.get("/merchants/mer-bean");
    assert_eq!(
        (status, &bean["payments"], &bean["total"]["EUR"]),
        (200, &json!(2), &json!(200))
    );
    assert_eq!(bean["version"], version);
    assert_eq!(subject.get("/merchants/mer-none").0, 404);
    subject.end();
}

pub(crate) fn feed_in_node() {
    feed(node("feed.mjs"), "v1");
}

pub(crate) fn feed_in_java() {
    let classes = tempfile::tempdir().expect("the system has a temporary folder");
    let mut javac = Command::new("javac");
    javac.arg("-d").arg(classes.path());
    for source in ["Feed.java", "Json.java", "Model.java", "Refusal.java"] {
        javac.arg(services().join("java").join(source));
    }
    succeed(&mut javac, Duration::from_secs(120));
    feed(java(classes.path()), "v2");
}

fn java(classes: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .args(["-Xmx48m", "-XX:+UseSerialGC", "-cp"])
        .arg(classes)
        .arg("Feed");
    command
}

fn feed(command: Command, version: &str) {
    let subject = Subject::start(command);
    subject.takes_events("feed");
    for sequence in 3..=9 {
        assert_eq!(subject.post(&item(sequence)).0, 200);
    }
    #[rustfmt::skip]
    let rows = [
        ("/feed/acc-1",                 (1..=9).collect::<Vec<i64>>()),
        ("/feed/acc-1?limit=2",         vec![8, 9]),
        ("/feed/acc-1?after=7",         vec![8, 9]),
        ("/feed/acc-1?after=0&limit=1", vec![1]),
        ("/feed/acc-1?after=9",         vec![]),
        ("/feed/acc-none",              vec![]),
    ];
    for (target, wanted) in rows {
        let (status, feed) = subject.get(target);
        let items = feed["items"].as_array().cloned().unwrap_or_default();
        let numbers: Vec<_> = items
            .iter()
            .filter_map(|item| item["sequence"].as_i64())
            .collect();
        assert_eq!((status, numbers), (200, wanted), "{target}");
        assert_eq!(feed["version"], version);
    }
    assert_eq!(subject.get("/feed/acc-1?after=x").0, 400);
    let (status, spending) = subject.get("/feed/acc-1/spending");
    let first = &spending["merchants"][0];
    assert_eq!(
        (status, &first["spent"], &first["everyone"]["payments"]),
        (200, &json!(700), &json!(7))
    );
    let (head, _) = subject.double.seen().pop().expect("merchants was asked");
    assert!(
        head.starts_with("get http://merchants/merchants/mer-bean "),
        "{head}"
    );
    assert!(head.contains(&format!("traceparent: {TRACE}")), "{head}");
    subject.end();
}

pub(crate) fn notifications_in_go() {
    notifications(go("notifications"));
}

pub(crate) fn notifications_in_node() {
    notifications(node("notifications.mjs"));
}

fn notifications(command: Command) {
    let subject = Subject::start(command);
    subject.takes_events("notifications");
    assert_eq!(
        subject.get("/notifications/cus-1/events").0,
        400,
        "whose events?"
    );
    let listen = |target: &str, last: &str| {
        let mut wire = Wire::connect(subject.address);
        wire.set_patience(PATIENCE);
        wire.send(format!(
            "GET {target} HTTP/1.1\r\nhost: bank\r\nlast-event-id: {last}\r\n\r\n"
        ));
        assert_eq!(wire.read_head().status(), 200);
        wire
    };
    // What was missed first, then what is new; by a place in each account where there are several.
    let mut one = listen("/notifications/acc-1/events", "1");
    let mut several = listen(
        "/notifications/cus-1/events?account=acc-1&account=acc-2",
        "acc-1:2,acc-2:0",
    );
    assert_eq!(next_id(&mut one), "2");
    assert_eq!(subject.post(&item(3)).0, 200);
    assert_eq!(next_id(&mut one), "3");
    assert_eq!(next_id(&mut several), "acc-1:3,acc-2:0");
    drop((one, several));
    let mut again = listen("/notifications/acc-1/events", "");
    assert_eq!(subject.post(&item(4)).0, 200);
    assert_eq!(
        next_id(&mut again),
        "4",
        "who says nothing gets what is new"
    );
    subject.end();
}

/// The id of the next event of a stream.
fn next_id(wire: &mut Wire) -> String {
    loop {
        // A chunk of the stream, which has several lines.
        let chunk = wire.read_line();
        if let Some(id) = chunk.lines().find_map(|line| line.strip_prefix("id: ")) {
            return id.to_owned();
        }
    }
}
