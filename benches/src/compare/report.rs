//! A comparison as a table and as JSON.

use super::figures::{Figures, Spread};
use super::memory::Held;
use super::plot::{self, Bar, Group};
use super::{Scenario, Settings};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Contenders that the others are compared with.
const REFERENCES: [&str; 3] = ["haproxy", "envoy", "pingora"];

/// When others take more cores than this, they take them from what is measured.
const TOO_BUSY: f64 = 0.5;

/// What a comparison found.
#[derive(Debug, Clone)]
pub struct Report {
    /// What ran, by contender.
    pub versions: BTreeMap<String, String>,
    /// What did not, and why.
    pub missing: BTreeMap<String, String>,
    /// Figures by contender, for each scenario that ran.
    pub scenarios: Vec<(Scenario, BTreeMap<String, Figures>)>,
    /// Memory when idle and with idle connections, by contender.
    pub memory: BTreeMap<String, Held>,
    rounds: usize,
    seconds: f64,
    rate: f64,
}

impl Report {
    /// An empty one.
    pub fn new(settings: &Settings) -> Self {
        Self {
            versions: BTreeMap::new(),
            missing: BTreeMap::new(),
            scenarios: Vec::new(),
            memory: BTreeMap::new(),
            rounds: settings.rounds,
            seconds: settings.duration.as_secs_f64(),
            rate: settings.rate,
        }
    }

    /// Everything, for programs.
    pub fn to_json(&self) -> Value {
        let scenarios: serde_json::Map<String, Value> = self
            .scenarios
            .iter()
            .map(|(scenario, figures)| {
                let direct = figures.get("direct");
                let figures: BTreeMap<_, _> = figures
                    .iter()
                    .map(|(name, one)| (name, figures_json(one, direct)))
                    .collect();
                (scenario.name().to_owned(), json!(figures))
            })
            .collect();
        json!({
            "rounds": self.rounds,
            "secondsPerRound": self.seconds,
            "openLoopRate": self.rate,
            "versions": self.versions,
            "missing": self.missing,
            "scenarios": scenarios,
            "memory": self.memory.iter().map(|(name, held)| {
                let one = json!({
                    "idleBytes": held.idle,
                    "loadedBytes": held.loaded,
                    "connections": held.connections,
                    "bytesPerConnection": held.per_connection(),
                });
                (name.clone(), one)
            }).collect::<BTreeMap<_, _>>(),
        })
    }

    /// CPU per request of every proxy, as a picture.
    pub fn to_svg(&self, date: &str) -> String {
        let groups: Vec<Group> = self
            .scenarios
            .iter()
            .map(|(scenario, figures)| {
                let mut bars: Vec<Bar> = figures
                    .iter()
                    .filter_map(|(name, one)| {
                        let Spread {
                            median,
                            least,
                            most,
                        } = one.cpu?;
                        Some(Bar {
                            name: name.clone(),
                            median,
                            least,
                            most,
                        })
                    })
                    .collect();
                bars.sort_by(|one, other| one.median.total_cmp(&other.median));
                Group {
                    title: scenario.title().to_owned(),
                    bars,
                }
            })
            .collect();
        let note = format!(
            "CPU-seconds of the proxy per million requests, medians of {} rounds (least to most), {date}; less is better",
            self.rounds
        );
        plot::svg(&groups, "s", &note)
    }
}

fn spread_json(spread: Spread) -> Value {
    json!({"median": spread.median, "least": spread.least, "most": spread.most, "tooNoisy": spread.is_noisy()})
}

fn figures_json(figures: &Figures, direct: Option<&Figures>) -> Value {
    let added =
        |of: fn(&Figures) -> Spread| direct.map(|direct| of(figures).median - of(direct).median);
    let ratios: BTreeMap<_, _> = figures
        .ratios
        .iter()
        .map(|(name, ratio)| (name, spread_json(*ratio)))
        .collect();
    json!({
        "cpuSecondsPerMillion": figures.cpu.map(spread_json),
        "requestsPerSecond": spread_json(figures.rate),
        "p50Micros": spread_json(figures.p50),
        "p99Micros": spread_json(figures.p99),
        "p999Micros": spread_json(figures.p999),
        "addedP50Micros": added(|figures| figures.p50),
        "addedP99Micros": added(|figures| figures.p99),
        "addedP999Micros": added(|figures| figures.p999),
        "residentBytes": figures.resident(),
        "failed": figures.failed(),
        "cpuRatioTo": ratios,
        "othersCores": figures.rounds.iter().map(|round| round.others).collect::<Vec<_>>(),
        "keptRate": figures.rounds.iter().all(|round| round.kept_rate),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (scenario, figures) in &self.scenarios {
            table(f, *scenario, figures)?;
        }
        if !self.memory.is_empty() {
            writeln!(f, "\nMemory of a proxy of its own")?;
        }
        for (name, held) in &self.memory {
            writeln!(f, "{name:<10} {held}")?;
        }
        for (name, why) in &self.missing {
            writeln!(f, "{name} was left out: {why}")?;
        }
        writeln!(
            f,
            "Medians of {} rounds of {} s, rounds interleaved, (least..most); each proxy alone on core 1, load and \
             backend on core 0. Ratios are of CPU per request within a round.",
            self.rounds, self.seconds
        )
    }
}

fn table(
    f: &mut fmt::Formatter<'_>,
    scenario: Scenario,
    figures: &BTreeMap<String, Figures>,
) -> fmt::Result {
    writeln!(f, "\n{}", scenario.title())?;
    write!(
        f,
        "{:<10} {:>24} {:>9} {:>10} {:>10} {:>8}",
        "", "CPU-s per million", "req/s", "p50", "p99", "memory"
    )?;
    for reference in REFERENCES {
        write!(f, " {:>20}", format!("/ {reference}"))?;
    }
    writeln!(f)?;
    let mut order: Vec<_> = figures.iter().collect();
    order.sort_by(|(_, a), (_, b)| median(a.cpu).total_cmp(&median(b.cpu)));
    for (name, one) in order {
        let cpu = one.cpu.map_or("-".into(), |cpu| around(cpu, 1));
        let memory = one.resident().map_or("-".into(), |bytes| {
            format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
        });
        write!(
            f,
            "{name:<10} {cpu:>24} {:>9.0} {:>10} {:>10} {memory:>8}",
            one.rate.median,
            millis(one.p50),
            millis(one.p99)
        )?;
        for reference in REFERENCES {
            write!(
                f,
                " {:>20}",
                one.ratios
                    .get(reference)
                    .map_or("-".into(), |&ratio| around(ratio, 2))
            )?;
        }
        writeln!(f)?;
        if one.failed() > 0 {
            writeln!(f, "{:<10} {} requests failed", "", one.failed())?;
        }
        let noisy: Vec<&str> = REFERENCES
            .into_iter()
            .filter(|name| one.ratios.get(*name).is_some_and(Spread::is_noisy))
            .collect();
        if !noisy.is_empty() {
            writeln!(
                f,
                "{:<10} too noisy to conclude about the ratio to {}",
                "",
                noisy.join(" and ")
            )?;
        }
        if one.rounds.iter().any(|round| !round.kept_rate) && scenario == Scenario::Rate {
            writeln!(f, "{:<10} the generator did not keep its rate", "")?;
        }
    }
    let busiest = figures
        .values()
        .flat_map(|one| &one.rounds)
        .map(|round| round.others)
        .fold(0.0, f64::max);
    if busiest > TOO_BUSY {
        writeln!(
            f,
            "Too noisy to conclude: others kept up to {busiest:.1} cores of this machine busy meanwhile."
        )?;
    } else if busiest > 0.1 {
        writeln!(
            f,
            "Others kept up to {busiest:.1} cores of this machine busy meanwhile."
        )?;
    }
    Ok(())
}

fn median(spread: Option<Spread>) -> f64 {
    spread.map_or(0.0, |spread| spread.median)
}

fn around(spread: Spread, digits: usize) -> String {
    let Spread {
        median,
        least,
        most,
    } = spread;
    format!("{median:.digits$} ({least:.digits$}..{most:.digits$})")
}

fn millis(micros: Spread) -> String {
    format!("{:.2} ms", micros.median / 1000.0)
}
