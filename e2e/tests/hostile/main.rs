//! Hostile HTTP/1 in front of foreign servers: nothing of the corpus is accepted, nothing is seen by a server, and
//! what clients do send arrives with its one meaning.
//!
//! A server that is not installed is a failure where `CI=true`, and elsewhere a skip with its name and reason.

mod corpus;
mod legitimate;
mod rules;
mod servers;

use heddle_core::detect::{DETECT_MAX, Detected, detect};
use heddle_e2e::needs::Need;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::within;
use heddle_e2e::wire::{Ending, Wire};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use servers::{KINDS, Kind, Server};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// A refusal comes at once; this is for busy machines.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let mut trials: Vec<_> = KINDS
        .iter()
        .flat_map(|&kind| {
            [
                trial("corpus", kind, nothing_of_the_corpus_gets_through),
                trial("clients", kind, what_clients_send_has_one_meaning),
            ]
        })
        .collect();
    trials.push(Trial::test("corpus_is_large_and_has_no_doubles", || {
        let mut all: Vec<_> = corpus::cases("server")
            .into_iter()
            .map(|case| case.bytes)
            .collect();
        let count = all.len();
        all.sort();
        let doubles: Vec<_> = all
            .windows(2)
            .filter(|two| two[0] == two[1])
            .map(|two| two[0].escape_ascii().to_string())
            .collect();
        assert!(
            count >= 400 && doubles.is_empty(),
            "{count} cases, of them twice: {doubles:?}"
        );
        Ok(())
    }));
    trials.extend(rules::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(what: &str, kind: Kind, run: fn(Kind)) -> Trial {
    let name = format!("{what}_{}", kind.name);
    Trial::ignorable_test(name.clone(), move || match kind.need.version() {
        Ok(_) => {
            run(kind);
            Ok(Completion::Completed)
        }
        Err(missing) if std::env::var("CI").is_ok_and(|value| value == "true") => {
            Err(Failed::from(missing))
        }
        Err(missing) => {
            eprintln!("skipped {name}: {missing}");
            Ok(Completion::ignored_with(missing))
        }
    })
}

/// A proxy that knows the server by name, and stands in front of it as well.
fn in_front_of(kind: Kind, server: &Server) -> Proxy {
    let inbound = format!("mode: inbound\nforwardTo: {}", server.address);
    Proxy::start(
        &Setup::new()
            .listener("inbound", &inbound)
            .replicas(kind.name, &[server.address]),
    )
}

fn nothing_of_the_corpus_gets_through(kind: Kind) {
    let server = Server::start(kind);
    let proxy = in_front_of(kind, &server);
    let mut failures = String::new();
    let mut count = 0;
    for case in corpus::cases(kind.name) {
        let mut listeners = vec![proxy.outbound()];
        let first = &case.bytes[..case.bytes.len().min(DETECT_MAX)];
        // In front of a service, what is no HTTP at all is the service's own protocol.
        if detect(first) == Detected::Http1 {
            listeners.push(proxy.address("inbound"));
        }
        for address in listeners {
            count += 1;
            if let Err(why) = refused(address, &case.bytes) {
                let shown = case.bytes[..case.bytes.len().min(200)].escape_ascii();
                writeln!(failures, "{}: {why}\n    {shown}", case.class)
                    .expect("a string takes all");
            }
        }
    }
    assert!(failures.is_empty(), "of {count}:\n{failures}");
    // The server's own view, once it has certainly written all of it.
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(format!(
        "GET /control HTTP/1.1\r\nHost: {}\r\n\r\n",
        kind.name
    ));
    assert_eq!(wire.read_response().status(), 200);
    within(PATIENCE, "the server tells of the last request", || {
        server
            .seen()
            .iter()
            .any(|seen| seen.starts_with("GET /control"))
    });
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "the server has seen {seen:?}");
}

/// Whether a message is refused on a connection of its own, and nothing behind it answered.
fn refused(address: SocketAddr, bytes: &[u8]) -> Result<(), String> {
    let mut wire = Wire::connect(address);
    wire.set_patience(PATIENCE);
    wire.try_send(bytes);
    let (answer, ending) = wire.read_to_end();
    let answer = String::from_utf8_lossy(&answer);
    if ending == Ending::Open {
        return Err(format!("the connection stays open after {answer:?}"));
    }
    let statuses: Vec<_> = answer
        .match_indices("HTTP/1.")
        .filter_map(|(at, _)| answer.get(at + 9..at + 12))
        .filter(|status| status.bytes().all(|byte| byte.is_ascii_digit()) && *status != "100")
        .collect();
    match statuses[..] {
        [] => Ok(()),
        [status] if status.starts_with(['4', '5']) => Ok(()),
        _ => Err(format!("answered {statuses:?}")),
    }
}

fn what_clients_send_has_one_meaning(kind: Kind) {
    let server = Server::start(kind);
    let proxy = in_front_of(kind, &server);
    let mut expected = Vec::new();
    for case in legitimate::cases(kind.name) {
        // Java's HttpServer breaks the connection off at any trailer, without a proxy as well.
        if kind.need == Need::Java && case.seen == "POST /trailers 5" {
            continue;
        }
        // Once whole, once byte by byte.
        for piece in [usize::MAX, 1] {
            let mut wire = Wire::connect(proxy.outbound());
            wire.dribble(&case.bytes, piece, Duration::ZERO);
            let answer = wire.read_response();
            assert_eq!(answer.status(), 200, "{:?}: {}", case.bytes, answer.text());
            expected.push(case.seen.to_owned());
        }
    }
    within(PATIENCE, "the server tells of every request", || {
        server.seen().len() >= expected.len()
    });
    // nginx says - where there is no length, and does not count the chunks it has read.
    let plain = |seen: &String| {
        let (request, length) = seen.rsplit_once(' ').expect("three words");
        let length = if kind.name == "nginx" && length == "-" {
            "0"
        } else {
            length
        };
        format!("{request} {length}")
    };
    let seen: Vec<_> = server.seen().iter().map(plain).collect();
    assert_eq!(seen, expected);
}
