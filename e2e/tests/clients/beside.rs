//! Clients under `heddle run`: nothing is set but what that sets for its program.

use crate::Row;
use crate::grpc;
use crate::place::{NAME, direct, without_exceptions, without_proxy};
use crate::steps;
use heddle_e2e::binary::heddle;
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::{Need, clients};
use heddle_e2e::process::succeed;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);
const WAY: &str = "under `heddle run`";
const GET: &str = "GET by name";

pub(crate) const ROWS: &[Row] = &[
    row("Python urllib", &[Need::Python], || {
        take_steps(
            Need::Python,
            &[],
            &file("python", "http_client.py"),
            "proxy",
        );
    }),
    row("Node http", &[Need::Node24], || {
        take_steps(
            Need::Node24,
            &[],
            &file("node", "http_client.mjs"),
            "proxy-http",
        );
    }),
    row("Node fetch", &[Need::Node24], || {
        take_steps(
            Need::Node24,
            &[],
            &file("node", "http_client.mjs"),
            "proxy-fetch",
        );
    }),
    row("Java HttpClient", &[Need::Java], || {
        take_steps(Need::Java, JAVA, &file("java", "HttpSteps.java"), "proxy-1");
    }),
    row("Java HttpURLConnection", &[Need::Java], || {
        take_steps(
            Need::Java,
            JAVA,
            &file("java", "HttpSteps.java"),
            "proxy-url",
        );
    }),
    row("Go net/http", &[Need::Go], || {
        take_steps(Need::Go, &[], "http", "proxy-1");
    }),
    one("curl", &[Need::Curl], || {
        get(Need::Curl, &["-sS", "http://echo/x"]);
    }),
    one("Perl HTTP::Tiny", &[Need::Perl], || {
        get(
            Need::Perl,
            &[
                "-MHTTP::Tiny",
                "-e",
                "print HTTP::Tiny->new->get('http://echo/x')->{content}",
            ],
        );
    }),
    one("Ruby Net::HTTP", &[Need::Ruby], || {
        get(
            Need::Ruby,
            &[
                "-rnet/http",
                "-e",
                "print Net::HTTP.get(URI('http://echo/x'))",
            ],
        );
    }),
    calls("grpcio", &[Need::Grpcio], || {
        call(Need::Grpcio, &file("python", "grpc_client.py"));
    }),
    calls("grpc-js", &[Need::GrpcJs, Need::Grpcio], || {
        call(Need::GrpcJs, &file("node", "grpc_client.mjs"));
    }),
];

/// A quick start; the proxy comes from the environment.
const JAVA: &[&str] = &["-Xshare:auto", "-XX:TieredStopAtLevel=1"];

const fn row(client: &'static str, needs: &'static [Need], run: fn()) -> Row {
    Row {
        client,
        way: WAY,
        shows: steps::SHOWS,
        needs,
        run,
    }
}

const fn one(client: &'static str, needs: &'static [Need], run: fn()) -> Row {
    Row {
        shows: GET,
        ..row(client, needs, run)
    }
}

const fn calls(client: &'static str, needs: &'static [Need], run: fn()) -> Row {
    Row {
        shows: grpc::CASES,
        ..row(client, needs, run)
    }
}

fn file(language: &str, name: &str) -> String {
    clients(language).join(name).display().to_string()
}

/// What a program under `heddle run` prints, where the name is the service at this address.
fn beside(service: SocketAddr, program: Need, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let config = folder.path().join("job.yaml");
    let text = format!(
        "admin: {{listen: 127.0.0.1:0}}\nlisteners: [{{name: outbound, listen: 127.0.0.1:0}}]\ndiscovery: {{static: {{{NAME}: [\"{service}\"]}}}}\n"
    );
    std::fs::write(&config, text).expect("the folder is ours");
    let mut command = Command::new(heddle());
    without_proxy(&mut command);
    without_exceptions(&mut command);
    for name in ["JAVA_TOOL_OPTIONS", "NODE_USE_ENV_PROXY"] {
        command.env_remove(name);
    }
    let words: Vec<OsString> = vec!["run".into(), "-c".into(), config.into(), "--".into()];
    command.args(words).arg(program.program()).args(arguments);
    succeed(command.current_dir(clients("node")), LIMIT)
}

/// The steps of all clients.
fn take_steps(program: Need, options: &[&str], script: &str, how: &str) {
    if direct() {
        return;
    }
    let echo = Echo::start(NAME);
    // The address is that of rows which are told where the proxy is.
    let arguments = [options, &[script, how, "127.0.0.1:1", NAME]].concat();
    steps::check(&beside(echo.address(), program, &arguments), "HTTP/1.1");
    assert_eq!(echo.requests(), 26, "each request arrived once");
}

/// One request, of a client that prints what it gets.
fn get(program: Need, arguments: &[&str]) {
    if direct() {
        return;
    }
    let echo = Echo::start(NAME);
    let output = beside(echo.address(), program, arguments);
    assert!(output.contains("\"/x\""), "{output}");
    assert_eq!(echo.requests(), 1);
}

/// The cases of gRPC clients.
fn call(program: Need, script: &str) {
    if direct() {
        return;
    }
    let (_server, address) = grpc::serve();
    let target = format!("{NAME}:80");
    grpc::check_all(
        &beside(address, program, &[script, "proxy", &target, NAME]),
        true,
    );
}
