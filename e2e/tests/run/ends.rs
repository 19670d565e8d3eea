//! Starting, signals, statuses, and the end.

use crate::support::{Beside, PATIENCE, ask, command, free_port, python};
use heddle_e2e::process::run;
use heddle_e2e::script::within;
use heddle_e2e::wire::Wire;
use std::net::TcpListener;

pub(crate) fn the_status_is_the_programs() {
    let table: &[(&[&str], i32, &str)] = &[
        (&["--", "true"], 0, ""),
        (&["--", "sh", "-c", "exit 7"], 7, ""),
        (&["--", "sh", "-c", "kill -KILL $$"], 137, ""),
        (
            &["--", "/nowhere/program"],
            127,
            "/nowhere/program is not there",
        ),
        (&["--", "/etc/passwd"], 126, "/etc/passwd may not be run"),
        (
            &["--port", "1", "--", "sh", "-c", "exit 4"],
            4,
            "sh exited with 4 before it listened on port 1",
        ),
        (&["--port", "0", "--", "true"], 2, "0 is not in 1..=65535"),
        (&["--announce", ".", "--", "true"], 2, "--service"),
    ];
    for (arguments, code, says) in table {
        let finished = run(&mut command(arguments), PATIENCE);
        assert_eq!(finished.code, Some(*code), "{arguments:?} {finished:?}");
        assert!(finished.stderr.contains(says), "{arguments:?} {finished:?}");
    }
}

pub(crate) fn a_program_that_crashes_before_it_listens_is_told() {
    let port = free_port();
    let arguments = ["--port", &port, "--", "python3", &python(), "a", "crash"];
    let finished = run(&mut command(&arguments), PATIENCE);
    assert_eq!(finished.code, Some(9), "{finished:?}");
    let says = format!("python3 exited with 9 before it listened on port {port}");
    assert!(finished.stderr.contains(&says), "{finished:?}");
}

pub(crate) fn a_port_that_another_program_has_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let finished = run(&mut command(&["--port", &port, "--", "true"]), PATIENCE);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let says = format!("something listens on port {port} already");
    assert!(finished.stderr.contains(&says), "{finished:?}");
}

pub(crate) fn default_ports_that_are_taken_give_way() {
    let program = ["--port", &free_port(), "--", "python3", &python(), "a"];
    let (one, two) = (Beside::start(&program), ["--", "sleep", "60"]);
    let (outbound, admin) = (one.outbound(), one.admin());
    let other = Beside::start(&two);
    assert_ne!(other.outbound(), outbound);
    assert_ne!(other.admin(), admin);
}

pub(crate) fn requests_wait_for_a_program_that_starts() {
    let port = free_port();
    let beside = Beside::start(&["--port", &port, "--", "python3", &python(), "a", "late"]);
    let inbound = beside.inbound();
    let mut early = Wire::connect(inbound);
    early.send("GET /early HTTP/1.1\r\nhost: a\r\n\r\n");
    let ready = ask(beside.admin(), "localhost", "GET", "/ready", "");
    assert_eq!(ready.status(), 503);
    let why = format!("does not listen on port {port} yet");
    assert!(ready.text().contains(&why), "{}", ready.text());
    assert_eq!(early.read_response().text(), "a/early");
    within(PATIENCE, "it is ready", || {
        ask(beside.admin(), "localhost", "GET", "/ready", "").status() == 200
    });
}

pub(crate) fn a_program_that_does_not_listen_in_time_is_told_and_runs_on() {
    let port = free_port();
    let mut beside = Beside::start(&[
        "--port",
        &port,
        "--start-within",
        "100ms",
        "--",
        "sleep",
        "60",
    ]);
    beside.wait_for("has not listened on 127.0.0.1");
    let ready = ask(beside.admin(), "localhost", "GET", "/ready", "");
    assert!(
        ready.text().contains("within 100ms of its start"),
        "{}",
        ready.text()
    );
    assert_eq!(beside.end("TERM"), Some(143));
}

pub(crate) fn signals_are_the_programs() {
    let port = free_port();
    let mut beside = Beside::start(&["--port", &port, "--", "python3", &python(), "a"]);
    assert_eq!(ask(beside.inbound(), "a", "GET", "/", "").status(), 200);
    for signal in ["HUP", "QUIT", "USR1", "USR2"] {
        beside.running.signal(signal);
        beside.wait_for(&format!("told SIG{signal}"));
    }
    assert_eq!(beside.end("TERM"), Some(3));
    assert!(beside.running.output().contains("told SIGTERM"));
}

pub(crate) fn what_is_in_flight_ends_before_the_program_is_told() {
    let port = free_port();
    let mut beside = Beside::start(&["--port", &port, "--", "python3", &python(), "a"]);
    let inbound = beside.inbound();
    let mut slow = Wire::connect(inbound);
    slow.send("POST /slow/1000 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok");
    beside.wait_for("working");
    beside.running.signal("TERM");
    let answer = slow.read_response();
    assert_eq!(
        (answer.status(), answer.text().as_str()),
        (200, "a/slow/1000")
    );
    assert_eq!(answer.head.get("connection").as_deref(), Some("close"));
    assert_eq!(beside.running.wait(PATIENCE), Some(3));
    assert!(std::net::TcpStream::connect(inbound).is_err());
}

pub(crate) fn a_program_that_ignores_its_end_is_killed() {
    let port = free_port();
    let program = ["python3", &python(), "a", "stubborn"];
    let mut arguments = vec!["--port", &port, "--grace", "300ms", "--"];
    arguments.extend(program);
    let mut beside = Beside::start(&arguments);
    assert_eq!(ask(beside.inbound(), "a", "GET", "/", "").status(), 200);
    assert_eq!(beside.end("TERM"), Some(137));
    let output = beside.running.output();
    assert!(output.contains("told SIGTERM"), "{output}");
    assert!(output.contains("did not end within 300ms"), "{output}");
}

pub(crate) fn a_second_signal_does_not_wait_for_what_is_in_flight() {
    let port = free_port();
    let mut beside = Beside::start(&["--port", &port, "--", "python3", &python(), "a"]);
    let mut slow = Wire::connect(beside.inbound());
    slow.send("GET /slow/60000 HTTP/1.1\r\nhost: a\r\n\r\n");
    beside.wait_for("working");
    beside.running.signal("INT");
    within(PATIENCE, "it drains", || {
        std::net::TcpStream::connect(beside.inbound()).is_err()
    });
    beside.running.signal("TERM");
    // The signal that came first is the one that is passed on; Python ends by it.
    assert_eq!(beside.running.wait(PATIENCE), Some(130));
}
