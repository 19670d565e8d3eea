//! Explanations of requests under several configurations, as text and as JSON.

use super::*;
use heddle_core::spec::{self, Source};
use heddle_core::status::Status;
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;

/// One file in memory.
struct Memory(String);

impl Source for Memory {
    fn read(&self, _: &std::path::Path) -> io::Result<Vec<u8>> {
        Ok(self.0.clone().into_bytes())
    }

    fn list(&self, _: &std::path::Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }
}

pub(crate) fn config(yaml: &str) -> ProxyConfig {
    let loaded = spec::load(
        Some(std::path::Path::new("heddle.yaml")),
        &Memory(yaml.to_owned()),
    );
    let findings: Vec<_> = loaded.findings.iter().map(ToString::to_string).collect();
    loaded
        .config
        .unwrap_or_else(|| panic!("{}", findings.join("\n")))
}

const BANK: &str = "
admin: {listen: 127.0.0.1:0}
namespace: bank
listeners:
  - {name: outbound, listen: 127.0.0.1:4140, identify: [{header: x-name}, host]}
  - name: open
    listen: 127.0.0.1:4141
    overrides: accept
    identify: [{path: {segments: 1, consume: true}}]
  - {name: inbound, listen: 127.0.0.1:4142, mode: inbound, forwardTo: 127.0.0.1:18080}
  - {name: raw, listen: 127.0.0.1:4143, mode: tcp, to: ledger}
discovery:
  static:
    accounts-v1: [127.0.0.1:9001, 127.0.0.1:9002]
    accounts-v2: ['127.0.0.1:9011 * 2']
    ledger: {endpoints: ['127.0.0.1:9021'], protocol: http2}
    named: ['db.example:5432']
rules:
  - apiVersion: heddle.dev/v1alpha1
    kind: Route
    metadata: {name: accounts, namespace: bank}
    spec:
      service: accounts
      rules:
        - match: {headers: {x-stage: v2}, method: [GET]}
          to: accounts-v2
        - match: {path: {prefix: /old}}
          set: {redirect: {location: /new, status: 308}}
        - match: {path: {prefix: /v1}}
          to: [{service: accounts-v1, weight: 95}, {service: accounts-v2, weight: 5}]
          stickyBy: header:x-user-id
          mirror: {to: ledger, percent: 10}
          set: {path: {prefix: /}}
      timeout: 2s
  - apiVersion: heddle.dev/v1alpha1
    kind: Fault
    metadata: {name: slow, namespace: bank}
    spec: {service: accounts, percent: 10, delay: 200ms, abort: {status: 503}, until: 10m}
  - apiVersion: heddle.dev/v1alpha1
    kind: Dtab
    metadata: {name: more, namespace: bank}
    spec:
      dtab: |
        /svc/failing => ! ;
        /svc/empty => $ ;
        /svc/split => 3 * /#/static/accounts-v1 & 1 * /#/dns/accounts.example/80 ;
";

fn request(method: &str, url: &str, headers: &[&str], listener: Option<&str>) -> Request {
    let mut request = Request::new(method, url).unwrap();
    for header in headers {
        request.add_header(header).unwrap();
    }
    request.listener = listener.map(str::to_owned);
    request
}

fn explained(yaml: &str, request: &Request) -> Explanation {
    let config = config(yaml);
    let offline = Offline::new(&config);
    explain(&config, &offline, &|id| offline.set(id), request).unwrap()
}

#[test]
fn a_split_shows_every_decision() {
    let request = request(
        "GET",
        "http://Accounts/v1/x?y=1",
        &["x-user-id: alice", "l5d-dtab: /a=>/b"],
        None,
    );
    let explanation = explained(BANK, &request);
    let text = explanation.to_text();
    let lines = [
        "request      GET http://Accounts/v1/x?y=1",
        "listener     outbound (outbound, namespace bank)",
        "name         not by header x-name: there is no header x-name",
        "name         /svc/accounts   by host",
        "overrides    l5d-dtab stripped: the listener has overrides: strip",
        "route        bank/accounts: timeout 2s, attempt timeout none, at most 2 retries within a budget of 20 % + 10/s",
        "               rule 1 does not match: it wants header x-stage is \"v2\"",
        "               rule 2 does not match: it wants path begins with \"/old\"",
        "               rule 3 matches: path begins with \"/v1\"",
        "fault        bank/slow: 10 % waits 200ms, then answers 503",
        "forwards     as /x?y=1",
        "                 /#/static/accounts-v1   by /svc=>/#/static   bound: /#/static/accounts-v1",
        "               bound to /#/static/accounts-v2",
        "copies 10 %  ledger = /svc/ledger",
        "replica set  /#/static/accounts-v1   bound, protocol same, 2 endpoints",
        "               127.0.0.1:9011   weight 2",
        "replica set  /#/static/ledger   bound, protocol http2, 1 endpoint",
    ];
    for line in lines {
        assert!(
            text.lines().any(|found| found == line),
            "{line}\n---\n{text}"
        );
    }
    let arm = sticky_arm("alice");
    let shares = ["95 % (weight 95)", "5 % (weight 5)"];
    for (index, (to, share)) in explanation.destinations.iter().zip(shares).enumerate() {
        assert_eq!(to.chosen, index == arm);
        let mark = if to.chosen { "   <- this request" } else { "" };
        let line = format!("goes to      {} = {}   {share}{mark}", to.name, to.path);
        assert!(
            text.lines().any(|found| found == line),
            "{line}\n---\n{text}"
        );
    }
}

/// The arm that the data plane's function gives a user.
fn sticky_arm(user: &str) -> usize {
    let arms = [("accounts-v1", 95.0), ("accounts-v2", 5.0)];
    heddle_core::sticky::pick("bank/accounts", &arms, user.as_bytes()).unwrap()
}

#[test]
fn sticky_users_are_shown_the_arm_they_get() {
    for user in 0..200 {
        let user = format!("user-{user}");
        let header = format!("x-user-id: {user}");
        let explanation = explained(BANK, &request("GET", "accounts/v1", &[&header], None));
        let chosen: Vec<_> = explanation
            .destinations
            .iter()
            .map(|to| to.chosen)
            .collect();
        let mut expected = vec![false; 2];
        expected[sticky_arm(&user)] = true;
        assert_eq!(chosen, expected, "{user}");
    }
    let nobody = explained(BANK, &request("GET", "accounts/v1", &[], None));
    assert!(nobody.destinations.iter().all(|to| !to.chosen));
    assert!(
        nobody
            .to_text()
            .contains("the request has no such key, so chance decides")
    );
}

#[test]
fn what_the_proxy_answers_itself() {
    type Case = (
        &'static str,
        &'static [&'static str],
        Option<&'static str>,
        Option<&'static str>,
        &'static str,
    );
    let cases: &[Case] = &[
        // url, headers, listener, answer, a line of the text
        (
            "accounts/old/x",
            &[],
            None,
            Some("308 to /new, as the rule says"),
            "rule 2 matches",
        ),
        (
            "accounts/else",
            &[],
            None,
            Some("404 no-such-name: no rule of Route bank/accounts matches"),
            "rule 3 does not",
        ),
        (
            "/only/path",
            &[],
            None,
            Some("400 unidentified"),
            "not by host: the request names no host",
        ),
        (
            "/x",
            &["host: a/b"],
            None,
            Some("400 refused: `a/b` is no host and port"),
            "name ",
        ),
        (
            "/a",
            &["heddle-dtab: => x"],
            Some("open"),
            Some("400 refused"),
            "overrides    cannot be read",
        ),
        (
            "/a",
            &["heddle-context: dtab=1"],
            Some("open"),
            Some("400 refused"),
            "heddle-context cannot be read",
        ),
        (
            "nobody",
            &[],
            None,
            None,
            "there is no such name: the proxy answers 404 no-such-name",
        ),
        (
            "failing",
            &[],
            None,
            None,
            "the name is told to fail: the proxy answers 502 name-failed",
        ),
        (
            "empty",
            &[],
            None,
            None,
            "nobody is there: the proxy answers 503 no-endpoints",
        ),
    ];
    for (url, headers, listener, answer, line) in cases {
        let explanation = explained(BANK, &request("GET", url, headers, *listener));
        let text = explanation.to_text();
        match (answer, &explanation.answer) {
            (Some(expected), Some(found)) => assert!(found.starts_with(expected), "{url}: {found}"),
            (None, None) => {}
            _ => panic!("{url}: {:?}", explanation.answer),
        }
        assert!(text.contains(line), "{url}: {line}\n---\n{text}");
        assert!(explanation.to_json().is_object());
    }
}

#[test]
fn a_cycle_is_shown_as_one() {
    let mut asked = request("GET", "loop", &[], None);
    asked.set_dtab("/svc/loop => /svc/loop/again").unwrap();
    let text = explained(BANK, &asked).to_text();
    let line = "most likely the dtab has a cycle: the proxy answers 502 name-failed";
    assert!(text.contains(line), "{text}");
}

#[test]
fn overrides_count_where_they_are_accepted() {
    let dtab = "heddle-dtab: /svc/other => /#/static/ledger";
    let json = explained(BANK, &request("GET", "/other/rest", &[dtab], Some("open"))).to_json();
    assert_eq!(json["overrides"]["accepted"], true);
    assert_eq!(
        json["destinations"][0]["bound"],
        json!({"leaf": "/#/static/ledger"})
    );
    assert_eq!(
        json["forwardedPath"], "/rest",
        "the segment that named the service is consumed"
    );
    assert_eq!(json["replicaSets"][0]["protocol"], "http2");
    let context = heddle_core::context::HopContext {
        dtab: Dtab::parse("/svc/other => /#/static/accounts-v2").unwrap(),
        ..Default::default()
    };
    let header = format!("heddle-context: {}", context.show().unwrap());
    let json = explained(BANK, &request("GET", "/other", &[&header], Some("open"))).to_json();
    assert_eq!(
        json["destinations"][0]["bound"]["leaf"],
        "/#/static/accounts-v2"
    );
    let both = [header.as_str(), dtab];
    let json = explained(BANK, &request("GET", "/other", &both, Some("open"))).to_json();
    assert_eq!(
        json["destinations"][0]["bound"]["leaf"], "/#/static/ledger",
        "the nearer header wins"
    );
    let json = explained(BANK, &request("GET", "other", &both, None)).to_json();
    assert_eq!(
        (
            &json["overrides"]["accepted"],
            &json["destinations"][0]["bound"]
        ),
        (&json!(false), &json!("neg"))
    );
}

#[test]
fn a_trial_dtab_counts_everywhere_and_last() {
    let mut asked = request("GET", "other", &[], None);
    asked.set_dtab("/svc => /#/static/ledger").unwrap();
    let json = explained(BANK, &asked).to_json();
    assert_eq!(
        json["destinations"][0]["bound"],
        json!({"leaf": "/#/static/ledger", "residual": "/other"})
    );
    assert!(
        asked
            .set_dtab("/svc -> x")
            .unwrap_err()
            .contains("the dtab")
    );
}

#[test]
fn json_has_a_key_for_each_decision() {
    let asked = request("GET", "accounts/v1", &["x-user-id: alice"], None);
    let json = explained(BANK, &asked).to_json();
    let route = &json["route"];
    let matched: Vec<_> = route["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["matched"].clone())
        .collect();
    assert_eq!(matched, [json!(false), json!(false), json!(true)]);
    assert_eq!(
        route["sticky"],
        json!({"by": "header:x-user-id", "key": "alice", "destination": sticky_arm("alice")})
    );
    assert_eq!(json["identification"]["name"], "/svc/accounts");
    assert_eq!(json["identification"]["passed"][0]["by"], "header x-name");
    assert_eq!(json["destinations"][1]["share"], 0.05);
    assert_eq!(
        json["destinations"][0]["delegation"]["delegate"]["dentry"],
        "/svc=>/#/static"
    );
    assert_eq!(json["mirror"]["percent"], 10.0);
    assert_eq!(json["answer"], Value::Null);
    let ids: Vec<_> = json["replicaSets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|set| set["id"].clone())
        .collect();
    assert_eq!(
        ids,
        [
            "/#/static/accounts-v1",
            "/#/static/accounts-v2",
            "/#/static/ledger"
        ]
    );
}

#[test]
fn listeners_of_other_modes() {
    let raw = explained(BANK, &request("GET", "/", &[], Some("raw"))).to_json();
    assert_eq!(raw["identification"]["name"], "/svc/ledger");
    assert_eq!(raw["destinations"][0]["bound"]["leaf"], "/#/static/ledger");
    let inbound = explained(
        BANK,
        &request("GET", "http://accounts/v1", &[], Some("inbound")),
    )
    .to_json();
    assert_eq!(
        inbound["destinations"][0]["bound"]["leaf"],
        "/$/inet/127.0.0.1/18080"
    );
    assert_eq!(
        inbound["replicaSets"][0]["endpoints"][0]["address"],
        "127.0.0.1:18080"
    );
    let missing = explain(
        &config(BANK),
        &Vocabulary,
        &|_| None,
        &request("GET", "a", &[], Some("no")),
    );
    assert_eq!(
        missing.unwrap_err(),
        "there is no listener \"no\"; there are outbound, open, inbound, raw"
    );
}

#[test]
fn names_that_only_dns_knows_bind_unresolved() {
    let text = explained(BANK, &request("GET", "split", &[], None)).to_text();
    assert!(text.contains("& 3 * /#/static/accounts-v1"), "{text}");
    assert!(
        text.contains("replica set  /#/dns/accounts.example/80   not resolved"),
        "{text}"
    );
    let text = explained(BANK, &request("GET", "named", &[], None)).to_text();
    assert!(
        text.contains("bound, host names not resolved, protocol same, 1 endpoint"),
        "{text}"
    );
    assert!(text.contains("db.example:5432   weight 1"), "{text}");
}

#[test]
fn files_are_read_offline() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("ledger"),
        "127.0.0.1 9100\n127.0.0.1 9101 * 0.5\n",
    )
    .unwrap();
    std::fs::write(dir.path().join("broken"), "127.0.0.1\n").unwrap();
    let mut config = config(BANK);
    config.files = Some(PathBuf::from(dir.path()));
    let offline = Offline::new(&config);
    let mut asked = request("GET", "ledger", &[], None);
    asked.set_dtab("/svc => /#/files").unwrap();
    let json = explain(&config, &offline, &|id| offline.set(id), &asked)
        .unwrap()
        .to_json();
    assert_eq!(json["replicaSets"][0]["id"], "/#/files/ledger");
    assert_eq!(
        json["replicaSets"][0]["endpoints"][1],
        json!({"address": "127.0.0.1:9101", "weight": 0.5})
    );
    let errors = offline.file_errors();
    assert!(
        errors.iter().any(|(name, _)| name.contains("broken")),
        "{errors:?}"
    );
}

#[test]
fn a_running_proxy_adds_scores() {
    let view = SetView {
        id: "/#/static/ledger".to_owned(),
        protocol: "http2".to_owned(),
        state: "bound".to_owned(),
        balancer: "p2c-peak-ewma".to_owned(),
        endpoints: vec![EndpointView {
            address: ([127, 0, 0, 1], 9021).into(),
            weight: 1.0,
            zone: Some("a".to_owned()),
            node: None,
            status: Status::Busy,
            ejected_ms: Some(1500),
            ewma_ms: Some(12.25),
            load: 24.5,
            in_flight: 1,
            requests: 10,
            failures: 5,
            connections: 2,
        }],
    };
    let live = |_: &Path| Some(view.clone().into());
    let explanation = explain(
        &config(BANK),
        &Vocabulary,
        &live,
        &request("GET", "ledger", &[], None),
    )
    .unwrap();
    let line = "127.0.0.1:9021   weight 1   busy, ejected, probe in 1500 ms   ewma 12.250 ms   load 24.5   in flight 1   zone a";
    assert!(
        explanation.to_text().contains(line),
        "{}",
        explanation.to_text()
    );
    assert_eq!(
        explanation.to_json()["replicaSets"][0]["endpoints"][0]["status"],
        "busy"
    );
}

#[test]
fn requests_that_cannot_be_are_refused_with_a_reason() {
    for (method, url, reason) in [
        ("GE T", "a", "is not an HTTP method"),
        ("GET", "http://", "is not a URL"),
        ("GET", "ftp://a/", "the scheme must be http or https"),
        ("GET", "http://a b/", "is not a URL"),
        ("GET", "", "is not a URL"),
    ] {
        let error = Request::new(method, url).unwrap_err();
        assert!(error.contains(reason), "{method} {url}: {error}");
    }
    let mut request = Request::new("GET", "a").unwrap();
    for (line, reason) in [
        ("x", "no colon"),
        (": v", "the name"),
        ("a: b\nc: d", "control character"),
    ] {
        let error = request.add_header(line).unwrap_err();
        assert!(error.contains(reason), "{line:?}: {error}");
    }
}
