//! Programs that the demo starts: each is watched, started again when it dies, and ended by its id.

use crate::Failure;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(12);
/// How long a program has to answer after its start. Java on a loaded machine takes seconds.
const START: Duration = Duration::from_secs(60);
/// The wait before a program that died is started again; doubled up to [`LONGEST`] while it dies young.
const AGAIN: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);
/// A program that lived this long did not die young.
const YOUNG: Duration = Duration::from_secs(2);
/// Lines of a log that a failure shows.
const SHOWN: usize = 12;

/// What to start.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// For people, and the name of the log.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// Its log.
    pub(super) log: PathBuf,
}

/// A program that runs until [`Watched::end`], whatever happens to it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) recipe: Recipe,
    id: Arc<AtomicU32>,
    deaths: Arc<AtomicU64>,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Watched {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// It cannot be started; the reason names it.
    pub(super) fn start(recipe: Recipe) -> Result<Self, Failure> {
        let child = spawn(&recipe)?;
        let id = Arc::new(AtomicU32::new(child.id().unwrap_or(0)));
        let deaths = Arc::new(AtomicU64::new(0));
        let (end, ending) = watch::channel(false);
        let task = tokio::spawn(watch_over(
            recipe.clone(),
            child,
            Arc::clone(&id),
            Arc::clone(&deaths),
            ending,
        ));
        Ok(Self {
            recipe,
            id,
            deaths,
            end,
            task,
        })
    }

    /// The id of the process that runs now; 0 between a death and the next start.
    pub(super) fn id(&self) -> u32 {
        self.id.load(Relaxed)
    }

    /// The process that it started, if there is one.
    pub(super) fn child(&self) -> Option<u32> {
        children(self.id()).first().copied()
    }

    /// How often it died, killed or by itself.
    pub(super) fn deaths(&self) -> u64 {
        self.deaths.load(Relaxed)
    }

    /// Waits until `url` answers with success.
    ///
    /// # Errors
    ///
    /// It did not within a minute; the reason shows the end of its log.
    pub(super) async fn ready(&self, http: &reqwest::Client, url: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + START;
        loop {
            if let Ok(answer) = http.get(url).send().await
                && answer.status().is_success()
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!(
                    "{} did not answer at {url} within {} s. Its log, {}, ends with:\n{}",
                    self.recipe.name,
                    START.as_secs(),
                    self.recipe.log.display(),
                    tail(&self.recipe.log)
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills it and what it started, as by `kill -9`; it is started again.
    pub(super) fn kill(&self) {
        let id = self.id();
        for child in children(id) {
            signal(child, Signal::KILL);
        }
        signal(id, Signal::KILL);
    }

    /// Ends it: SIGTERM, and after a grace SIGKILL.
    pub(super) async fn end(self) {
        self.end.send_replace(true);
        // A task that panicked has dropped the child, and that kills it.
        drop(self.task.await);
    }
}

async fn watch_over(
    recipe: Recipe,
    mut child: Child,
    id: Arc<AtomicU32>,
    deaths: Arc<AtomicU64>,
    mut ending: watch::Receiver<bool>,
) {
    let mut wait = AGAIN;
    loop {
        let started = Instant::now();
        tokio::select! {
            _ = child.wait() => {}
            () = told(&mut ending) => return end(child).await,
        }
        id.store(0, Relaxed);
        deaths.fetch_add(1, Relaxed);
        wait = if started.elapsed() < YOUNG {
            (wait * 2).min(LONGEST)
        } else {
            AGAIN
        };
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = told(&mut ending) => return,
            }
            // It was started once, so what fails now (memory, descriptors) may pass.
            if let Ok(next) = spawn(&recipe) {
                id.store(next.id().unwrap_or(0), Relaxed);
                child = next;
                break;
            }
        }
    }
}

/// Waits for the word to end. A sender that is gone will never say it: that is the end as well.
async fn told(ending: &mut watch::Receiver<bool>) {
    drop(ending.wait_for(|end| *end).await);
}

async fn end(mut child: Child) {
    if let Some(id) = child.id() {
        signal(id, Signal::TERM);
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        // An error means that it has ended already, which is what is wanted.
        drop(child.kill().await);
    }
}

fn spawn(recipe: &Recipe) -> Result<Child, Failure> {
    let told = |error: std::io::Error| {
        Failure::new(format!(
            "cannot start {} ({}): {error}",
            recipe.name,
            recipe.program.display()
        ))
    };
    let log = File::options()
        .create(true)
        .append(true)
        .open(&recipe.log)
        .map_err(told)?;
    let mut command = Command::new(&recipe.program);
    command
        .args(&recipe.arguments)
        .envs(recipe.environment.iter().map(|(name, value)| (name, value)))
        // The upper-case spelling wins in some libraries, and whoever starts the demo may have it.
        .env_remove("HTTP_PROXY")
        .env_remove("ALL_PROXY")
        .env_remove("all_proxy")
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(told)?)
        .stderr(log)
        // The terminal's Ctrl-C is for the demo, which ends them in its order.
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().map_err(told)
}

fn signal(id: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // An error means that it has ended already.
        let _ = kill_process(pid, signal);
    }
}

/// The processes that a process started.
fn children(id: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{id}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            let ids = text.split_whitespace().map(str::parse);
            ids.filter_map(Result::ok).collect::<Vec<u32>>()
        })
        .collect()
}

/// Memory of a process in bytes, shared pages divided among their users.
pub(super) fn memory(id: u32) -> u64 {
    let told = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Memory of a process and all that it started, directly or not.
pub(super) fn memory_with_children(id: u32) -> u64 {
    let below: u64 = children(id).into_iter().map(memory_with_children).sum();
    memory(id) + below
}

/// The end of a log.
pub(super) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}
