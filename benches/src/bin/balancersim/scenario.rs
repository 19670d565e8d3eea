//! What goes wrong.

use crate::replica::REPLICAS;

/// One kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Calm,
    Slow,
    Cold,
    Failing,
    Flaky,
    BlackHole,
    Majority,
    Heterogeneous,
}

/// How a replica treats a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Conduct {
    /// Serves it, this many times slower than a good replica.
    Serve(f64),
    /// Refuses it at once.
    Fail,
    /// Never answers.
    Swallow,
}

impl Scenario {
    pub(crate) const ALL: [Self; 8] = [
        Self::Calm,
        Self::Slow,
        Self::Cold,
        Self::Failing,
        Self::Flaky,
        Self::BlackHole,
        Self::Majority,
        Self::Heterogeneous,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Slow => "slow",
            Self::Cold => "cold",
            Self::Failing => "failing",
            Self::Flaky => "flaky",
            Self::BlackHole => "black-hole",
            Self::Majority => "majority",
            Self::Heterogeneous => "heterogeneous",
        }
    }

    pub(crate) fn story(self) -> &'static str {
        match self {
            Self::Calm => "nothing goes wrong",
            Self::Slow => "the last replica is ten times slower",
            Self::Cold => {
                "the last replica refuses for two seconds, then is eight times slower and warms up over ten"
            }
            Self::Failing => "the last replica fails at once",
            Self::Flaky => "the last replica fails every tenth request at once",
            Self::BlackHole => "the last replica answers nothing; callers give up after 1 s",
            Self::Majority => "all replicas but the first fail at once, more than may be ejected",
            Self::Heterogeneous => {
                "the last replica is four times slower, the one before twice, all the time"
            }
        }
    }

    /// What a replica does at a time, given as part of the whole run. `chance` is uniform.
    pub(crate) fn conduct(self, replica: usize, time: f64, chance: f64) -> Conduct {
        let (last, trouble) = (replica == REPLICAS - 1, (0.25..0.75).contains(&time));
        match self {
            Self::Heterogeneous if last => Conduct::Serve(4.0),
            Self::Heterogeneous if replica == REPLICAS - 2 => Conduct::Serve(2.0),
            Self::Majority if replica > 0 && trouble => Conduct::Fail,
            Self::Slow if last && trouble => Conduct::Serve(10.0),
            Self::Cold if last && (0.25..0.3).contains(&time) => Conduct::Fail,
            Self::Cold if last && (0.3..0.55).contains(&time) => {
                Conduct::Serve(1.0 + 7.0 * (0.55 - time) / 0.25)
            }
            Self::Failing if last && trouble => Conduct::Fail,
            Self::Flaky if last && trouble && chance < 0.1 => Conduct::Fail,
            Self::BlackHole if last && trouble => Conduct::Swallow,
            _ => Conduct::Serve(1.0),
        }
    }
}
