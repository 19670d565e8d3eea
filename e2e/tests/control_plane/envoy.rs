//! Envoy as a client: it takes everything without a refusal, and does as the rules say.

use crate::support::{cluster, document, get, server};
use heddle_e2e::control_plane::{ControlPlane, free};
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::Need;
use heddle_e2e::process::Running;
use heddle_e2e::script::{eventually, within};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tempfile::TempDir;

/// How long Envoy may take to start on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A running Envoy that has everything from a control plane.
struct Envoy {
    running: Running,
    outbound: SocketAddr,
    _folder: TempDir,
}

impl Envoy {
    fn start(plane: &ControlPlane, api: &str) -> Self {
        let folder =
            TempDir::with_prefix("heddle-envoy-").expect("the system has a temporary folder");
        let [admin] = free();
        let xds = plane.xds();
        let file = format!(
            "node: {{id: envoy-1, cluster: test}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}
dynamic_resources:
  ads_config: {{api_type: {api}, transport_api_version: V3, grpc_services: [{{envoy_grpc: {{cluster_name: xds}}}}]}}
  lds_config: {{ads: {{}}, resource_api_version: V3}}
  cds_config: {{ads: {{}}, resource_api_version: V3}}
static_resources:
  clusters:
    - name: xds
      connect_timeout: 1s
      type: STATIC
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {{http2_protocol_options: {{}}}}
      load_assignment:
        cluster_name: xds
        endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}}}]}}]
",
            admin.port(),
            xds.port()
        );
        let path = folder.path().join("envoy.yaml");
        std::fs::write(&path, file).expect("the folder is ours");
        let mut command = Need::Envoy.command();
        command.arg("-c").arg(&path).args([
            "--concurrency",
            "1",
            "--use-dynamic-base-id",
            "-l",
            "warning",
        ]);
        let mut envoy = Self {
            running: Running::start(&mut command),
            outbound: plane.outbound(),
            _folder: folder,
        };
        within(START, "Envoy listens", || {
            assert!(
                envoy.running.is_alive(),
                "Envoy ended:\n{}\n{}",
                envoy.running.output(),
                plane.log()
            );
            TcpStream::connect(envoy.outbound).is_ok()
        });
        envoy
    }

    fn ask(&self, host: &str, target: &str, lines: &str) -> String {
        server(&get(self.outbound, host, target, lines))
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.running.stop();
        if std::thread::panicking() {
            eprintln!("--- Envoy said:\n{}---", self.running.output());
        }
    }
}

pub(crate) fn requests_flow_as_the_rules_say() {
    flow("GRPC");
}

pub(crate) fn requests_flow_by_differences_too() {
    flow("DELTA_GRPC");
}

fn flow(api: &str) {
    let (v1, v2, far) = (Echo::start("v1"), Echo::start("v2"), Echo::start("far"));
    let sets = cluster("accounts-v1", v1.address()) + &cluster("accounts-v2", v2.address());
    let rules = |default: &str| {
        document(
            "Route",
            "accounts",
            &format!(
                "{{service: accounts, timeout: 5s, rules: [
  {{match: {{headers: {{x-stage: v2}}}}, to: accounts-v2}},
  {{match: {{path: {{prefix: /split}}}}, to: [{{service: accounts-v1, weight: 1}}, {{service: accounts-v2, weight: 1}}]}},
  {{match: {{path: {{prefix: /half}}}}, to: [{{service: accounts-v1, weight: 1}}, {{service: nobody, weight: 1}}]}},
  {{match: {{path: /gone, method: [GET]}}, set: {{status: 410}}}},
  {{match: {{query: {{q: {{regex: 'a+'}}}}}}, to: /$/inet/127.0.0.1/{}}},
  {{to: {default}, set: {{requestHeaders: {{x-seen: '50%'}}, responseHeaders: {{x-by: rule}}}}}}]}}",
                far.address().port()
            ),
        )
    };
    let dtab = document(
        "Dtab",
        "alias",
        "{dtab: '/svc/konten => /svc/accounts-v1 ;'}",
    );
    let plane = ControlPlane::start(&[
        ("sets.yaml", &sets),
        ("rules.yaml", &(rules("accounts-v1") + &dtab)),
    ]);
    let envoy = Envoy::start(&plane, api);
    eventually("the default goes to v1", || {
        envoy.ask("accounts", "/", "") == "v1"
    });
    let table = [
        ("accounts:80", "/", "", "v1"),
        ("accounts.default", "/", "", "v1"),
        ("accounts", "/", "x-stage: v2\r\n", "v2"),
        ("accounts", "/", "x-stage: v3\r\n", "v1"),
        ("accounts", "/gone", "", "410"),
        ("accounts", "/gone/not", "", "v1"),
        ("accounts", "/splitter?q=aa", "", "far"),
        ("accounts", "/?q=ab", "", "v1"),
        ("accounts-v2", "/", "", "v2"),
        ("konten", "/", "", "v1"),
        ("stranger", "/", "", "404"),
    ];
    for (host, target, lines, expected) in table {
        assert_eq!(
            envoy.ask(host, target, lines),
            expected,
            "{host} {target} {lines}"
        );
    }
    let answer = get(envoy.outbound, "accounts", "/", "");
    assert_eq!(answer.head.get("x-by").as_deref(), Some("rule"));
    assert!(
        answer.json()["headers"].to_string().contains("50%"),
        "{}",
        answer.json()
    );
    let split: Vec<_> = (0..200)
        .map(|_| envoy.ask("accounts", "/split", ""))
        .collect();
    let first = split.iter().filter(|server| *server == "v1").count();
    assert!((60..140).contains(&first), "{first} of 200 went to v1");
    let half: Vec<_> = (0..100)
        .map(|_| envoy.ask("accounts", "/half", ""))
        .collect();
    let failed = half.iter().filter(|server| *server == "503").count();
    assert!((20..80).contains(&failed), "{failed} of 100 went to nobody");

    plane.write("rules.yaml", &rules("accounts-v2"));
    eventually("the default goes to v2", || {
        envoy.ask("accounts", "/", "") == "v2"
    });
    assert_eq!(envoy.ask("konten", "/", ""), "404", "its dtab is gone");
    plane.write("rules.yaml", &rules("[]"));
    eventually("the mistake is told", || {
        plane.ask("/mesh").text().contains("HED216")
    });
    plane.write(
        "sets.yaml",
        &(cluster("accounts-v1", v1.address()) + &cluster("accounts-v2", far.address())),
    );
    eventually("the endpoints change alone", || {
        envoy.ask("accounts", "/", "") == "far"
    });
    let metrics = plane.ask("/metrics").text();
    assert!(!metrics.contains("refusals_total{"), "{metrics}");
    plane.wait_until_synced(1);
}

pub(crate) fn changes_break_no_request() {
    let echo = Echo::start("always");
    let mesh = |version: usize| {
        cluster(&format!("accounts-v{version}"), echo.address())
            + &document(
                "Route",
                "accounts",
                &format!("{{service: accounts, rules: [{{to: accounts-v{version}}}]}}"),
            )
    };
    let mut plane = ControlPlane::start(&[("mesh.yaml", &mesh(0))]);
    let envoy = Envoy::start(&plane, "DELTA_GRPC");
    eventually("it is there", || envoy.ask("accounts", "/", "") == "always");
    for version in 1..=10 {
        plane.write("mesh.yaml", &mesh(version));
        let name = format!("accounts-v{version}");
        eventually("the new set is served and the old one is gone", || {
            assert_eq!(
                envoy.ask("accounts", "/", ""),
                "always",
                "while it changes to {version}"
            );
            envoy.ask(&name, "/", "") == "always"
                && envoy.ask(&format!("accounts-v{}", version - 1), "/", "") == "404"
        });
    }
    plane.wait_until_synced(1);
    plane.kill();
    for _ in 0..50 {
        assert_eq!(
            envoy.ask("accounts", "/", ""),
            "always",
            "without a control plane"
        );
    }
    plane.restart();
    plane.wait_until_synced(1);
    plane.write("mesh.yaml", &mesh(20));
    eventually("it is followed again", || {
        envoy.ask("accounts-v20", "/", "") == "always"
    });
}
