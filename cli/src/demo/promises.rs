//! What the tour promises, judged from its phases. Pure.

use super::board::{Phase, Theme};

/// How far the split may lie from the weight, in standard deviations of a fair draw: 1 in 16,000 tours
/// of a perfect proxy would miss it.
const SIGMAS: f64 = 4.0;
/// What a slow replica may keep of its fair share.
const SLOW_SHARE: f64 = 0.2;
/// Fewer requests than this prove nothing.
const ENOUGH: u64 = 100;

/// One promise and whether it was kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) kept: bool,
    /// The promise with its figures.
    pub(super) text: String,
}

/// Judges the phases of a whole tour. `slow` and `killed` are names of replicas of version 1, of which
/// there are `replicas`.
pub(super) fn judge(phases: &[Phase], slow: &str, replicas: usize) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for phase in phases {
        match phase.theme {
            Theme::Steady => verdicts.push(split(phase, 0)),
            Theme::Shifted(percent) => {
                verdicts.push(split(phase, percent));
                verdicts.push(reload(phase));
            }
            Theme::Slow => verdicts.push(slow_share(phase, slow, replicas)),
            Theme::Killed => verdicts.push(kill(phase)),
            Theme::Free => {}
        }
    }
    verdicts
}

fn split(phase: &Phase, percent: u8) -> Verdict {
    let (own, all) = phase.split("v2");
    let wanted = f64::from(percent) / 100.0;
    let bound = SIGMAS * (wanted * (1.0 - wanted) / all.max(1) as f64).sqrt();
    let share = own as f64 / all.max(1) as f64;
    Verdict {
        kept: all >= ENOUGH && (share - wanted).abs() <= bound,
        text: format!(
            "{percent} % to v2: {own} of {all} requests, {:.2} % (allowed {:.2} to {:.2} %)",
            share * 100.0,
            (wanted - bound).max(0.0) * 100.0,
            (wanted + bound) * 100.0
        ),
    }
}

fn reload(phase: &Phase) -> Verdict {
    let all = phase.idempotent.0 + phase.others.0;
    Verdict {
        kept: all >= ENOUGH && phase.failed() == 0,
        text: format!(
            "no request fails over the reload: {} of {all} failed{}",
            phase.failed(),
            example(phase)
        ),
    }
}

fn slow_share(phase: &Phase, slow: &str, replicas: usize) -> Verdict {
    let (version, _) = phase.split("v1");
    let own = phase.placed.get(slow).copied().unwrap_or(0);
    let fair = 1.0 / replicas.max(1) as f64;
    let share = own as f64 / version.max(1) as f64;
    let fallen = 1.0 - share / fair;
    Verdict {
        kept: version >= ENOUGH && share < SLOW_SHARE * fair,
        text: format!(
            "the slow replica's share falls by more than 80 % within 5 s: {own} of {version} requests to v1, \
             fallen by {:.1} %",
            fallen * 100.0
        ),
    }
}

fn kill(phase: &Phase) -> Verdict {
    let (all, failed) = phase.idempotent;
    Verdict {
        kept: all >= ENOUGH && failed == 0,
        text: format!(
            "no idempotent request fails when a replica is killed: {failed} of {all} failed{}{}",
            if failed > 0 {
                example(phase)
            } else {
                String::new()
            },
            match phase.others {
                (_, 0) => String::new(),
                (all, failed) =>
                    format!(" (of {all} POSTs, which are never sent twice, {failed} died with it)"),
            }
        ),
    }
}

fn example(phase: &Phase) -> String {
    phase
        .first_failure
        .as_ref()
        .map_or(String::new(), |first| format!("; the first: {first}"))
}

#[cfg(test)]
mod tests {
    use super::super::board::Board;
    use super::*;
    use heddle_bench::load::Sample;
    use hyper::Method;
    use hyper::header::HeaderValue;
    use std::time::{Duration, Instant};

    /// A settled phase with so many answers of each replica, and so many failed GETs and POSTs.
    fn phase(theme: Theme, placed: &[(&'static str, u64)], failed: (u64, u64)) -> Phase {
        let now = Instant::now();
        let mut board = Board::default();
        board.begin(theme, now);
        board.settle(now);
        let sample = |method, outcome, answered_by: Option<&'static str>| Sample {
            number: 0,
            method,
            intended: now,
            latency: Duration::from_millis(1),
            outcome: Ok(outcome),
            answered_by: answered_by.map(HeaderValue::from_static),
        };
        for &(replica, count) in placed {
            (0..count).for_each(|_| board.record(&sample(Method::GET, 200, Some(replica))));
        }
        (0..failed.0).for_each(|_| board.record(&sample(Method::GET, 503, None)));
        (0..failed.1).for_each(|_| board.record(&sample(Method::POST, 502, None)));
        board.phases.remove(0)
    }

    #[test]
    fn promises_are_kept_or_broken() {
        type Placed = &'static [(&'static str, u64)];
        type Case = (Theme, Placed, (u64, u64), &'static [bool]);
        let cases: [Case; 11] = [
            (Theme::Steady, &[("v1-1", 500)], (0, 0), &[true]),
            (
                Theme::Steady,
                &[("v1-1", 499), ("v2-1", 1)],
                (0, 0),
                &[false],
            ),
            (
                Theme::Shifted(5),
                &[("v1-1", 950), ("v2-1", 50)],
                (0, 0),
                &[true, true],
            ),
            (
                Theme::Shifted(5),
                &[("v1-1", 900), ("v2-1", 100)],
                (0, 0),
                &[false, true],
            ),
            (Theme::Shifted(5), &[("v1-1", 1000)], (0, 0), &[false, true]),
            (
                Theme::Shifted(50),
                &[("v1-1", 500), ("v2-1", 500)],
                (0, 1),
                &[true, false],
            ),
            (
                Theme::Slow,
                &[("v1-1", 10), ("v1-2", 245), ("v1-3", 245), ("v2-1", 500)],
                (0, 0),
                &[true],
            ),
            (
                Theme::Slow,
                &[("v1-1", 40), ("v1-2", 230), ("v1-3", 230), ("v2-1", 500)],
                (0, 0),
                &[false],
            ),
            (Theme::Killed, &[("v1-1", 500)], (0, 3), &[true]),
            (Theme::Killed, &[("v1-1", 500)], (1, 0), &[false]),
            (Theme::Killed, &[("v1-1", 50)], (0, 0), &[false]),
        ];
        for (theme, placed, failed, wanted) in cases {
            let verdicts = judge(&[phase(theme, placed, failed)], "v1-1", 3);
            let kept: Vec<bool> = verdicts.iter().map(|verdict| verdict.kept).collect();
            assert_eq!(
                kept, wanted,
                "{theme:?} {placed:?} {failed:?}: {verdicts:?}"
            );
        }
    }
}
