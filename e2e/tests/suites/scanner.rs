//! SSLyze over a listener with TLS: nothing old, nothing weak, no known hole.

use crate::Suite;
use crate::place::in_front_of;
use crate::table::only_exceptions;
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::Need;
use heddle_e2e::process::run;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(120);

/// How long the certificate is good for; beyond a year public authorities issue none.
const LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

const NAME: &str = "sslyze";

pub(crate) const SUITES: &[Suite] = &[Suite {
    name: NAME,
    needs: &[Need::Sslyze],
    run: sslyze,
}];

/// An authority and a certificate for `localhost` and 127.0.0.1, in files.
pub(crate) struct Certificate {
    folder: TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let folder =
            TempDir::with_prefix("heddle-suites-").expect("the system has a temporary folder");
        let key = KeyPair::generate().expect("keys can be made");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "authority of the suites");
        let root = authority.self_signed(&key).expect("a sound authority");
        let issuer = Issuer::new(authority, key);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let today = date_time_ymd(1970, 1, 1) + now.expect("it is past 1970");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("sound names");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (today, today + LIFE);
        let key = KeyPair::generate().expect("keys can be made");
        let leaf = params.signed_by(&key, &issuer).expect("a sound request");
        for (file, text) in [
            ("ca.pem", root.pem()),
            ("leaf.pem", leaf.pem()),
            ("leaf.key", key.serialize_pem()),
        ] {
            std::fs::write(folder.path().join(file), text).expect("the folder is ours");
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The key `tls` of a listener.
    pub(crate) fn listener(&self) -> String {
        format!(
            "tls: {{certificates: [{{cert: {}, key: {}}}]}}",
            self.file("leaf.pem").display(),
            self.file("leaf.key").display()
        )
    }
}

fn sslyze() {
    let echo = Echo::start("scanned");
    let certificate = Certificate::new();
    let proxy = in_front_of(echo.address(), "http1", &certificate.listener());
    let report = certificate.file("report.json");
    let mut command = Need::Sslyze.command();
    command
        .args(["-W", "ignore", "-m", "sslyze", "--certinfo_ca_file"])
        .arg(certificate.file("ca.pem"))
        .args(["--mozilla_config=intermediate", "--json_out"])
        .arg(&report)
        .args(SCANS)
        .arg(format!("localhost:{}", proxy.outbound().port()));
    let finished = run(&mut command, LIMIT);
    let text = std::fs::read_to_string(&report).unwrap_or_else(|error| {
        panic!("no report: {error}: {}{}", finished.stdout, finished.stderr)
    });
    let report: Value = serde_json::from_str(&text).expect("the report is JSON");
    let servers = report["server_scan_results"]
        .as_array()
        .expect("a list of servers");
    assert_eq!(servers.len(), 1);
    assert_eq!(
        servers[0]["scan_status"], "COMPLETED",
        "{}",
        finished.stdout
    );
    judge(&servers[0]["scan_result"]);
    compare(&finished.stdout);
}

/// What SSLyze finds to differ from Mozilla's profile for servers of general use, by its own words for it.
fn compare(said: &str) {
    let (_, compliance) = said
        .split_once("COMPLIANCE AGAINST TLS CONFIGURATION")
        .unwrap_or_else(|| panic!("SSLyze compared nothing: {said}"));
    assert!(compliance.contains("\"intermediate\""), "{compliance}");
    let findings: BTreeMap<&str, &str> = compliance
        .lines()
        .filter_map(|line| line.trim().strip_prefix("* ")?.split_once(':'))
        .collect();
    let failed = findings.keys().map(|key| (*key).to_owned()).collect();
    only_exceptions(NAME, &failed, |key| format!("{key}:{}", findings[key]));
}

/// Everything there is to scan, but for the fields of HTTP.
const SCANS: [&str; 17] = [
    "--sslv2",
    "--sslv3",
    "--tlsv1",
    "--tlsv1_1",
    "--tlsv1_2",
    "--tlsv1_3",
    "--compression",
    "--early_data",
    "--openssl_ccs",
    "--fallback",
    "--heartbleed",
    "--robot",
    "--reneg",
    "--resum",
    "--elliptic_curves",
    "--ems",
    "--certinfo",
];

/// What each scan must have found: its name, where in its result, what stands there.
fn expectations() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        (
            "ssl_2_0_cipher_suites",
            "/is_tls_version_supported",
            json!(false),
        ),
        (
            "ssl_3_0_cipher_suites",
            "/is_tls_version_supported",
            json!(false),
        ),
        (
            "tls_1_0_cipher_suites",
            "/is_tls_version_supported",
            json!(false),
        ),
        (
            "tls_1_1_cipher_suites",
            "/is_tls_version_supported",
            json!(false),
        ),
        (
            "tls_1_2_cipher_suites",
            "/is_tls_version_supported",
            json!(true),
        ),
        (
            "tls_1_3_cipher_suites",
            "/is_tls_version_supported",
            json!(true),
        ),
        ("tls_compression", "/supports_compression", json!(false)),
        ("tls_1_3_early_data", "/supports_early_data", json!(false)),
        (
            "openssl_ccs_injection",
            "/is_vulnerable_to_ccs_injection",
            json!(false),
        ),
        ("tls_fallback_scsv", "/supports_fallback_scsv", json!(true)),
        ("heartbleed", "/is_vulnerable_to_heartbleed", json!(false)),
        (
            "robot",
            "/robot_result",
            json!("NOT_VULNERABLE_RSA_NOT_SUPPORTED"),
        ),
        (
            "session_renegotiation",
            "/supports_secure_renegotiation",
            json!(true),
        ),
        (
            "session_renegotiation",
            "/is_vulnerable_to_client_renegotiation_dos",
            json!(false),
        ),
        (
            "tls_extended_master_secret",
            "/supports_ems_extension",
            json!(true),
        ),
    ]
}

/// Suites of which each has forward secrecy and authenticated encryption.
const STRONG: [&str; 6] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Curves of at least 128 bits of security.
const CURVES: [&str; 3] = ["X25519", "secp256r1", "secp384r1"];

fn judge(scans: &Value) {
    let mut wrong = Vec::new();
    for (scan, place, expected) in expectations() {
        let found = scans[scan]["result"].pointer(place);
        if scans[scan]["status"] != "COMPLETED" || found != Some(&expected) {
            wrong.push(format!("{scan}{place}: {found:?} instead of {expected}"));
        }
    }
    let mut accepted: Vec<_> = ["tls_1_2_cipher_suites", "tls_1_3_cipher_suites"]
        .iter()
        .flat_map(|scan| {
            names(
                &scans[scan]["result"]["accepted_cipher_suites"],
                "/cipher_suite/name",
            )
        })
        .collect();
    accepted.sort_unstable();
    if accepted != STRONG {
        wrong.push(format!("cipher suites: {accepted:?}"));
    }
    let curves = names(
        &scans["elliptic_curves"]["result"]["supported_curves"],
        "/name",
    );
    if curves.is_empty() || curves.iter().any(|curve| !CURVES.contains(&curve.as_str())) {
        wrong.push(format!("curves: {curves:?}"));
    }
    let deployments = &scans["certificate_info"]["result"]["certificate_deployments"];
    let chain = deployments.pointer("/0/path_validation_results");
    let trusted = chain.and_then(Value::as_array).is_some_and(|results| {
        results
            .iter()
            .any(|result| result["was_validation_successful"] == json!(true))
    });
    if !trusted {
        wrong.push(format!("certificate: {chain:?}"));
    }
    assert!(wrong.is_empty(), "SSLyze finds:\n{}", wrong.join("\n"));
}

fn names(list: &Value, place: &str) -> Vec<String> {
    let entries = list.as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| Some(entry.pointer(place)?.as_str()?.to_owned()))
        .collect()
}
