//! What is counted for the process as a whole.

use super::family::{Counter, Families, Family, Gauge, Reasons};
use std::time::{SystemTime, UNIX_EPOCH};

/// Ticks a second in `/proc/self/stat`: `USER_HZ`, which is 100 on every architecture that Linux still ships.
const TICKS_PER_SECOND: u64 = 100;
/// Fields of `/proc/self/stat` after the command: user and system ticks, threads, start, virtual size.
const STAT_UTIME: usize = 11;
const STAT_STIME: usize = 12;
const STAT_THREADS: usize = 17;
const STAT_VSIZE: usize = 20;

/// Handles of the running configuration.
#[derive(Debug)]
pub struct ConfigMetrics {
    /// Number of the running configuration; the first is 1.
    pub generation: Gauge,
    /// Configurations applied.
    pub reloads_ok: Counter,
    /// Configurations refused.
    pub reloads_failed: Counter,
    /// Findings of the last load, whether it was applied or refused.
    pub findings: Gauge,
    running: Family<Gauge>,
    last_ok: Gauge,
    last_applied: Gauge,
    last_reload: Gauge,
}

impl ConfigMetrics {
    /// Records a load that was applied as `generation`, with so many findings (warnings). `hash` is that of the files.
    pub fn applied(&self, generation: u64, hash: u64, findings: usize, now: SystemTime) {
        self.generation
            .set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.reloads_ok.inc();
        self.running.forget(&[]);
        self.running.get(&[&format!("{hash:016x}")]).set(1);
        self.last_applied.set(unix_seconds(now));
        self.loaded(1, findings, now);
    }

    /// Records a load that was refused with so many findings; the last good configuration stays.
    pub fn refused(&self, findings: usize, now: SystemTime) {
        self.reloads_failed.inc();
        self.loaded(0, findings, now);
    }

    fn loaded(&self, ok: i64, findings: usize, now: SystemTime) {
        self.findings
            .set(i64::try_from(findings).unwrap_or(i64::MAX));
        self.last_ok.set(ok);
        self.last_reload.set(unix_seconds(now));
    }
}

/// Handles of restarts that hand the listening sockets to a new process.
#[derive(Debug)]
pub struct HandoverMetrics {
    /// The new process took over.
    pub succeeded: Counter,
    /// It did not; this one serves on.
    pub failed: Counter,
}

/// Handles of one level of cache. Sizes add up over workers, so they are moved and not set.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    /// Entries now.
    pub entries: Gauge,
    /// Look-ups that found their entry.
    pub hits: Counter,
    /// Look-ups that did not.
    pub misses: Counter,
    /// Entries dropped for age or room.
    pub evictions: Counter,
}

/// Handles of all caches, by level.
#[derive(Debug)]
pub struct CachesMetrics {
    /// By logical name.
    pub path: CacheMetrics,
    /// By path: what it is bound to now, a tree of clients.
    pub tree: CacheMetrics,
    /// By replica set.
    pub client: CacheMetrics,
}

/// Handles of discovery.
#[derive(Debug)]
pub struct DiscoveryMetrics {
    /// DNS questions answered.
    pub dns_ok: Counter,
    /// DNS questions that failed.
    pub dns_failed: Counter,
    /// DNS questions answered with nothing.
    pub dns_empty: Counter,
    /// DNS names that are kept fresh now.
    pub dns_names: Gauge,
    /// Files of the `files` namer read again.
    pub files_read: Counter,
    /// Files of the `files` namer that could not be read or understood; what they held before stays.
    pub files_failed: Counter,
    /// Updates held by the mass-loss guard.
    pub guard_holds: Counter,
    /// Held updates that were applied in the end.
    pub guard_releases: Counter,
    /// Replica sets known now.
    pub replica_sets: Gauge,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) config: ConfigMetrics,
    pub(super) handovers: HandoverMetrics,
    pub(super) caches: CachesMetrics,
    pub(super) discovery: DiscoveryMetrics,
    pub(super) control: ControlMetrics,
    pub(super) refused: Reasons,
    pub(super) memory_limit: Gauge,
    pub(super) memory_pressure: Gauge,
    resident: Gauge,
    virtual_size: Gauge,
    virtual_max: Gauge,
    fds: Gauge,
    fds_max: Gauge,
    threads: Gauge,
    cpu: Seconds,
}

impl Process {
    pub(super) fn new(families: &mut Families, version: &str) -> Self {
        let build: Family<Gauge> = families.family(
            "heddle_build_info",
            "Always 1; the version is a label.",
            &["version"],
            1,
        );
        build.get(&[version]).set(1);
        let started: Gauge =
            families.single("process_start_time_seconds", "When this process started.");
        started.set(unix_seconds(SystemTime::now()));
        let refused = families.family(
            "heddle_proxy_refused_total",
            "What a bound of the whole proxy refused.",
            &["reason"],
            1,
        );
        Self {
            config: config(families),
            handovers: handovers(families),
            caches: caches(families),
            discovery: discovery(families),
            control: control(families),
            refused: Reasons::new(&refused, &[]),
            memory_limit: families.single(
                "heddle_memory_limit_bytes",
                "Memory that the process may use; 0: there is no limit.",
            ),
            memory_pressure: families.single(
                "heddle_memory_pressure",
                "0: enough memory, 1: idle connections are closed early, 2: new work is refused.",
            ),
            resident: families.single("process_resident_memory_bytes", "Memory in use."),
            virtual_size: families.single("process_virtual_memory_bytes", "Address space in use."),
            virtual_max: families.single(
                "process_virtual_memory_max_bytes",
                "Limit of the address space; -1: there is none.",
            ),
            fds: families.single("process_open_fds", "Open file descriptors."),
            fds_max: families.single("process_max_fds", "Limit of open file descriptors."),
            threads: families.single("process_threads", "Threads."),
            cpu: families.single(
                "process_cpu_seconds_total",
                "Processor time, user and system.",
            ),
        }
    }

    /// Reads `/proc/self`; what cannot be read keeps its last value.
    pub(super) fn refresh(&self) {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The command stands in parentheses and may itself contain any character.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let number = |field: usize| fields.get(field).and_then(|text| text.parse::<u64>().ok());
        if let (Some(user), Some(system)) = (number(STAT_UTIME), number(STAT_STIME)) {
            self.cpu
                .set((user + system) as f64 / TICKS_PER_SECOND as f64);
        }
        set(&self.threads, number(STAT_THREADS));
        set(&self.virtual_size, number(STAT_VSIZE));
        set(&self.resident, resident_bytes());
        set(
            &self.fds,
            std::fs::read_dir("/proc/self/fd")
                .ok()
                .map(|fds| fds.count().saturating_sub(1) as u64),
        );
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        set(&self.fds_max, limit(&limits, "Max open files"));
        // As the client libraries of Prometheus say it.
        let address_space = limit(&limits, "Max address space");
        self.virtual_max
            .set(address_space.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(-1)));
    }
}

fn set(gauge: &Gauge, value: Option<u64>) {
    if let Some(value) = value.and_then(|value| i64::try_from(value).ok()) {
        gauge.set(value);
    }
}

/// `VmRSS` of `/proc/self/status`, which unlike `stat` needs no page size.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// A soft limit of `/proc/self/limits`; `None`: there is none.
fn limit(limits: &str, which: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(which))?;
    line.split_whitespace().next()?.parse().ok()
}

fn unix_seconds(now: SystemTime) -> i64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

fn handovers(families: &mut Families) -> HandoverMetrics {
    let handovers: Family<Counter> = families.family(
        "heddle_handovers_total",
        "Restarts in which a new process was to take over, by result.",
        &["result"],
        0,
    );
    HandoverMetrics {
        succeeded: handovers.get(&["ok"]),
        failed: handovers.get(&["failed"]),
    }
}

fn config(families: &mut Families) -> ConfigMetrics {
    let reloads: Family<Counter> = families.family(
        "heddle_config_reloads_total",
        "Configurations loaded, by result.",
        &["result"],
        0,
    );
    ConfigMetrics {
        generation: families.single(
            "heddle_config_generation",
            "Number of the running configuration.",
        ),
        reloads_ok: reloads.get(&["ok"]),
        reloads_failed: reloads.get(&["failed"]),
        findings: families.single("heddle_config_findings", "Findings of the last load."),
        running: families.family(
            "heddle_config_info",
            "Always 1; a hash of the files of the running configuration is a label.",
            &["hash"],
            0,
        ),
        last_ok: families.single(
            "heddle_config_last_reload_successful",
            "1 if the last load was applied, 0 if refused.",
        ),
        last_applied: families.single(
            "heddle_config_last_reload_success_timestamp_seconds",
            "When the running configuration was applied.",
        ),
        last_reload: families.single(
            "heddle_config_last_reload_timestamp_seconds",
            "When the last load ended.",
        ),
    }
}

fn caches(families: &mut Families) -> CachesMetrics {
    const LEVEL: &[&str] = &["level"];
    let entries: Family<Gauge> = families.family("heddle_cache_entries", "Entries now.", LEVEL, 0);
    let hits: Family<Counter> =
        families.family("heddle_cache_hits_total", "Look-ups that hit.", LEVEL, 0);
    let misses: Family<Counter> = families.family(
        "heddle_cache_misses_total",
        "Look-ups that missed.",
        LEVEL,
        0,
    );
    let evictions: Family<Counter> = families.family(
        "heddle_cache_evictions_total",
        "Entries dropped for age or room.",
        LEVEL,
        0,
    );
    let level = |level| CacheMetrics {
        entries: entries.get(&[level]),
        hits: hits.get(&[level]),
        misses: misses.get(&[level]),
        evictions: evictions.get(&[level]),
    };
    CachesMetrics {
        path: level("path"),
        tree: level("tree"),
        client: level("client"),
    }
}

fn discovery(families: &mut Families) -> DiscoveryMetrics {
    let dns: Family<Counter> = families.family(
        "heddle_dns_refreshes_total",
        "DNS questions, by result.",
        &["result"],
        0,
    );
    let files: Family<Counter> = families.family(
        "heddle_discovery_files_total",
        "Reads of endpoint files, by result.",
        &["result"],
        0,
    );
    let guard: Family<Counter> = families.family(
        "heddle_mass_loss_guard_total",
        "Events of the mass-loss guard.",
        &["event"],
        0,
    );
    DiscoveryMetrics {
        dns_ok: dns.get(&["ok"]),
        dns_failed: dns.get(&["failed"]),
        dns_empty: dns.get(&["empty"]),
        dns_names: families.single("heddle_dns_names", "DNS names kept fresh now."),
        files_read: files.get(&["ok"]),
        files_failed: files.get(&["failed"]),
        guard_holds: guard.get(&["held"]),
        guard_releases: guard.get(&["released"]),
        replica_sets: families.single("heddle_replica_sets", "Replica sets known now."),
    }
}

/// Handles of the control plane, as this proxy has it.
#[derive(Debug)]
pub struct ControlMetrics {
    /// Whether a control plane is followed now.
    pub connected: Gauge,
    /// Connections that brought an answer.
    pub opened: Counter,
    /// Connections that did not.
    pub failed: Counter,
    /// Answers taken.
    pub taken: Counter,
    /// Answers refused, in part or as a whole.
    pub refused: Counter,
    /// Resources known.
    pub resources: Gauge,
    /// Times that the last good state could not be kept.
    pub unsaved: Counter,
    last: Gauge,
}

impl ControlMetrics {
    /// An answer came.
    pub fn answered(&self, at: SystemTime) {
        self.last.set(unix_seconds(at));
    }
}

fn control(families: &mut Families) -> ControlMetrics {
    let streams: Family<Counter> = families.family(
        "heddle_xds_streams_total",
        "Connections to a control plane, by result.",
        &["result"],
        0,
    );
    let answers: Family<Counter> = families.family(
        "heddle_xds_answers_total",
        "Answers of the control plane, by result.",
        &["result"],
        0,
    );
    ControlMetrics {
        connected: families.single(
            "heddle_xds_connected",
            "1 while a control plane is followed.",
        ),
        opened: streams.get(&["ok"]),
        failed: streams.get(&["failed"]),
        taken: answers.get(&["ok"]),
        refused: answers.get(&["refused"]),
        resources: families.single(
            "heddle_xds_resources",
            "Resources of the control plane known now.",
        ),
        unsaved: families.single(
            "heddle_xds_save_failures_total",
            "Times that the last good state could not be kept.",
        ),
        last: families.single(
            "heddle_xds_last_answer_timestamp_seconds",
            "When the control plane last said something.",
        ),
    }
}

/// A counter of seconds with a fraction.
#[derive(Debug, Clone, Default)]
struct Seconds(std::sync::Arc<std::sync::atomic::AtomicU64>);

impl Seconds {
    fn set(&self, seconds: f64) {
        self.0
            .store(seconds.to_bits(), std::sync::atomic::Ordering::Relaxed);
    }
}

impl super::family::Sample for Seconds {
    const KIND: prometheus::proto::MetricType = prometheus::proto::MetricType::COUNTER;

    fn sample(&self) -> prometheus::proto::Metric {
        let (mut metric, mut counter) = (
            prometheus::proto::Metric::default(),
            prometheus::proto::Counter::default(),
        );
        counter.set_value(f64::from_bits(
            self.0.load(std::sync::atomic::Ordering::Relaxed),
        ));
        metric.set_counter(counter);
        metric
    }
}
