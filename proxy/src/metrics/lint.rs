//! The conventions of Prometheus (<https://prometheus.io/docs/practices/naming/>, and what `promtool check metrics`
//! looks for), held by each metric.

use super::{Described, Metrics};
use std::collections::{BTreeMap, BTreeSet};

/// Labels whose values traffic or configuration names. Only they are capped, and they must be.
const OPEN: [&str; 5] = ["listener", "service", "replica_set", "file", "reason"];
/// Labels whose values come from closed lists, or are one at a time.
const CLOSED: [&str; 15] = [
    "direction",
    "side",
    "protocol",
    "class",
    "code",
    "event",
    "kind",
    "outcome",
    "cap",
    "result",
    "level",
    "version",
    "metric",
    "hash",
    "reason",
];
/// Parts of names that are no base units (<https://prometheus.io/docs/practices/naming/#base-units>).
const NO_BASE_UNITS: [&str; 17] = [
    "ms",
    "millis",
    "milliseconds",
    "micros",
    "microseconds",
    "nanos",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "kb",
    "kib",
    "mb",
    "mib",
    "kilobytes",
    "megabytes",
    "percent",
];
/// Words that want their unit in the name.
const UNITS: [(&str, &str); 7] = [
    ("duration", "seconds"),
    ("latency", "seconds"),
    ("timestamp", "seconds"),
    ("time", "seconds"),
    ("uptime", "seconds"),
    ("memory", "bytes"),
    ("size", "bytes"),
];

/// What is wrong with one metric.
fn flaws(metric: &Described) -> Vec<&'static str> {
    let (name, labels) = (metric.name, metric.labels);
    let parts: Vec<&str> = name.split('_').collect();
    let snake = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
            && !text.contains("__")
    };
    let capped = &labels[..metric.capped.min(labels.len())];
    let rules = [
        (
            snake(name),
            "its name is not in snake case (and colons are for recording rules)",
        ),
        (
            name.starts_with("heddle_") || name.starts_with("process_"),
            "its name has no prefix of ours",
        ),
        (
            (metric.kind == "counter") == name.ends_with("_total"),
            "counters and nothing else end in _total",
        ),
        (
            !["_count", "_sum", "_bucket", "_info"]
                .iter()
                .any(|end| name.ends_with(end))
                || metric.kind == "gauge" && name.ends_with("_info"),
            "its name ends like a sample of a histogram, or it is an info that is no gauge",
        ),
        (
            !parts
                .iter()
                .any(|part| ["gauge", "counter", "histogram", "summary"].contains(part)),
            "its name says its kind",
        ),
        (
            !parts.iter().any(|part| NO_BASE_UNITS.contains(part)),
            "its unit is no base unit",
        ),
        (
            UNITS
                .iter()
                .all(|(word, unit)| !parts.contains(word) || parts.contains(unit))
                // A level, as that of the kernel's pressure information.
                || name.ends_with("_pressure"),
            "its name misses the unit",
        ),
        (
            metric.kind != "histogram" || name.ends_with("_seconds") || name.ends_with("_bytes"),
            "a histogram's name ends with its unit",
        ),
        (
            metric.help.len() > 5 && metric.help.ends_with('.') && metric.help.len() <= 140,
            "its help is no sentence, or a long one",
        ),
        (
            metric.help.trim() == metric.help && !metric.help.contains('\n'),
            "its help has odd blanks",
        ),
        (
            labels.iter().all(|label| {
                snake(label) && !["le", "quantile", "instance", "job"].contains(label)
            }),
            "a label is reserved",
        ),
        (
            labels.iter().collect::<BTreeSet<_>>().len() == labels.len(),
            "a label is there twice",
        ),
        (
            labels
                .iter()
                .all(|label| OPEN.contains(label) || CLOSED.contains(label)),
            "a label is new: is its list of values closed?",
        ),
        (
            capped
                .iter()
                .all(|label| OPEN.contains(label) || *label == "version" || *label == "metric")
                && labels[capped.len()..]
                    .iter()
                    .all(|label| CLOSED.contains(label) || *label == "file"),
            "labels that traffic names are not capped",
        ),
    ];
    rules
        .into_iter()
        .filter_map(|(holds, flaw)| (!holds).then_some(flaw))
        .collect()
}

#[test]
fn metrics_keep_to_the_conventions() {
    let metrics = Metrics::new(100);
    let found: Vec<String> = metrics
        .described()
        .iter()
        .flat_map(|metric| {
            let flaws = flaws(metric);
            flaws
                .into_iter()
                .map(|flaw| format!("{}: {flaw}", metric.name))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    let names: BTreeSet<_> = metrics
        .described()
        .iter()
        .map(|metric| metric.name)
        .collect();
    for standard in [
        "heddle_build_info",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_virtual_memory_bytes",
        "process_virtual_memory_max_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_threads",
    ] {
        assert!(names.contains(standard), "{standard}");
    }
}

#[test]
fn flaws_are_found() {
    let good = Described {
        name: "heddle_things_total",
        help: "Things seen.".to_owned(),
        kind: "counter",
        labels: &["listener", "class"],
        capped: 1,
    };
    assert_eq!(flaws(&good), [""; 0]);
    let (duration, long) = ("heddle_duration", "x".repeat(200));
    let bad = [
        Described {
            name: "heddle:things_total",
            ..good.clone()
        },
        Described {
            name: "things_total",
            ..good.clone()
        },
        Described {
            name: "heddle_things",
            ..good.clone()
        },
        Described {
            kind: "gauge",
            ..good.clone()
        },
        Described {
            name: "heddle_wait_ms_total",
            ..good.clone()
        },
        Described {
            name: duration,
            kind: "gauge",
            ..good.clone()
        },
        Described {
            help: "things".to_owned(),
            ..good.clone()
        },
        Described {
            help: long,
            ..good.clone()
        },
        Described {
            labels: &["listener", "le"],
            ..good.clone()
        },
        Described {
            labels: &["listener", "user"],
            ..good.clone()
        },
        Described {
            capped: 0,
            ..good.clone()
        },
    ];
    for metric in bad {
        assert_eq!(flaws(&metric).len().min(1), 1, "{metric:?}");
    }
}

/// The base name of a sample's family.
fn family<'t>(name: &'t str, kinds: &BTreeMap<&str, &str>) -> &'t str {
    ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|end| name.strip_suffix(end))
        .find(|base| kinds.get(base) == Some(&"histogram"))
        .unwrap_or(name)
}

#[test]
fn the_exposition_is_well_formed() {
    let metrics = Metrics::new(100);
    metrics.listener("in").refused.inc("framing");
    metrics
        .service("in", "/svc/a\"\\\n")
        .answered(200, 1_000_000);
    metrics.replica_set("/#/static/a").success.inc();
    metrics
        .config()
        .applied(1, 2, 0, std::time::SystemTime::now());
    let text = metrics.render();
    let (mut helps, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    let (mut current, mut seen) = ("", BTreeSet::new());
    for line in text.lines() {
        if let Some((name, help)) = line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '))
        {
            assert!(helps.insert(name, help).is_none(), "HELP of {name} twice");
            continue;
        }
        if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            assert!(kinds.insert(name, kind).is_none(), "TYPE of {name} twice");
            assert!(
                helps.contains_key(name),
                "{name} has no HELP before its TYPE"
            );
            (current, _) = (name, seen.clear());
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = sample.split('{').next().unwrap_or_default();
        assert_eq!(
            family(name, &kinds),
            current,
            "{line} is not with its family"
        );
        assert!(seen.insert(sample), "{sample} is there twice");
    }
    assert_eq!(helps.len(), kinds.len());
    assert!(text.ends_with('\n'));
}

#[test]
fn what_configuration_no_longer_names_goes_away() {
    use std::time::{Duration, Instant};
    let metrics = Metrics::new(100);
    let shown = |what: &str| metrics.render().contains(what);
    metrics.certificates_end([("in", "a.pem".to_owned(), 1), ("in", "b.pem".to_owned(), 2)]);
    assert!(shown("a.pem") && shown("b.pem"));
    metrics.certificates_end([("in", "b.pem".to_owned(), 2)]);
    assert!(!shown("a.pem") && shown("b.pem"));
    metrics
        .config()
        .applied(1, 0x1111, 0, std::time::SystemTime::now());
    metrics
        .config()
        .applied(2, 0x2222, 0, std::time::SystemTime::now());
    assert!(!shown("0000000000001111") && shown("0000000000002222"));
    let kept = metrics.listener("kept");
    metrics.listener("gone").connections.inc();
    assert!(shown(r#"listener="gone""#));
    let (start, idle) = (Instant::now(), Duration::from_secs(600));
    metrics.forget_idle(start, idle);
    metrics.forget_idle(start + idle, idle);
    assert!(!shown(r#"listener="gone""#) && shown(r#"listener="kept""#));
    drop(kept);
}

#[test]
fn documents_name_metrics_that_exist() {
    let metrics = Metrics::new(5);
    let kinds: BTreeMap<_, _> = metrics
        .described()
        .iter()
        .map(|metric| (metric.name, metric.kind))
        .collect();
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut texts = vec![docs.join("../README.md")];
    for entry in std::fs::read_dir(docs).expect("the documents are there") {
        texts.push(entry.expect("the folder is readable").path());
    }
    let mut strange = Vec::new();
    for path in texts
        .iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "md"))
    {
        let text = std::fs::read_to_string(path).expect("documents are text");
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        // `heddle_config_*` names several.
        let ours = words.filter(|word| word.starts_with("heddle_") && !word.ends_with('_'));
        // The control plane has metrics of its own.
        let ours = ours.filter(|word| !word.starts_with("heddle_control_plane_"));
        let unknown = ours.filter(|word| !kinds.contains_key(family(word, &kinds)));
        strange.extend(unknown.map(|word| format!("{}: {word}", path.display())));
    }
    assert!(strange.is_empty(), "{}", strange.join("\n"));
}
