use super::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

thread_local! {
    static READ: RefCell<BTreeSet<(&'static str, &'static str)>> = const { RefCell::new(BTreeSet::new()) };
}

/// Remembers that a decoder has asked for a key.
pub(super) fn note_read(object: &'static str, key: &'static str) {
    READ.with_borrow_mut(|read| read.insert((object, key)));
}

/// Files in memory.
#[derive(Default)]
pub(super) struct Memory(BTreeMap<PathBuf, Vec<u8>>, Option<&'static str>);

impl Memory {
    pub(super) fn with(mut self, file: &str, text: impl Into<Vec<u8>>) -> Self {
        self.0.insert(file.into(), text.into());
        self
    }
}

impl Source for Memory {
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        self.0
            .get(file)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let folder = if folder == Path::new(".") {
            Path::new("")
        } else {
            folder
        };
        let here = |file: &&PathBuf| file.parent() == Some(folder);
        let names = self
            .0
            .keys()
            .filter(here)
            .filter_map(|file| file.file_name());
        let names: Vec<_> = names
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        if names.is_empty() {
            Err(io::ErrorKind::NotFound.into())
        } else {
            Ok(names)
        }
    }
    fn env(&self, name: &str) -> Option<String> {
        self.1
            .filter(|_| name == "POD_NAMESPACE")
            .map(str::to_owned)
    }
    /// What the file `control-plane` holds.
    fn remote(&self, _: &ControlPlane) -> Vec<set::Sound> {
        let sent = self.0.get(Path::new("control-plane"));
        let text = sent.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let files = text.map(|text| vec![("control-plane".to_owned(), text)]);
        set::judge(&files.unwrap_or_default()).sound
    }
    /// Knows certificates and keys by their first word.
    fn inspect(&self, material: &Material<'_>) -> Vec<Flaw> {
        let (cert, of_key) = match material {
            Material::KeyPair { cert, key } => (cert, !key.starts_with(b"key")),
            Material::Authorities(pem) => (pem, false),
        };
        let flaw = |of_key, unusable, what: &str| {
            vec![Flaw {
                of_key,
                unusable,
                what: what.to_owned(),
            }]
        };
        match () {
            () if !cert.starts_with(b"certificate") => flaw(false, true, "it holds no certificate"),
            () if of_key => flaw(true, true, "it holds no private key, or an encrypted one"),
            () if cert.ends_with(b"expired\n") => {
                flaw(false, false, "the certificate expired 3 days ago")
            }
            () => Vec::new(),
        }
    }
}

/// The findings of a proxy's file alone, as `code line:column`.
fn findings(text: &str) -> Vec<String> {
    let source = Memory::default().with("p.yaml", text);
    let loaded = load(Some(Path::new("p.yaml")), &source);
    let told = loaded
        .findings
        .iter()
        .map(|f| format!("{} {}:{}", f.code, f.line, f.column));
    told.collect()
}

#[test]
fn the_file_of_the_design_is_read() {
    let main = r#"
admin: {listen: 127.0.0.1:0}
namespace: bank
listeners:
  - name: outbound
    listen: 127.0.0.1:0
    identify: [host, {header: x-name}, {path: {segments: 2, consume: true}}, method-host, {static: backend}]
  - name: inbound
    listen: 0.0.0.0:8080
    mode: inbound
    forwardTo: 127.0.0.1:18080
discovery:
  static:
    accounts-v1: [127.0.0.1:9001, 127.0.0.1:9002]
    accounts-v2: ["127.0.0.1:9011 * 2"]
    accounts-v3: [127.0.0.1:9013]
    ledger: {endpoints: ["127.0.0.1:9021"], protocol: http2}
rules: [./rules/*.yaml]
"#;
    let rules = r#"
apiVersion: heddle.dev/v1alpha1
kind: Route
metadata: {name: accounts}
spec:
  service: accounts
  rules:
    - match: {headers: {x-stage: v2}}
      to: accounts-v2
    - to: [{service: accounts-v1, weight: 95}, {service: accounts-v2, weight: 5}]
      stickyBy: header:x-user-id
      mirror: {to: accounts-v3, percent: 10}
      set: {requestHeaders: {x-a: b}, path: {prefix: /v2}}
  timeout: 2s
  attemptTimeout: 500ms
  retries: {on: [connect, refused-stream, 502, 503], max: 2, budget: {ratio: 0.2, minPerSecond: 10, window: 10s}, backoff: {base: 25ms, max: 250ms}}
  hedge: {percentile: 95}
  balancer: {kind: p2c-peak-ewma, decay: 10s}
  accrual: {consecutiveFailures: 5, successRate: {below: 0.8, window: 10s, minRequests: 5}, minProbe: 1s, maxProbe: 60s}
---
apiVersion: heddle.dev/v1alpha1
kind: Fault
metadata: {name: slow-accounts}
spec: {service: accounts, match: {}, percent: 10, delay: 200ms, abort: {status: 503}, until: 10m}
"#;
    let source = Memory::default()
        .with("etc/p.yaml", main)
        .with("etc/./rules/a.yaml", rules);
    let loaded = load(Some(Path::new("etc/p.yaml")), &source);
    assert_eq!(loaded.findings, []);
    let config = loaded.config.unwrap();
    assert_eq!(config.listeners.len(), 2);
    assert_eq!(config.listeners[0].identify.len(), 5);
    assert_eq!(config.clusters.len(), 4);
    let route = &config.routes[&("default".to_owned(), "accounts".to_owned())];
    assert_eq!(route.rules[1].to[0].path.to_string(), "/svc/accounts-v1");
    assert_eq!(route.timeout, Some(std::time::Duration::from_secs(2)));
    assert_eq!(config.faults.len(), 1);
    assert_eq!(config.files_read.len(), 2);
    assert_eq!(config.folders_read.len(), 1);
}

#[test]
fn without_a_file_there_is_a_default() {
    let loaded = load(None, &Memory(BTreeMap::new(), Some("bank")));
    let config = loaded.config.unwrap();
    assert_eq!(config.admin.to_string(), "127.0.0.1:9990");
    assert_eq!(config.listeners[0].listen.to_string(), "127.0.0.1:4140");
    assert_eq!(config.namespace, "bank");
    assert_eq!(config.listeners[0].base_dtab.to_string(), "/svc=>/#/static");
    assert_eq!(findings("{}"), [""; 0]);
}

/// Files on disk.
struct Disk;

impl Source for Disk {
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(file)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(folder)?.flatten();
        Ok(entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect())
    }
    fn env(&self, _: &str) -> Option<String> {
        None
    }
}

pub(super) fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

#[test]
fn every_example_is_without_findings() {
    let folder = repository("examples");
    let list = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let names = Disk.list(&folder).unwrap();
    let mut count = 0;
    for name in names.iter().filter(|name| name.ends_with(".yaml")) {
        let loaded = load(Some(&folder.join(name)), &Disk);
        if name.starts_with("tls-") {
            // Their certificates are made by whoever tries them; the end-to-end tests do.
            assert!(loaded.findings.iter().all(|f| f.code == "HED101"), "{name}");
            assert!(list.contains(&format!("[{name}]")), "{name}");
            continue;
        }
        let told: Vec<_> = loaded.findings.iter().map(ToString::to_string).collect();
        assert_eq!(told, [""; 0], "{name}");
        assert!(loaded.config.is_some(), "{name}");
        assert!(
            list.contains(&format!("[{name}]")),
            "{name} is not in examples/README.md"
        );
        count += 1;
    }
    assert!(count > 25, "{count}");
}

mod mistakes;
mod whole;
