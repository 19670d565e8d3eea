//! What a terminal shows, and programs that listen on IPv6 only.

use crate::support::{Beside, PATIENCE, ask, command, curl, free_port, python};
use heddle_e2e::process::{Running, run};
use heddle_e2e::script::within;

pub(crate) fn a_start_that_goes_well_is_one_line() {
    let port = free_port();
    let program = [
        "--service",
        "a",
        "--port",
        &port,
        "--",
        "python3",
        &python(),
        "a",
    ];
    let mut quiet = command(&program);
    quiet.env_remove("HEDDLE_LOG");
    let mut running = Running::start(&mut quiet);
    within(PATIENCE, "it is ready", || {
        running.output().contains("heddle run: a is ready; ")
    });
    running.signal("TERM");
    assert_eq!(running.wait(PATIENCE), Some(3));
    let output = running.output();
    let own: Vec<_> = output
        .lines()
        .filter(|line| line.contains("heddle") || line.contains("INFO"))
        .collect();
    assert_eq!(own.len(), 1, "{output}");
    for place in [
        "go through http://",
        "is reached at http://",
        "admin server is http://",
    ] {
        assert!(own[0].contains(place), "{output}");
    }
}

pub(crate) fn a_job_is_told_of_in_one_line_and_who_wants_more_gets_it() {
    for (more, logged) in [
        (&["--", "true"][..], false),
        (&["--verbose", "--", "true"], true),
    ] {
        let mut job = command(more);
        job.env_remove("HEDDLE_LOG");
        let finished = run(&mut job, PATIENCE);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(finished.stderr.contains("INFO"), logged, "{finished:?}");
        assert!(
            finished.stderr.contains("the program is ready; calls of"),
            "{finished:?}"
        );
        assert_eq!(
            finished.stderr.lines().count() == 1,
            !logged,
            "{finished:?}"
        );
    }
}

pub(crate) fn a_program_on_ipv6_alone_is_found() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let mesh = folder.path().join("mesh").display().to_string();
    let program = ["python3", &python(), "six", "ipv6"];
    let six = Beside::announced("six", &mesh, &program);
    assert_eq!(ask(six.inbound(), "six", "GET", "/x", "").text(), "six/x");
    // Its own proxy reads the announcement as any other does: within a second.
    within(PATIENCE, "it is found by name", || {
        curl(six.outbound(), "http://six/y") == "six/y"
    });
}

pub(crate) fn requests_wait_for_a_program_on_ipv6() {
    let port = free_port();
    let beside = Beside::start(&[
        "--port",
        &port,
        "--",
        "python3",
        &python(),
        "a",
        "late",
        "ipv6",
    ]);
    let answer = ask(beside.inbound(), "a", "GET", "/early", "");
    assert_eq!(answer.text(), "a/early");
}

pub(crate) fn where_a_file_says_the_program_listens_is_where_it_is_looked_for() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let file = folder.path().join("heddle.yaml").display().to_string();
    let port = free_port();
    let text = format!(
        "admin: {{listen: 127.0.0.1:0}}\nlisteners:\n  - {{name: outbound, listen: 127.0.0.1:0}}\n  - {{name: in, listen: 127.0.0.1:0, mode: inbound, forwardTo: \"127.0.0.1:{port}\"}}\n"
    );
    std::fs::write(&file, text).expect("the folder is ours");
    let beside = Beside::start(&[
        "--port",
        &port,
        "--start-within",
        "100ms",
        "-c",
        &file,
        "--",
        "python3",
        &python(),
        "a",
        "late",
    ]);
    beside.wait_for(&format!(
        "has not listened on 127.0.0.1:{port} within 100ms"
    ));
    assert_eq!(ask(beside.inbound(), "a", "GET", "/x", "").text(), "a/x");
}
