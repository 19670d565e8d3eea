//! The dashboard in a real browser: its script fills the tables and complains of nothing.

use crate::support::stage;
use heddle_e2e::needs::Need;
use heddle_e2e::process::run;
use std::time::Duration;

pub(crate) fn the_script_fills_the_page_without_an_error() {
    let stage = stage();
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let mut command = Need::Chromium.command();
    command
        .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-dev-shm-usage", "--enable-logging=stderr"])
        .args(["--virtual-time-budget=6000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().display()))
        .arg(format!(
            "http://{}/#explain=http://accounts/x",
            stage.proxy.admin()
        ));
    let finished = run(&mut command, Duration::from_secs(120));
    let complaints = finished
        .stderr
        .lines()
        .filter(|line| line.contains("CONSOLE") || line.contains("Refused to"));
    assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&str>::new());
    let page = &finished.stdout;
    for slip in ["[object", "undefined", "NaN"] {
        assert!(!page.contains(slip), "{slip} is in the page:\n{page}");
    }
    for text in [
        "/svc/accounts",
        "/svc/ledger",
        "/#/static/accounts-v1",
        "no-such-name",
        "class=\"spark\"",
        "The last load was applied",
        "/svc=&gt;/#/static",
        "live</p>",
    ] {
        assert!(page.contains(text), "{text} is not in the page:\n{page}");
    }
}
