//! Every answer that is the proxy's own: its status, `heddle-err`, body, count, and line in the access log agree.

use crate::support::{lines, log_of, metric, nobody};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, within};
use heddle_e2e::streams::{StreamClient, whole};
use heddle_e2e::wire::{Message, Wire};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a line may take to be written.
const SOON: Duration = Duration::from_secs(10);

/// A request and what is to come of it.
struct Case {
    listener: &'static str,
    /// From the request's first line to its body.
    sent: String,
    status: u16,
    /// The word in `heddle-err` and in the line's `error`.
    word: &'static str,
    /// The line's `refusal`; empty: none.
    refusal: &'static str,
    /// The line's `timer`; empty: none.
    timer: &'static str,
    /// The line's `end`.
    end: &'static str,
}

/// An answer for the name `host`, with more fields, each with its line end.
fn named(host: &str, fields: &str, status: u16, word: &'static str) -> Case {
    Case {
        listener: "outbound",
        sent: format!("POST /{host} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n{fields}\r\n"),
        status,
        word,
        refusal: "",
        timer: "",
        end: "complete",
    }
}

/// What the guard refuses.
fn guarded(sent: impl Into<String>, status: u16, refusal: &'static str) -> Case {
    Case {
        listener: "outbound",
        sent: sent.into(),
        status,
        word: "refused",
        refusal,
        timer: "",
        end: "proxy",
    }
}

impl Case {
    fn by(mut self, timer: &'static str) -> Self {
        self.timer = timer;
        self
    }

    fn at(mut self, listener: &'static str) -> Self {
        self.listener = listener;
        self
    }

    fn class(mut self, refusal: &'static str) -> Self {
        self.refusal = refusal;
        self
    }

    fn complete(mut self) -> Self {
        self.end = "complete";
        self
    }
}

/// The answers of heads that the guard refuses, one for each of its reasons and statuses.
fn refused_heads() -> Vec<Case> {
    let with = |fields: &str| format!("GET /x HTTP/1.1\r\nhost: echo\r\n{fields}\r\n");
    let long = "x".repeat(17_000);
    let many: String = (0..101).map(|n| format!("x-{n}: a\r\n")).collect();
    let hops = format!("via: {}1.1 a\r\n", "1.1 a, ".repeat(100));
    vec![
        guarded(
            "GET /x HTTP/1.1 a\r\nhost: echo\r\n\r\n",
            400,
            "request-line",
        ),
        guarded("GET /x HTTP/3.0\r\nhost: echo\r\n\r\n", 505, "version"),
        guarded("GET /x#y HTTP/1.1\r\nhost: echo\r\n\r\n", 400, "target"),
        guarded(with("host: other\r\n"), 400, "host"),
        guarded("GET /x HTTP/1.1\nhost: echo\n\n", 400, "line-end"),
        guarded(with("proxy: a\r\n"), 400, "name"),
        guarded(with("x-a: \x01\r\n"), 400, "value"),
        guarded(with("content-length: 1, 1\r\n"), 400, "framing"),
        guarded(with("transfer-encoding: gzip\r\n"), 501, "framing"),
        guarded(with("connection: host\r\n"), 400, "connection"),
        guarded(with("expect: the-unexpected\r\n"), 417, "expectation"),
        guarded(
            with("authorization: a\r\nauthorization: b\r\n"),
            400,
            "duplicate",
        ),
        guarded(
            format!("GET /{long} HTTP/1.1\r\nhost: echo\r\n\r\n"),
            414,
            "size",
        ),
        guarded(with(&many), 431, "size"),
        guarded(with(&hops), 400, "loop").complete(),
        guarded("\0\0\0\0\0\0\0\0", 400, "not-http").at("http"),
        guarded("GET /late HTTP/1.1\r\nhost: ec", 408, "header-timeout")
            .by("header")
            .at("hasty"),
    ]
}

/// Of bodies that are refused while no answer has begun: the request had a name by then.
fn refused_bodies() -> Vec<Case> {
    let with = |fields: &str, body: &str| {
        format!("POST /x HTTP/1.1\r\nhost: silent\r\n{fields}\r\n{body}")
    };
    let chunked = "transfer-encoding: chunked\r\n";
    vec![
        guarded(with(chunked, "zz\r\n"), 400, "chunk"),
        guarded(with(chunked, "0\r\nhost: a\r\n\r\n"), 400, "trailers"),
        guarded(with("content-length: 2\r\n", "a"), 408, "body-timeout")
            .by("body")
            .at("hasty"),
    ]
}

/// Of names and of what is behind them.
fn of_names() -> Vec<Case> {
    let late = "heddle-context: deadline=50\r\n";
    vec![
        named("stranger", "", 404, "no-such-name"),
        named("picky", "", 404, "no-such-name"),
        named("failing", "", 502, "name-failed"),
        named("empty", "", 503, "no-endpoints"),
        named("refuses", "", 502, "connect"),
        named("resets", "", 502, "upstream-reset"),
        named("babbles", "", 502, "protocol"),
        named("total", "", 504, "timeout").by("total"),
        named("attempt", "", 504, "timeout").by("attempt"),
        named("silent", late, 504, "deadline").by("deadline"),
        named("faulty", "", 503, "fault"),
        named("moved", "", 308, "rule"),
        named("fixed", "", 204, "rule"),
        named("echo", "", 400, "unidentified").at("by-header"),
        Case {
            sent: "CONNECT literal:80 HTTP/1.1\r\nhost: literal:80\r\n\r\n".to_owned(),
            ..named("literal", "", 403, "denied")
        },
        Case {
            sent: "CONNECT stranger:80 HTTP/1.1\r\nhost: stranger:80\r\n\r\n".to_owned(),
            ..named("stranger", "", 404, "no-such-name")
        },
        named("in", "", 502, "connect").at("inbound"),
        named("in", "heddle-context: deadline=0\r\n", 504, "deadline")
            .by("deadline")
            .class("deadline")
            .at("inbound"),
    ]
}

fn setup(echo: &Echo, silent: &Scripted, resets: &Scripted, babbles: &Scripted) -> Setup {
    let steady = "accrual: {consecutiveFailures: off, successRate: off}";
    let mut setup = Setup::default()
        .top("accessLog: {file: ./access.log}")
        .listener(
            "outbound",
            "dtab: |\n  /svc => /#/static ;\n  /svc/failing => ! ;\n  /svc/empty => $ ;\n  /svc/literal => /$/inet/127.0.0.1/1 ;",
        )
        .listener("http", "protocol: http")
        .listener("hasty", "limits: {headerTimeout: 300ms, bodyTimeout: 300ms}")
        .listener("by-header", "identify: [{header: x-name}]")
        .listener("inbound", &format!("mode: inbound\nforwardTo: {}", nobody()))
        .replicas("echo", &[echo.address()])
        .replicas("faulty", &[echo.address()])
        .replicas("refuses", &[nobody()])
        .replicas("resets", &[resets.address()])
        .replicas("babbles", &[babbles.address()])
        .document(
            "Fault",
            "faulty",
            "{service: faulty, percent: 100, abort: {status: 503}, until: 10m}",
        );
    for name in ["silent", "total", "attempt"] {
        setup = setup.replicas(name, &[silent.address()]);
    }
    for (name, rest) in [
        ("refuses", format!("rules: [{{to: refuses}}], {steady}")),
        ("resets", format!("rules: [{{to: resets}}], {steady}")),
        ("babbles", format!("rules: [{{to: babbles}}], {steady}")),
        ("silent", format!("rules: [{{to: silent}}], {steady}")),
        (
            "total",
            format!("timeout: 100ms, rules: [{{to: total}}], {steady}"),
        ),
        (
            "attempt",
            format!("attemptTimeout: 100ms, rules: [{{to: attempt}}], {steady}"),
        ),
        (
            "picky",
            "rules: [{match: {headers: {x-a: b}}, to: echo}]".to_owned(),
        ),
        (
            "moved",
            "rules: [{set: {redirect: {status: 308, location: /there}}}]".to_owned(),
        ),
        ("fixed", "rules: [{set: {status: 204}}]".to_owned()),
    ] {
        setup = setup.document("Route", name, &format!("{{service: {name}, {rest}}}"));
    }
    setup
}

/// The sample that counts a case.
fn sample(case: &Case, line: &Value) -> String {
    match (line["name"].as_str(), case.refusal) {
        (Some(_), "deadline") => format!(
            "heddle_shed_total{{listener=\"{}\",reason=\"deadline\"}}",
            case.listener
        ),
        (Some(name), "") => format!(
            "heddle_answers_total{{listener=\"{}\",service=\"{name}\",kind=\"{}\"}}",
            case.listener, case.word
        ),
        (_, reason) => format!(
            "heddle_refused_total{{listener=\"{}\",reason=\"{}\"}}",
            case.listener,
            if reason.is_empty() { case.word } else { reason }
        ),
    }
}

/// The reason that `heddle-err` gives, if it begins with `word`.
fn reason_of(answer: &Message, word: &str) -> Option<String> {
    let error = answer.head.get("heddle-err")?;
    let quoted = error.strip_prefix(word)?.strip_prefix("; reason=\"")?;
    let reason = quoted.strip_suffix('"')?;
    Some(reason.replace("\\\"", "\"").replace("\\\\", "\\"))
}

/// What an answer says otherwise than the case, or otherwise in its body than in its head.
fn answer_differs(case: &Case, answer: &Message, reason: Option<&str>) -> bool {
    let told = if matches!(case.word, "rule" | "fault") {
        answer.body.is_empty()
    } else {
        let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        problem["status"] == json!(case.status)
            && problem["kind"] == json!(case.word)
            && problem["detail"].as_str() == reason
    };
    answer.status() != case.status || reason.is_none() || !told
}

/// Fields of a line that are not as the case says.
fn fields_that_differ(case: &Case, line: &Value, reason: Option<&str>) -> Vec<String> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let expected = [
        ("listener", json!(case.listener)),
        ("status", json!(case.status)),
        ("error", json!(case.word)),
        ("reason", json!(reason)),
        ("refusal", json!(text(case.refusal))),
        ("timer", json!(text(case.timer))),
        ("end", json!(case.end)),
    ];
    let differ = expected
        .iter()
        .filter(|(field, value)| line[*field] != *value);
    differ
        .map(|(field, value)| format!("{field} is {}, not {value}", line[*field]))
        .collect()
}

pub(crate) fn every_answer_of_its_own_is_accounted_for() {
    let echo = Echo::start("echo");
    let silent = Scripted::silent();
    let resets = Scripted::resetting_after_request();
    let babbles = Scripted::start(|mut guest| {
        guest.request_head();
        guest.wire.send("this is no HTTP at all\r\n\r\n");
    });
    let proxy = Proxy::start(&setup(&echo, &silent, &resets, &babbles));
    let tables = [refused_heads(), refused_bodies(), of_names()];
    let mut counted: BTreeMap<String, f64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (number, case) in tables.iter().flatten().enumerate() {
        let what = &case.sent[..case.sent.len().min(80)];
        let mut wire = Wire::connect(proxy.address(case.listener));
        wire.send(&case.sent);
        let answer = wire.read_response();
        let reason = reason_of(&answer, case.word);
        if answer_differs(case, &answer, reason.as_deref()) {
            wrong.push(format!("{what:?}: {answer:?}"));
        }
        let mut all = Vec::new();
        within(SOON, &format!("a line for {what:?}"), || {
            all = lines(&log_of(&proxy));
            all.len() > number
        });
        assert_eq!(all.len(), number + 1, "one line for {what:?}: {all:?}");
        let differ = fields_that_differ(case, &all[number], reason.as_deref());
        wrong.extend(differ.iter().map(|differs| format!("{what:?}: {differs}")));
        let sample = sample(case, &all[number]);
        let count = counted.entry(sample.clone()).or_default();
        *count += 1.0;
        if metric(&proxy, &sample) != *count {
            wrong.push(format!("{what:?}: {sample} is not {count}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("GET / HTTP/1.1\r\nhost: echo\r\n\r\n");
    let fine = wire.read_response();
    assert_eq!((fine.status(), fine.head.get("heddle-err")), (200, None));
}

pub(crate) fn what_is_refused_unread_is_told_as_far_as_it_was_seen() {
    let proxy = Proxy::start(&Setup::new().top("accessLog: {file: ./access.log}"));
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("DELETE /accounts/7?token=secret HTTP/1.1\r\nhost: accounts\r\nhost: other\r\n\r\n");
    assert_eq!(wire.read_response().status(), 400);
    within(SOON, "a line", || lines(&log_of(&proxy)).len() == 1);
    let line = &lines(&log_of(&proxy))[0];
    for (field, value) in [
        ("method", json!("DELETE")),
        ("path", json!("/accounts/7")),
        ("authority", json!("accounts")),
        ("protocol", json!("http/1.1")),
        ("caller", json!("127.0.0.1")),
        ("name", Value::Null),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
}

/// The HTTP/2 library answers it before anybody else sees it.
pub(crate) fn a_head_that_unpacks_to_too_much_is_told_of_as_well() {
    const COUNT: &str = "heddle_refused_total{listener=\"outbound\",reason=\"h2-header-list\"}";
    let echo = Echo::start("echo");
    let proxy = Proxy::start(
        &Setup::new()
            .listener("outbound", "limits: {headerBytes: 1024}")
            .replicas("echo", &[echo.address()])
            .top("accessLog: {file: ./access.log}"),
    );
    let request = |number: usize, fields: usize| {
        let mut request = http::Request::get(format!("http://echo/{number}"));
        for field in 0..fields {
            request = request.header(format!("a{field}"), "b");
        }
        request.body(()).expect("a valid request")
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        let (client, _task) = StreamClient::connect(proxy.outbound()).await;
        let mut asked = Vec::new();
        for (number, fields) in [0, 40, 0, 40, 40, 0, 40].into_iter().enumerate() {
            let opened = client.open(request(number, fields), true).await;
            asked.push((fields, opened.expect("a stream opens").0));
        }
        for (fields, response) in asked {
            let status = whole(response).await.expect("an answer").status();
            assert_eq!(
                status,
                if fields == 0 { 200 } else { 431 },
                "{fields} fields"
            );
        }
    });
    within(SOON, "a line each", || lines(&log_of(&proxy)).len() == 7);
    let refused: Vec<Value> = lines(&log_of(&proxy))
        .into_iter()
        .filter(|line| line["status"] == 431)
        .collect();
    assert_eq!(refused.len(), 4);
    for line in refused {
        assert_eq!(line["refusal"], "h2-header-list", "{line}");
        assert_eq!(
            (&line["error"], &line["protocol"]),
            (&json!("refused"), &json!("http/2"))
        );
    }
    assert_eq!(metric(&proxy, COUNT), 4.0);
}
