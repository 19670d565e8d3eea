//! The watcher on real files. Every wait polls a condition up to a deadline.

use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use tempfile::TempDir;

/// Longer than any change should take, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(10);

struct Rig {
    dir: TempDir,
    watcher: Arc<Watcher>,
    applied: Arc<Mutex<Vec<Arc<ProxyConfig>>>>,
    /// What `apply` says next.
    refusal: Arc<Mutex<Option<String>>>,
    running: tokio::task::JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn main_file(namespace: &str) -> String {
    format!("namespace: {namespace}\nadmin: {{listen: 127.0.0.1:0}}\nrules: [./rules/*.yaml]\n")
}

fn cluster(name: &str, port: u16) -> String {
    format!(
        "apiVersion: heddle.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}}}\nspec: {{endpoints: [\"127.0.0.1:{port}\"]}}\n"
    )
}

impl Rig {
    /// Writes a first configuration with `prepare`, starts, and watches.
    async fn start(prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("rules")).unwrap();
        prepare(dir.path());
        let watcher = Watcher::new(Some(dir.path().join("heddle.yaml")), Metrics::new(100));
        let applied = Arc::new(Mutex::new(Vec::new()));
        let refusal = Arc::new(Mutex::new(None));
        let first = watcher
            .start(Ok)
            .unwrap_or_else(|refusal| panic!("{refusal}"));
        applied.lock().unwrap().push(first);
        let apply = {
            let (applied, refusal) = (Arc::clone(&applied), Arc::clone(&refusal));
            move |config| {
                let refused = refusal.lock().unwrap().take();
                if refused.is_none() {
                    applied.lock().unwrap().push(config);
                }
                std::future::ready(refused.map_or(Ok(()), Err))
            }
        };
        let running = tokio::spawn(Arc::clone(&watcher).run(apply));
        Self {
            dir,
            watcher,
            applied,
            refusal,
            running,
        }
    }

    async fn simple() -> Self {
        Self::start(|dir| {
            fs::write(dir.join("heddle.yaml"), main_file("one")).unwrap();
            fs::write(dir.join("rules/a.yaml"), cluster("a", 1)).unwrap();
        })
        .await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The running configuration: namespace and clusters with their ports.
    fn shown(&self) -> String {
        let applied = self.applied.lock().unwrap();
        let config = applied.last().unwrap();
        let clusters = config
            .clusters
            .values()
            .map(|cluster| match &cluster.source {
                heddle_core::config::ClusterSource::Endpoints(endpoints) => {
                    format!(" {}:{}", cluster.name, endpoints.len())
                }
                heddle_core::config::ClusterSource::Dns { .. } => format!(" {}:dns", cluster.name),
            });
        format!("{}{}", config.namespace, clusters.collect::<String>())
    }

    fn count(&self) -> usize {
        self.applied.lock().unwrap().len()
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) -> Duration {
        let started = Instant::now();
        while !condition(self) {
            assert!(
                started.elapsed() < DEADLINE,
                "{what} did not happen; running: {}, {:?}",
                self.shown(),
                self.watcher.status()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        started.elapsed()
    }

    async fn becomes(&self, expect: &str) -> Duration {
        self.until(expect, |rig| rig.shown() == expect).await
    }

    async fn is_refused(&self, what: &str) {
        self.until(what, |rig| rig.watcher.status().last_error.is_some())
            .await;
    }
}

#[tokio::test]
async fn every_way_to_change_a_file_applies_within_a_second() {
    let rig = Rig::simple().await;
    assert_eq!(rig.shown(), "one a:1");
    let mut slowest = Duration::ZERO;
    rig.write("heddle.yaml", &main_file("in-place"));
    slowest = slowest.max(rig.becomes("in-place a:1").await);
    rig.write("new.yaml", &main_file("renamed"));
    fs::rename(rig.path("new.yaml"), rig.path("heddle.yaml")).unwrap();
    slowest = slowest.max(rig.becomes("renamed a:1").await);
    rig.write("rules/b.yaml", &cluster("b", 2));
    slowest = slowest.max(rig.becomes("renamed a:1 b:1").await);
    rig.write("rules/b.yaml", &cluster("c", 2));
    slowest = slowest.max(rig.becomes("renamed a:1 c:1").await);
    fs::remove_file(rig.path("heddle.yaml")).unwrap();
    rig.write("heddle.yaml", &main_file("recreated"));
    slowest = slowest.max(rig.becomes("recreated a:1 c:1").await);
    assert!(
        slowest < Duration::from_millis(1500),
        "the slowest change took {slowest:?}"
    );
    let status = rig.watcher.status();
    assert_eq!(
        (status.generation, rig.count()),
        (6, 6),
        "each change applies once"
    );
    assert!(status.last_error.is_none() && status.last_ok_at.is_some());
}

#[tokio::test]
async fn a_swapped_link_applies_as_kubernetes_swaps_mounted_files() {
    let version = |dir: &Path, number: u16| {
        let folder = dir.join(format!("..v{number}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("heddle.yaml"), main_file(&format!("v{number}"))).unwrap();
        symlink(format!("..v{number}"), dir.join("..new")).unwrap();
        fs::rename(dir.join("..new"), dir.join("..data")).unwrap();
    };
    let rig = Rig::start(|dir| {
        version(dir, 1);
        symlink("..data/heddle.yaml", dir.join("heddle.yaml")).unwrap();
    })
    .await;
    for number in 2..5 {
        version(rig.dir.path(), number);
        rig.becomes(&format!("v{number}")).await;
        fs::remove_dir_all(rig.path(&format!("..v{}", number - 1))).unwrap();
    }
    assert_eq!(rig.count(), 4);
}

#[tokio::test]
async fn half_written_files_are_not_read() {
    let rig = Rig::simple().await;
    let text = main_file("slowly");
    let (first, second) = text.split_at(8);
    rig.write("heddle.yaml", first);
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.write("heddle.yaml", &format!("{first}{second}"));
    rig.becomes("slowly a:1").await;
    assert_eq!(rig.count(), 2, "what was half written was not applied");
}

#[tokio::test]
async fn an_empty_or_missing_file_counts_after_a_second() {
    let rig = Rig::simple().await;
    let second = Duration::from_millis(990);
    rig.write("rules/a.yaml", "");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.shown(), "one a:1", "truncated, about to be written");
    rig.write("rules/a.yaml", &cluster("b", 2));
    rig.becomes("one b:1").await;
    assert_eq!(rig.count(), 2);

    rig.write("rules/a.yaml", " \n");
    assert!(rig.becomes("one").await >= second, "emptied");
    rig.write("rules/a.yaml", &cluster("c", 3));
    rig.becomes("one c:1").await;
    fs::remove_file(rig.path("rules/a.yaml")).unwrap();
    assert!(rig.becomes("one").await >= second, "removed");

    rig.write("heddle.yaml", &main_file("two"));
    rig.becomes("two").await;
    fs::remove_file(rig.path("heddle.yaml")).unwrap();
    rig.is_refused("the loss of the main file").await;
    assert_eq!(rig.shown(), "two");
    rig.write("heddle.yaml", &main_file("three"));
    rig.becomes("three").await;
}

#[tokio::test]
async fn an_invalid_change_is_refused_and_reported_and_the_last_good_stays() {
    let rig = Rig::simple().await;
    rig.write("rules/bad.yaml", "kind: Nonsense\n");
    rig.is_refused("an unknown kind").await;
    assert_eq!(
        (rig.shown().as_str(), rig.watcher.status().generation),
        ("one a:1", 1)
    );
    match &rig.watcher.status().last_error {
        Some(Refusal::Invalid(findings)) => {
            assert!(
                findings
                    .iter()
                    .any(|finding| finding.file.ends_with("bad.yaml")),
                "{findings:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    rig.write("rules/good.yaml", &cluster("g", 1));
    let attempted = rig.watcher.status().last_attempt_at;
    rig.until("another attempt", |rig| {
        rig.watcher.status().last_attempt_at != attempted
    })
    .await;
    assert_eq!(rig.shown(), "one a:1", "refused as a whole");
    rig.write("rules/bad.yaml", &cluster("b", 2));
    rig.becomes("one a:1 b:1 g:1").await;
    assert!(rig.watcher.status().last_error.is_none());
    assert!(
        rig.watcher
            .metrics
            .render()
            .contains("heddle_config_reloads_total{result=\"failed\"} 2")
    );
}

#[tokio::test]
async fn what_cannot_be_applied_counts_as_refused_and_can_be_forced() {
    let rig = Rig::simple().await;
    *rig.refusal.lock().unwrap() = Some("127.0.0.1:4140 is in use".into());
    rig.write("heddle.yaml", &main_file("two"));
    rig.is_refused("a listener without an address").await;
    assert!(
        matches!(&rig.watcher.status().last_error, Some(Refusal::NotApplied(why)) if why.contains("in use"))
    );
    assert_eq!(rig.shown(), "one a:1");
    rig.watcher.reload();
    rig.becomes("two a:1").await;
    let count = rig.count();
    rig.watcher.reload();
    rig.until("a forced reload of the same files", |rig| {
        rig.count() == count + 1
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_file_leaves_the_last_good_configuration() {
    let rig = Rig::simple().await;
    let unreadable = fs::Permissions::from_mode(0o000);
    fs::set_permissions(rig.path("rules/a.yaml"), unreadable).unwrap();
    if fs::read(rig.path("rules/a.yaml")).is_ok() {
        // A privileged user reads everything; a folder in its place is as unreadable for anybody.
        fs::remove_file(rig.path("rules/a.yaml")).unwrap();
        fs::create_dir(rig.path("rules/a.yaml")).unwrap();
    }
    rig.is_refused("an unreadable file").await;
    assert_eq!(rig.shown(), "one a:1");
}

#[tokio::test]
async fn other_files_in_the_folder_change_nothing() {
    let rig = Rig::simple().await;
    rig.write("rules/notes.txt", "nothing for a proxy");
    rig.write("unrelated.yaml", "x: y");
    fs::set_permissions(rig.path("rules/a.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    rig.write("rules/z.yaml", &cluster("z", 1));
    rig.becomes("one a:1 z:1").await;
    assert_eq!(rig.count(), 2);
}

#[tokio::test]
async fn a_start_says_everything_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("heddle.yaml");
    let start = || Watcher::new(Some(main.clone()), Metrics::new(100)).start(Ok);
    assert!(
        matches!(start(), Err(Refusal::Invalid(findings)) if !findings.is_empty()),
        "no file"
    );
    fs::write(&main, "listeners: 7\nnamespace: [a]\n").unwrap();
    match start() {
        Err(refusal @ Refusal::Invalid(_)) => {
            assert!(refusal.to_string().lines().count() >= 2, "{refusal}")
        }
        other => panic!("{other:?}"),
    }
    let default = Watcher::new(None, Metrics::new(100));
    assert_eq!(
        default.start(|config| Ok(config.listeners.len())).unwrap(),
        1
    );
    let refused = Watcher::new(None, Metrics::new(100)).start(|_| Err::<(), _>("in use".into()));
    assert!(matches!(refused, Err(Refusal::NotApplied(why)) if why == "in use"));
}
