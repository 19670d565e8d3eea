//! Metric families with a hard cap on their label sets.
//!
//! The types of the `prometheus` crate carry their description in every series and key label
//! sets by a hash without separators. These carry one word each, are keyed by the labels
//! themselves, and hand their samples to the crate's registry and text encoder.

use prometheus::core::{Collector, Desc};
use prometheus::{Registry, proto};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Label value that stands for everything beyond the cap.
pub const OVERFLOW: &str = "overflow";

/// Reasons one handle may count apart; what is beyond is counted as `other`. Larger than every closed list of
/// reasons in the proxy (about 40 reasons to refuse).
const REASONS: usize = 48;

/// A number that only grows. Clones share it; counting is one relaxed addition.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes one away.
    #[inline]
    pub fn dec(&self) {
        self.add(-1);
    }

    /// Adds `n`, which may be negative.
    #[inline]
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Replaces the number.
    #[inline]
    pub fn set(&self, n: i64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a family is made of.
pub(crate) trait Sample: Clone + Default + Send + Sync + 'static {
    /// The kind in the exposition.
    const KIND: proto::MetricType;
    /// The present value, without labels.
    fn sample(&self) -> proto::Metric;
}

impl Sample for Counter {
    const KIND: proto::MetricType = proto::MetricType::COUNTER;

    fn sample(&self) -> proto::Metric {
        let (mut metric, mut counter) = (proto::Metric::default(), proto::Counter::default());
        counter.set_value(self.get() as f64);
        metric.set_counter(counter);
        metric
    }
}

impl Sample for Gauge {
    const KIND: proto::MetricType = proto::MetricType::GAUGE;

    fn sample(&self) -> proto::Metric {
        let (mut metric, mut gauge) = (proto::Metric::default(), proto::Gauge::default());
        gauge.set_value(self.get() as f64);
        metric.set_gauge(gauge);
        metric
    }
}

/// Name, labels and help of a registered family, for the document and its test.
#[derive(Debug, Clone)]
pub struct Described {
    /// Full name, as exposed.
    pub name: &'static str,
    /// What it counts.
    pub help: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Label names, in order.
    pub labels: &'static [&'static str],
    /// How many of them, from the first, are named by traffic or configuration and therefore capped; the others come
    /// from closed lists.
    pub capped: usize,
}

/// Where families are registered: the crate's registry, the cap, and the count of what the cap refused.
#[derive(Debug)]
pub(crate) struct Families {
    pub(crate) registry: Registry,
    pub(crate) cap: Arc<AtomicUsize>,
    overflows: Family<Counter>,
    described: Vec<Described>,
}

const OVERFLOWS: &str = "heddle_metric_series_overflow_total";

impl Families {
    pub(crate) fn new(cap: usize) -> Self {
        let registry = Registry::new();
        let cap = Arc::new(AtomicUsize::new(cap.max(1)));
        let help = "Label sets that found their metric at limits.metric_series and were counted as `overflow`.";
        let overflows = Family::unregistered(OVERFLOWS, help, &["metric"], 1, &cap, None);
        let mut families = Self {
            registry,
            cap,
            overflows: overflows.clone(),
            described: Vec::new(),
        };
        families.register(&overflows);
        families
    }

    /// A family whose first `identity` labels are named by traffic or configuration, of which the last becomes
    /// [`OVERFLOW`] beyond the cap; the rest of the labels come from closed lists.
    pub(crate) fn family<M: Sample>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        identity: usize,
    ) -> Family<M> {
        let refused = (identity > 0).then(|| self.overflows.get(&[name]));
        let family = Family::unregistered(name, help, labels, identity, &self.cap, refused);
        self.register(&family);
        family
    }

    /// A family of one series.
    pub(crate) fn single<M: Sample>(&mut self, name: &'static str, help: &'static str) -> M {
        self.family(name, help, &[], 0).get(&[])
    }

    pub(crate) fn described(&self) -> &[Described] {
        &self.described
    }

    fn register<M: Sample>(&mut self, family: &Family<M>) {
        self.registry
            .register(Box::new(family.clone()))
            .expect("names of metrics are constants, valid and unique");
        let kind = match M::KIND {
            proto::MetricType::COUNTER => "counter",
            proto::MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        };
        self.described.push(Described {
            name: family.0.name,
            help: family.0.desc.help.clone(),
            kind,
            labels: family.0.labels,
            capped: family.0.identity,
        });
    }
}

type Labels = Box<[Box<str>]>;

#[derive(Debug)]
struct Inner<M> {
    name: &'static str,
    labels: &'static [&'static str],
    identity: usize,
    desc: Desc,
    cap: Arc<AtomicUsize>,
    refused: Option<Counter>,
    children: Mutex<Children<M>>,
}

#[derive(Debug)]
struct Children<M> {
    by_labels: BTreeMap<Labels, M>,
    /// Those that count against the cap.
    own: usize,
}

/// All series of one metric. Clones share them.
#[derive(Debug)]
pub(crate) struct Family<M>(Arc<Inner<M>>);

impl<M> Clone for Family<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Sample> Family<M> {
    fn unregistered(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        identity: usize,
        cap: &Arc<AtomicUsize>,
        refused: Option<Counter>,
    ) -> Self {
        let names = labels.iter().map(|&label| label.to_owned()).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), names, HashMap::new())
            .expect("names of metrics and labels are constants and valid");
        let children = Mutex::new(Children {
            by_labels: BTreeMap::new(),
            own: 0,
        });
        Self(Arc::new(Inner {
            name,
            labels,
            identity,
            desc,
            cap: Arc::clone(cap),
            refused,
            children,
        }))
    }

    /// The series of these label values, one for each label; beyond the cap, the series of [`OVERFLOW`].
    pub(crate) fn get(&self, values: &[&str]) -> M {
        debug_assert_eq!(
            values.len(),
            self.0.labels.len(),
            "labels of {}",
            self.0.name
        );
        let mut labels: Labels = values.iter().map(|&value| value.into()).collect();
        let mut children = self.lock();
        if let Some(series) = children.by_labels.get(&labels) {
            return series.clone();
        }
        if self.0.identity > 0 && self.is_own(&labels) {
            if children.own >= self.0.cap.load(Ordering::Relaxed) && self.0.refused.is_some() {
                self.0.refused.iter().for_each(Counter::inc);
                labels[self.0.identity - 1] = OVERFLOW.into();
            } else {
                children.own += 1;
            }
        }
        children.by_labels.entry(labels).or_default().clone()
    }

    /// How many further label sets fit below the cap.
    pub(crate) fn room(&self) -> usize {
        self.0
            .cap
            .load(Ordering::Relaxed)
            .saturating_sub(self.lock().own)
    }

    /// Counts a label set that was refused before it was asked for.
    pub(crate) fn refuse(&self) {
        self.0.refused.iter().for_each(Counter::inc);
    }

    /// Drops every series that begins with these label values.
    pub(crate) fn forget(&self, identity: &[&str]) {
        let mut children = self.lock();
        children
            .by_labels
            .retain(|labels, _| !labels.iter().zip(identity).all(|(a, &b)| **a == *b));
        children.own = children
            .by_labels
            .keys()
            .filter(|labels| self.is_own(labels))
            .count();
    }

    fn is_own(&self, labels: &Labels) -> bool {
        self.0.identity == 0 || *labels[self.0.identity - 1] != *OVERFLOW
    }

    fn lock(&self) -> MutexGuard<'_, Children<M>> {
        self.0
            .children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Sample> Collector for Family<M> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let series = |(labels, child): (&Labels, &M)| {
            let mut metric = child.sample();
            metric.set_label(
                self.0
                    .labels
                    .iter()
                    .zip(labels.iter())
                    .map(|(name, value)| pair(name, value))
                    .collect(),
            );
            metric
        };
        let metrics = self.lock().by_labels.iter().map(series).collect();
        let mut family = proto::MetricFamily::default();
        family.set_name(self.0.name.to_owned());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(M::KIND);
        family.set_metric(metrics);
        vec![family]
    }
}

fn pair(name: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

/// Counters by a reason from a closed list, each made when it first counts. Finding one again takes no lock.
#[derive(Debug)]
pub struct Reasons {
    family: Family<Counter>,
    identity: Labels,
    slots: [OnceLock<(&'static str, Counter)>; REASONS],
}

impl Reasons {
    pub(crate) fn new(family: &Family<Counter>, identity: &[&str]) -> Self {
        let identity = identity.iter().map(|&value| value.into()).collect();
        Self {
            family: family.clone(),
            identity,
            slots: [const { OnceLock::new() }; REASONS],
        }
    }

    /// Counts one of `reason`.
    pub fn inc(&self, reason: &'static str) {
        self.add(reason, 1);
    }

    /// Counts `n` of `reason`.
    pub fn add(&self, reason: &'static str, n: u64) {
        for slot in &self.slots {
            let (label, counter) = slot.get_or_init(|| (reason, self.series(reason)));
            if *label == reason {
                return counter.add(n);
            }
        }
        self.series("other").add(n);
    }

    /// How often `reason` was counted.
    pub fn get(&self, reason: &str) -> u64 {
        let known = self.slots.iter().map_while(OnceLock::get);
        known
            .filter(|(label, _)| *label == reason)
            .map(|(_, counter)| counter.get())
            .sum()
    }

    /// What has been counted so far, by reason.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.slots
            .iter()
            .map_while(OnceLock::get)
            .map(|(label, counter)| (*label, counter.get()))
    }

    fn series(&self, reason: &str) -> Counter {
        let mut labels: Vec<&str> = self.identity.iter().map(|value| &**value).collect();
        labels.push(reason);
        self.family.get(&labels)
    }
}
