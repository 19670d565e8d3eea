//! Whose answer it is: `heddle-err` on each answer that the proxy makes of an error, and on no other.

use crate::support::{ask, nobody};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::Scripted;

pub(crate) fn every_answer_of_the_proxys_own_says_so() {
    let echo = Echo::start("echo");
    let silent = Scripted::silent();
    let resets = Scripted::resetting_after_request();
    let babbles = Scripted::start(|mut guest| {
        guest.request_head();
        guest.wire.send("this is no HTTP at all\r\n\r\n");
    });
    let setup = Setup::default()
        .listener(
            "outbound",
            "dtab: |\n  /svc => /#/static ;\n  /svc/failing => ! ;\n  /svc/empty => $ ;",
        )
        .replicas("echo", &[echo.address()])
        .replicas("refuses", &[nobody()])
        .replicas("resets", &[resets.address()])
        .replicas("babbles", &[babbles.address()])
        .replicas("slow", &[silent.address()])
        .replicas("faulty", &[echo.address()])
        .document("Route", "refuses", "{service: refuses, rules: [{to: refuses}], accrual: {consecutiveFailures: off, successRate: off}}")
        .document("Route", "resets", "{service: resets, rules: [{to: resets}], accrual: {consecutiveFailures: off, successRate: off}}")
        .document("Route", "babbles", "{service: babbles, rules: [{to: babbles}], accrual: {consecutiveFailures: off, successRate: off}}")
        .document(
            "Route",
            "slow",
            "{service: slow, timeout: 100ms, rules: [{to: slow}]}",
        )
        .document(
            "Route",
            "picky",
            "{service: picky, rules: [{match: {headers: {x-a: b}}, to: echo}]}",
        )
        .document(
            "Fault",
            "faulty",
            "{service: faulty, percent: 100, abort: {status: 503}, until: 10m}",
        );
    let proxy = Proxy::start(&setup);
    for (host, extra, kind) in [
        ("stranger", "", "no-such-name"),
        ("failing", "", "name-failed"),
        ("empty", "", "no-endpoints"),
        ("picky", "", "no-such-name"),
        ("refuses", "", "connect"),
        ("resets", "", "upstream-reset"),
        ("babbles", "", "protocol"),
        ("slow", "", "timeout"),
        ("slow", "heddle-context: deadline=50\r\n", "deadline"),
        ("faulty", "", "fault"),
        ("echo", "expect: the-unexpected\r\n", "refused"),
        ("echo", "host: other\r\n", "refused"),
    ] {
        for grpc in [false, true] {
            let media = if grpc {
                "content-type: application/grpc\r\n"
            } else {
                ""
            };
            let answer = ask(
                &proxy,
                format!(
                    "POST / HTTP/1.1\r\nhost: {host}\r\n{extra}{media}content-length: 0\r\n\r\n"
                ),
            );
            let error = answer.head.get("heddle-err").unwrap_or_default();
            assert!(
                error.starts_with(&format!("{kind};")) && error.contains("reason=\""),
                "{host} {extra:?} grpc={grpc}: {answer:?}"
            );
        }
    }
    let target = "CONNECT stranger:80 HTTP/1.1\r\nhost: stranger:80\r\n\r\n";
    assert!(
        ask(&proxy, target).head.get("heddle-err").is_some(),
        "CONNECT"
    );
    let fine = ask(&proxy, "GET / HTTP/1.1\r\nhost: echo\r\n\r\n");
    assert_eq!((fine.status(), fine.head.get("heddle-err")), (200, None));
}
