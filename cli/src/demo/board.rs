//! What the load brought back, by phase of the tour. Pure: time comes with the samples.

use heddle_bench::load::{Sample, Tally};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// The live figures are of the requests that started within this last while.
const RECENT: Duration = Duration::from_secs(3);
/// Samples kept for them at most; beyond, the oldest go first.
const RECENT_SAMPLES: usize = 65_536;

/// What a phase of the tour is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// All traffic goes to version 1.
    Steady,
    /// Version 2 gets this percentage.
    Shifted(u8),
    /// A replica of version 1 answers late.
    Slow,
    /// The slow one is healed, another is killed.
    Killed,
    /// After the tour: whatever the visitor does.
    Free,
}

impl Theme {
    pub(super) fn title(self) -> String {
        match self {
            Self::Steady => "all to v1".into(),
            Self::Shifted(percent) => format!("{percent} % to v2"),
            Self::Slow => "one replica slow".into(),
            Self::Killed => "healed; one killed".into(),
            Self::Free => "yours".into(),
        }
    }
}

/// Requests and answers of one phase.
#[derive(Debug)]
pub(super) struct Phase {
    pub(super) theme: Theme,
    started: Instant,
    /// From when on where requests went is counted; `None`: not yet.
    settled: Option<Instant>,
    /// Everything since the phase started.
    pub(super) all: Tally,
    /// Requests that are safe to repeat, and how many of them failed.
    pub(super) idempotent: (u64, u64),
    /// Requests that are not, and how many of them failed.
    pub(super) others: (u64, u64),
    /// Answers by replica since it settled.
    pub(super) placed: BTreeMap<String, u64>,
    /// The first failure, for people.
    pub(super) first_failure: Option<String>,
}

impl Phase {
    fn new(theme: Theme, started: Instant) -> Self {
        Self {
            theme,
            started,
            settled: None,
            all: Tally::default(),
            idempotent: (0, 0),
            others: (0, 0),
            placed: BTreeMap::new(),
            first_failure: None,
        }
    }

    /// Answers of the replicas of a version, and of all, since the phase settled.
    pub(super) fn split(&self, version: &str) -> (u64, u64) {
        split(&self.placed, version)
    }

    /// Failed requests of either kind.
    pub(super) fn failed(&self) -> u64 {
        self.idempotent.1 + self.others.1
    }
}

/// Answers by replicas of `version` (whose names begin with it), and all answers.
pub(super) fn split(placed: &BTreeMap<String, u64>, version: &str) -> (u64, u64) {
    let own = placed
        .iter()
        .filter(|(replica, _)| replica.starts_with(version))
        .map(|(_, n)| n)
        .sum();
    (own, placed.values().sum())
}

/// What is kept of a sample for the live figures.
#[derive(Debug)]
struct Brief {
    intended: Instant,
    sample: Sample,
}

/// All phases, and the last moments.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// In the order in which they started.
    pub(super) phases: Vec<Phase>,
    recent: VecDeque<Brief>,
}

impl Board {
    /// Samples that should have started from now on belong to a new phase.
    pub(super) fn begin(&mut self, theme: Theme, now: Instant) {
        self.phases.push(Phase::new(theme, now));
    }

    /// From now on the place of requests counts in the current phase.
    pub(super) fn settle(&mut self, now: Instant) {
        if let Some(phase) = self.phases.last_mut() {
            phase.settled = Some(now);
        }
    }

    /// Counts a sample in the phase in which it should have started.
    pub(super) fn record(&mut self, sample: &Sample) {
        let Some(phase) = self
            .phases
            .iter_mut()
            .rev()
            .find(|phase| phase.started <= sample.intended)
        else {
            return;
        };
        phase.all.record(sample);
        let failed = !sample.succeeded();
        let kind = if sample.method.is_idempotent() {
            &mut phase.idempotent
        } else {
            &mut phase.others
        };
        kind.0 += 1;
        kind.1 += u64::from(failed);
        if failed && phase.first_failure.is_none() {
            phase.first_failure = Some(format!(
                "{} {:?} after {:?}",
                sample.method, sample.outcome, sample.latency
            ));
        }
        let replica = sample
            .answered_by
            .as_ref()
            .and_then(|value| value.to_str().ok());
        if let Some(replica) = replica
            && phase
                .settled
                .is_some_and(|settled| settled <= sample.intended)
        {
            *phase.placed.entry(replica.to_owned()).or_default() += 1;
        }
        if self.recent.len() == RECENT_SAMPLES {
            self.recent.pop_front();
        }
        self.recent.push_back(Brief {
            intended: sample.intended,
            sample: sample.clone(),
        });
    }

    /// The requests of the last three seconds, and the time over which they are spread.
    pub(super) fn recent(&mut self, now: Instant) -> (Tally, Duration) {
        // Samples come in the order in which they ended, so that a late one hides nobody for long.
        while self
            .recent
            .front()
            .is_some_and(|brief| now.duration_since(brief.intended) > RECENT)
        {
            self.recent.pop_front();
        }
        let mut tally = Tally::default();
        for brief in &self.recent {
            tally.record(&brief.sample);
        }
        let first = self.recent.iter().map(|brief| brief.intended).min();
        (
            tally,
            first.map_or(Duration::ZERO, |first| now.duration_since(first)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Method;
    use hyper::header::HeaderValue;

    fn sample(intended: Instant, method: Method, outcome: u16, replica: &'static str) -> Sample {
        Sample {
            number: 0,
            method,
            intended,
            latency: Duration::from_millis(2),
            outcome: Ok(outcome),
            answered_by: Some(HeaderValue::from_static(replica)),
        }
    }

    #[test]
    fn samples_belong_to_the_phase_in_which_they_should_have_started() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut board = Board::default();
        board.begin(Theme::Steady, at(0));
        board.settle(at(100));
        board.begin(Theme::Shifted(50), at(1000));
        board.record(&sample(at(50), Method::GET, 200, "v1-1"));
        board.record(&sample(at(150), Method::GET, 200, "v1-1"));
        board.record(&sample(at(999), Method::POST, 503, "v2-1"));
        board.record(&sample(at(1000), Method::GET, 200, "v2-1"));
        let [steady, shifted] = board.phases.as_slice() else {
            panic!("two phases")
        };
        assert_eq!((steady.idempotent, steady.others), ((2, 0), (1, 1)));
        assert_eq!(
            steady.split("v1"),
            (1, 2),
            "what came before it settled is not placed"
        );
        assert_eq!(shifted.split("v2"), (0, 0), "it has not settled");
        assert_eq!((shifted.all.requests(), steady.failed()), (1, 1));
        assert_eq!(board.recent(at(3500)).0.requests(), 2);
    }
}
