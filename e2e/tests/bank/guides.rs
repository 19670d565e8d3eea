//! What docs/bank-canary.md, docs/bank-staging.md and docs/bank-mirror.md say, done with their files and commands.

use super::demo::{Demo, heddle_bank};
use super::http::{ask, until};
use heddle_e2e::binary::repository;
use heddle_e2e::process::succeed;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn route_as_they_say() {
    let demo = Demo::open();
    let mut load = heddle_bank();
    load.args(["load", "--rate", "30", "--for", "10s", "--state"])
        .arg(demo.folder());
    succeed(&mut load, LIMIT);
    canary(&demo);
    staging(&demo);
    mirroring(&demo);
    let mut audit = heddle_bank();
    let told = succeed(
        audit.args(["audit", "--state"]).arg(demo.folder()),
        LIMIT * 3,
    );
    assert!(
        told.lines()
            .last()
            .is_some_and(|line| line.starts_with("audit: clean, ")),
        "{told}"
    );
    demo.end();
}

/// Asks as a customer, by the guides' script.
fn as_customer(demo: &Demo, number: usize, path: &str) -> String {
    let mut command = Command::new(repository().join("sample-bank/mesh/try/as-customer.sh"));
    succeed(
        command.arg(demo.folder()).arg(number.to_string()).arg(path),
        LIMIT,
    )
}

fn rule(demo: &Demo, file: &str) {
    let text = fs::read_to_string(repository().join("sample-bank/mesh").join(file))
        .expect("the repository has it");
    fs::write(demo.folder().join("mesh/rules/feed.yaml"), text)
        .expect("the state folder is writable");
}

/// Which version of the feed answers each customer.
fn versions(demo: &Demo) -> BTreeMap<usize, String> {
    let version = |number: usize| {
        let answer = as_customer(demo, number, "/v1/accounts/{account}/feed?limit=1");
        let version = if answer.contains("\"version\":\"v2\"") {
            "v2"
        } else {
            "v1"
        };
        (number, version.to_owned())
    };
    (0..demo.customers.len()).map(version).collect()
}

fn second(versions: &BTreeMap<usize, String>) -> Vec<usize> {
    let second = versions.iter().filter(|(_, version)| *version == "v2");
    second.map(|(number, _)| *number).collect()
}

fn canary(demo: &Demo) {
    assert_eq!(second(&versions(demo)), Vec::<usize>::new());
    rule(demo, "try/feed-canary.yaml");
    let some = until("some customers are on version 2", || {
        let found = second(&versions(demo));
        (!found.is_empty()).then_some(found)
    });
    assert!(some.len() < demo.customers.len() / 2, "{some:?}");
    assert_eq!(second(&versions(demo)), some, "each stays where it is");
    let file = demo.folder().join("mesh/rules/feed.yaml");
    let more = fs::read_to_string(&file)
        .expect("it was written")
        .replace("weight: 75", "weight: 50");
    fs::write(&file, more.replace("weight: 25", "weight: 50")).expect("it is writable");
    let more = until("a raised weight adds customers", || {
        let found = second(&versions(demo));
        (found.len() > some.len()).then_some(found)
    });
    assert!(
        some.iter().all(|number| more.contains(number)),
        "{some:?} {more:?}: none goes back"
    );
    rule(demo, "rules/feed.yaml");
    until("all are on version 1 again", || {
        second(&versions(demo)).is_empty().then_some(())
    });
}

fn staging(demo: &Demo) {
    let has_place =
        |number| as_customer(demo, number, "/v1/accounts/{account}/spending").contains("\"place\"");
    until("customer 0 has spent something", || {
        as_customer(demo, 0, "/v1/accounts/{account}/spending")
            .contains("everyone")
            .then_some(())
    });
    assert!(!has_place(0) && !has_place(1));
    let customer = demo.customers[0]["id"]
        .as_str()
        .expect("customers have ids");
    let file = demo.folder().join("staging.json");
    fs::write(
        &file,
        format!("{{\"{customer}\": \"/svc/merchants-v1 => /svc/merchants-v2\"}}"),
    )
    .expect("it is writable");
    until("customer 0 is staged", || has_place(0).then_some(()));
    assert!(!has_place(1), "nobody else is");
    fs::remove_file(&file).expect("it was written");
    until("customer 0 is back", || (!has_place(0)).then_some(()));
    // A stranger's override ends at the door.
    let override_ = [("heddle-dtab", "/svc/gateway-v1 => /svc/nobody")];
    let answer = ask(
        demo.address("gateway"),
        "GET",
        "/openapi.json",
        &override_,
        "",
    );
    assert_eq!(answer.status(), 200);
}

fn mirroring(demo: &Demo) {
    let metrics = || {
        ask(
            demo.address("admin"),
            "GET",
            "/metrics",
            &[("host", "localhost")],
            "",
        )
        .text()
    };
    let copies = |text: &str| {
        let of_the_feed = text.lines().filter(|line| {
            line.starts_with("heddle_mirrors_total")
                && line.contains("service=\"/svc/feed\"")
                && line.contains("event=\"sent\"")
        });
        of_the_feed
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>()
    };
    assert!(copies(&metrics()) < 1.0);
    rule(demo, "try/feed-mirror.yaml");
    until("reads are copied", || {
        let answer = as_customer(demo, 2, "/v1/accounts/{account}/feed?limit=1");
        assert!(
            answer.contains("\"version\":\"v1\""),
            "the copy's answer is not seen"
        );
        (copies(&metrics()) >= 1.0).then_some(())
    });
    rule(demo, "rules/feed.yaml");
}
