//! Programs that find each other by a folder.

use crate::support::{Beside, PATIENCE, ask, command, curl, node, python};
use heddle_e2e::process::run;
use heddle_e2e::script::within;
use heddle_e2e::wire::Wire;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn folder() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let path = folder.path().join("mesh").display().to_string();
    (folder, path)
}

fn lines(folder: &str, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(folder).join(name)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

pub(crate) fn two_terminals_and_a_curl_by_name_are_a_mesh() {
    let (_kept, mesh) = folder();
    let accounts = Beside::announced("accounts", &mesh, &["python3", &python(), "accounts"]);
    let web = Beside::announced("web", &mesh, &["node", &node(), "web"]);
    assert_eq!(curl(accounts.outbound(), "http://accounts/x"), "accounts/x");
    within(PATIENCE, "the first knows the second", || {
        ask(accounts.outbound(), "web", "GET", "/", "").status() == 200
    });
    assert_eq!(curl(accounts.outbound(), "http://web/x"), "web/x");
    // Each calls the other through its own proxy, the way of its runtime.
    assert_eq!(
        curl(web.outbound(), "http://web/call/accounts"),
        "accounts/from-node"
    );
    assert_eq!(curl(web.outbound(), "http://accounts/call/web"), "web/");
}

pub(crate) fn the_program_is_told_where_the_proxy_is() {
    let (_kept, mesh) = folder();
    let beside = Beside::announced("a", &mesh, &["python3", &python(), "a"]);
    let answer = ask(beside.inbound(), "a", "GET", "/environment", "").json();
    let outbound = format!("http://{}", beside.outbound());
    for name in ["http_proxy", "grpc_proxy", "HEDDLE_OUTBOUND"] {
        assert_eq!(answer[name], outbound.as_str(), "{name}");
    }
    assert!(answer.get("HTTP_PROXY").is_none());
    assert_eq!(answer["no_proxy"], "localhost,127.0.0.1,::1");
}

pub(crate) fn a_job_calls_by_name_and_ends() {
    let (_kept, mesh) = folder();
    let accounts = Beside::announced("accounts", &mesh, &["python3", &python(), "accounts"]);
    let outbound = format!("http://{}", accounts.outbound());
    // A job needs no service of its own; its file says where names are found.
    let file = Path::new(&mesh).with_file_name("job.yaml");
    let text = format!(
        "admin: {{listen: 127.0.0.1:0}}\nlisteners: [{{name: outbound, listen: 127.0.0.1:0}}]\ndiscovery: {{files: {{dir: {mesh}}}}}\n"
    );
    std::fs::write(&file, text).expect("the folder is ours");
    let job = "import urllib.request as r; print(r.urlopen('http://accounts/job').read().decode())";
    let file = file.display().to_string();
    let finished = run(
        &mut command(&["-c", &file, "--", "python3", "-c", job]),
        PATIENCE,
    );
    assert_eq!(
        (finished.code, finished.stdout.trim()),
        (Some(0), "accounts/job"),
        "{finished:?}"
    );
    assert!(
        !finished.stderr.contains(&outbound),
        "it has a proxy of its own"
    );
}

pub(crate) fn the_program_can_call_others_while_it_ends() {
    let (_kept, mesh) = folder();
    let _ledger = Beside::announced("ledger", &mesh, &["python3", &python(), "ledger"]);
    let program = ["python3", &python(), "accounts", "farewell"];
    let mut accounts = Beside::announced("accounts", &mesh, &program);
    assert_eq!(accounts.end("TERM"), Some(3));
    let output = accounts.running.output();
    assert!(output.contains("farewell ledger/"), "{output}");
    assert_eq!(lines(&mesh, "accounts"), [""; 0]);
}

/// Nobody looks after the program of an instance that was killed, so this does, by its id.
fn kill_program(of: &Beside) {
    let output = of.running.output();
    let (_, rest) = output.split_once("started as ").expect("it says its id");
    let (id, _) = rest.split_once('.').expect("a dot ends it");
    let status = Command::new("kill").args(["-s", "KILL", id]).status();
    assert!(status.is_ok_and(|status| status.success()), "{id}");
}

pub(crate) fn lines_of_killed_instances_go() {
    let (_kept, mesh) = folder();
    let program = ["python3", &python(), "a"];
    let mut one = Beside::announced("a", &mesh, &program);
    assert_eq!(lines(&mesh, "a").len(), 1);
    let left = lines(&mesh, "a");
    one.running.signal("KILL");
    within(PATIENCE, "it is gone", || !one.running.is_alive());
    kill_program(&one);
    assert_eq!(lines(&mesh, "a"), left, "nobody was there to take it back");
    let mut two = Beside::announced("a", &mesh, &program);
    assert_eq!(lines(&mesh, "a").len(), 1);
    assert_ne!(lines(&mesh, "a"), left);
    two.end("TERM");
    assert_eq!(lines(&mesh, "a"), [""; 0]);
}

/// Sends `POST`s one after the other until told to stop; how many were not answered with 200.
fn client(to: SocketAddr, stop: &AtomicBool, sent: &AtomicUsize) -> usize {
    let (mut lost, mut wire) = (0, Wire::connect(to));
    while !stop.load(Ordering::Relaxed) {
        wire.send("POST /slow/5 HTTP/1.1\r\nhost: accounts\r\ncontent-length: 2\r\n\r\nok");
        let answer = wire.read_response();
        sent.fetch_add(1, Ordering::Relaxed);
        if answer.status() != 200 {
            eprintln!("{} {}", answer.status(), answer.text());
            lost += 1;
        }
        if answer.head.get("connection").as_deref() == Some("close") {
            wire = Wire::connect(to);
        }
    }
    lost
}

pub(crate) fn a_roll_out_loses_nothing() {
    let (_kept, mesh) = folder();
    let program = ["python3", &python(), "accounts"];
    let web = Beside::announced("web", &mesh, &["python3", &python(), "web"]);
    let mut old = vec![
        Beside::announced("accounts", &mesh, &program),
        Beside::announced("accounts", &mesh, &program),
    ];
    assert_eq!(lines(&mesh, "accounts").len(), 2);
    within(PATIENCE, "both are known", || {
        ask(web.outbound(), "accounts", "GET", "/", "").status() == 200
    });
    let (stop, sent) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let outbound = web.outbound();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, sent) = (stop.clone(), sent.clone());
            std::thread::spawn(move || client(outbound, &stop, &sent))
        })
        .collect();
    let mut new = Vec::new();
    while let Some(mut instance) = old.pop() {
        new.push(Beside::announced("accounts", &mesh, &program));
        assert_eq!(instance.end("TERM"), Some(3));
    }
    let (before, patience) = (sent.load(Ordering::Relaxed), Instant::now() + PATIENCE);
    while sent.load(Ordering::Relaxed) < before + 50 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    stop.store(true, Ordering::Relaxed);
    let lost: usize = clients
        .into_iter()
        .map(|c| c.join().expect("no client panics"))
        .sum();
    let sent = sent.load(Ordering::Relaxed);
    assert_eq!(lost, 0, "of {sent}");
    assert!(
        sent > before && before > 100,
        "{before} and then {sent} requests"
    );
    assert_eq!(lines(&mesh, "accounts").len(), 2);
}
