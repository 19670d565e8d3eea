//! Autobahn's WebSocket cases, run by kosoku: none fails through the proxy that passes without it.

use crate::Suite;
use crate::place::{in_front_of, metric, without_proxy};
use heddle_e2e::needs::{Need, clients};
use heddle_e2e::process::{Running, run};
use heddle_e2e::scale;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(180);

/// The limit for all cases, of which some send a hundred thousand frames.
const LIMIT_OF_ALL: Duration = Duration::from_secs(1800);

/// Everything but most of 12 and 13 (compression), of which these are a sample.
const EVERYDAY: [&str; 14] = [
    "1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*", "12.1.1", "12.2.3", "12.4.2",
    "13.1.1", "13.3.2",
];

/// How many cases `EVERYDAY` names.
const EVERYDAY_CASES: usize = 306;

pub(crate) const SUITES: &[Suite] = &[Suite {
    name: "autobahn",
    needs: &[Need::Kosoku, Need::Ws],
    run: autobahn,
}];

fn autobahn() {
    let mut command = Need::Ws.command();
    let mut server = Running::start(command.arg(clients("node").join("websocket_server.mjs")));
    let address = server.wait_for_line("listening on ", LIMIT);
    let address: SocketAddr = address.parse().expect("the server prints its address");
    let proxy = in_front_of(address, "http1", "");
    let through = verdicts(proxy.outbound());
    let attempts = metric(&proxy, "heddle_attempts_total", "");
    assert!(
        attempts >= through.len() as f64,
        "{attempts} of {} connections went through the proxy",
        through.len()
    );
    let direct = verdicts(address);
    assert_eq!(
        direct.keys().collect::<Vec<_>>(),
        through.keys().collect::<Vec<_>>(),
        "the same cases"
    );
    let passed = direct.values().filter(|verdict| passes(verdict)).count();
    assert!(
        passed * 10 >= direct.len() * 9,
        "without the proxy only {passed} of {} cases pass: they show little",
        direct.len()
    );
    let worse: Vec<_> = through
        .iter()
        .filter(|(case, verdict)| !passes(verdict) && passes(&direct[*case]))
        .map(|(case, verdict)| format!("{case}: {verdict}; without the proxy {}", direct[case]))
        .collect();
    assert!(
        worse.is_empty(),
        "worse through the proxy:\n{}",
        worse.join("\n")
    );
}

/// Runs the cases against a server; what the suite says of each.
fn verdicts(address: SocketAddr) -> BTreeMap<String, Value> {
    let folder =
        TempDir::with_prefix("heddle-autobahn-").expect("the system has a temporary folder");
    let mut command = Need::Kosoku.command();
    without_proxy(&mut command);
    command.args([
        "-c",
        "import sys; from kosoku._cli import main; sys.exit(main())",
    ]);
    let limit = if scale() > 1 {
        LIMIT_OF_ALL
    } else {
        command.args(EVERYDAY.iter().flat_map(|cases| ["--include", cases]));
        LIMIT
    };
    command
        .args(["--parallelism", "4", "--outdir"])
        .arg(folder.path());
    // It ends with 1 where a case fails, which is for the comparison to judge.
    let finished = run(command.arg(address.to_string()), limit);
    let report =
        std::fs::read_to_string(folder.path().join("index.json")).unwrap_or_else(|error| {
            panic!("no report: {error}: {}{}", finished.stdout, finished.stderr)
        });
    let report: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    let verdicts: BTreeMap<_, _> = report.into_values().flatten().collect();
    if scale() == 1 {
        assert_eq!(verdicts.len(), EVERYDAY_CASES, "cases");
    } else {
        assert!(verdicts.len() > 500, "only {} cases", verdicts.len());
    }
    verdicts
}

/// Whether a case passes, by the suite's own words.
fn passes(verdict: &Value) -> bool {
    ["behavior", "behaviorClose"].iter().all(|part| {
        matches!(
            verdict[part].as_str(),
            Some("OK" | "NON-STRICT" | "INFORMATIONAL")
        )
    })
}
