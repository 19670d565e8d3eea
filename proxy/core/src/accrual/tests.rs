use super::*;
use crate::config::SuccessRate;
use crate::random::Xoshiro;

const SECOND: Nanos = 1_000_000_000;

fn rules() -> Accrual {
    Accrual::default()
}

fn only_consecutive(failures: u32) -> Accrual {
    Accrual {
        consecutive_failures: Some(failures),
        success_rate: None,
        ..Accrual::default()
    }
}

/// A set of `n`, and an endpoint of it that has just been ejected at `now`.
fn ejected(n: usize, now: Nanos, rules: &Accrual) -> (SetHealth, EndpointHealth, Ejected) {
    let (set, endpoint, rng) = (
        SetHealth::new(n),
        EndpointHealth::new(0),
        &mut Xoshiro::seeded(1),
    );
    let ejected = (0..100)
        .find_map(|_| endpoint.failure(now, rules, &set, rng))
        .unwrap();
    (set, endpoint, ejected)
}

#[test]
fn failures_in_a_row_eject_and_a_success_resets_the_row() {
    let (rules, set, rng) = (
        only_consecutive(3),
        SetHealth::new(4),
        &mut Xoshiro::seeded(1),
    );
    let endpoint = EndpointHealth::new(0);
    for outcome in [false, false, true, false, false, true, false, false] {
        if outcome {
            assert!(!endpoint.success(0, &rules, &set));
        } else {
            assert_eq!(endpoint.failure(0, &rules, &set, rng), None);
        }
    }
    let until = SECOND; // the first time out is `min_probe`
    assert_eq!(
        endpoint.failure(0, &rules, &set, rng),
        Some(Ejected {
            until,
            cause: Cause::Consecutive
        })
    );
    assert_eq!(
        (
            set.ejected(),
            endpoint.status(until - 1),
            endpoint.status(until)
        ),
        (1, Status::Busy, Status::Open)
    );
}

#[test]
fn a_low_success_rate_ejects_once_there_are_enough_requests() {
    let rate = SuccessRate {
        below: 0.8,
        window: Duration::from_secs(10),
        min_requests: 10,
    };
    let rules = Accrual {
        consecutive_failures: None,
        success_rate: Some(rate),
        ..rules()
    };
    let (set, rng) = (SetHealth::new(4), &mut Xoshiro::seeded(1));
    let endpoint = EndpointHealth::new(0);
    for request in 1..10_u64 {
        match request % 3 {
            0 => assert_eq!(
                endpoint.failure(request, &rules, &set, rng),
                None,
                "request {request}"
            ),
            _ => assert!(!endpoint.success(request, &rules, &set)),
        }
    }
    let ejected = endpoint.failure(10, &rules, &set, rng).unwrap();
    assert_eq!(ejected.cause, Cause::SuccessRate);
}

#[test]
fn failures_older_than_the_window_are_forgotten() {
    let rules = Accrual {
        consecutive_failures: None,
        ..rules()
    };
    let (set, rng) = (SetHealth::new(4), &mut Xoshiro::seeded(1));
    let endpoint = EndpointHealth::new(0);
    for at in 0..4 {
        assert_eq!(endpoint.failure(at, &rules, &set, rng), None);
    }
    // Eleven seconds later the four are gone: one failure among five is 80 %, and enough.
    (0..4).for_each(|_| assert!(!endpoint.success(11 * SECOND, &rules, &set)));
    assert_eq!(endpoint.failure(11 * SECOND, &rules, &set, rng), None);
    assert!(
        endpoint.failure(11 * SECOND, &rules, &set, rng).is_some(),
        "two of six are too many"
    );
}

#[test]
fn exactly_one_probe_at_a_time() {
    let rules = rules();
    let (set, endpoint, Ejected { until, .. }) = ejected(3, 0, &rules);
    assert!(!endpoint.try_probe(until - 1, &rules));
    let winners: usize = std::thread::scope(|scope| {
        let prober = || usize::from(endpoint.try_probe(until, &rules));
        let probers: Vec<_> = (0..8).map(|_| scope.spawn(prober)).collect();
        probers
            .into_iter()
            .map(|prober| prober.join().unwrap())
            .sum()
    });
    assert_eq!((winners, endpoint.status(until)), (1, Status::Busy));
    assert!(endpoint.success(until, &rules, &set));
    assert_eq!(
        (set.ejected(), endpoint.status(until), endpoint.revived_at()),
        (0, Status::Open, Some(until))
    );
}

#[test]
fn a_lost_probe_does_not_wedge_the_endpoint() {
    let rules = rules();
    let (_, endpoint, Ejected { until, .. }) = ejected(3, 0, &rules);
    assert!(endpoint.try_probe(until, &rules));
    let lost = until + PROBE_PATIENCE.as_nanos() as u64;
    assert!(!endpoint.try_probe(lost - 1, &rules));
    assert_eq!(
        (endpoint.status(lost), endpoint.probe_due(lost)),
        (Status::Open, true)
    );
    assert!(endpoint.try_probe(lost, &rules));
    assert!(!endpoint.try_probe(lost, &rules));
}

#[test]
fn failed_probes_wait_longer_each_time_up_to_the_maximum() {
    let rules = rules();
    let (set, endpoint, first) = ejected(3, 0, &rules);
    let (mut until, rng) = (first.until, &mut Xoshiro::seeded(7));
    for n in 1..12_u32 {
        assert!(endpoint.try_probe(until, &rules));
        let next = endpoint.failure(until, &rules, &set, rng).unwrap();
        assert_eq!(next.cause, Cause::Probe);
        let wait = Duration::from_nanos(next.until - until);
        let low = (rules.min_probe * 2_u32.pow(n - 1)).min(rules.max_probe);
        assert!(
            wait >= low && wait <= (low * 2).min(rules.max_probe),
            "time out {n}: {wait:?}"
        );
        assert_eq!(set.ejected(), 1);
        until = next.until;
    }
    assert!(endpoint.try_probe(until, &rules) && endpoint.success(until, &rules, &set));
    let again = (0..5)
        .find_map(|_| endpoint.failure(until, &rules, &set, rng))
        .unwrap();
    assert_eq!(again.until - until, SECOND, "a revival starts over");
}

#[test]
fn an_ignorable_probe_is_given_back() {
    let rules = rules();
    let (set, endpoint, Ejected { until, .. }) = ejected(3, 0, &rules);
    assert!(endpoint.try_probe(until, &rules));
    endpoint.ignorable(until + 5);
    assert!(endpoint.probe_due(until + 5) && set.ejected() == 1);
    assert!(endpoint.try_probe(until + 5, &rules));
}

#[test]
fn answers_from_before_the_ejection_count_for_nothing() {
    let rules = rules();
    let (set, endpoint, Ejected { until, .. }) = ejected(3, 0, &rules);
    assert!(!endpoint.success(10, &rules, &set));
    assert_eq!(
        endpoint.failure(10, &rules, &set, &mut Xoshiro::seeded(1)),
        None
    );
    endpoint.ignorable(10);
    assert_eq!((endpoint.ejected_until(), set.ejected()), (Some(until), 1));
}

#[test]
fn part_of_the_set_stays_in_use_however_bad_it_looks() {
    for (total, percent, most) in [
        (1, 50.0, 1),
        (2, 50.0, 1),
        (3, 50.0, 1),
        (4, 50.0, 2),
        (10, 50.0, 5),
        (10, 0.0, 1),
        (10, 10.0, 1),
        (3, 100.0, 3),
    ] {
        let rules = Accrual {
            max_ejected_percent: percent,
            ..rules()
        };
        let (set, rng) = (SetHealth::new(total), &mut Xoshiro::seeded(1));
        let endpoints: Vec<EndpointHealth> = (0..total).map(|_| EndpointHealth::new(0)).collect();
        for _ in 0..20 {
            for endpoint in &endpoints {
                endpoint.failure(0, &rules, &set, rng);
            }
        }
        let out = endpoints
            .iter()
            .filter(|endpoint| !endpoint.is_alive())
            .count();
        assert_eq!((out, set.ejected()), (most, most), "{percent} % of {total}");
    }
}

#[test]
fn an_endpoint_over_the_floor_is_ejected_as_soon_as_there_is_room() {
    let rules = only_consecutive(1);
    let (set, first, Ejected { until, .. }) = ejected(2, 0, &rules);
    let (second, rng) = (EndpointHealth::new(0), &mut Xoshiro::seeded(1));
    assert_eq!(second.failure(0, &rules, &set, rng), None);
    assert!(first.try_probe(until, &rules) && first.success(until, &rules, &set));
    assert!(second.failure(until, &rules, &set, rng).is_some());
}

#[test]
fn counts_do_not_drift_when_endpoints_leave() {
    let rules = rules();
    let (set, endpoint, Ejected { until, .. }) = ejected(4, 0, &rules);
    assert!(endpoint.try_probe(until, &rules));
    endpoint.leave(&set);
    set.resize(3);
    assert_eq!((set.ejected(), endpoint.status(until)), (0, Status::Closed));
    // What its last requests report comes too late, and leaving twice is leaving once.
    let rng = &mut Xoshiro::seeded(1);
    assert!(!endpoint.success(until, &rules, &set));
    assert_eq!(
        (0..10).find_map(|_| endpoint.failure(until, &rules, &set, rng)),
        None
    );
    endpoint.ignorable(until);
    endpoint.leave(&set);
    assert_eq!(
        (set.ejected(), endpoint.try_probe(u64::MAX, &rules)),
        (0, false)
    );
}

#[test]
fn when_everything_is_out_probes_come_every_min_probe() {
    let rules = Accrual {
        max_ejected_percent: 100.0,
        ..only_consecutive(1)
    };
    let (set, rng) = (SetHealth::new(3), &mut Xoshiro::seeded(5));
    let endpoints: Vec<EndpointHealth> = (0..3).map(|_| EndpointHealth::new(0)).collect();
    for endpoint in &endpoints {
        endpoint.failure(0, &rules, &set, rng);
    }
    let mut now = 0;
    for round in 0..20 {
        let due = endpoints
            .iter()
            .filter_map(EndpointHealth::ejected_until)
            .min()
            .unwrap();
        assert!(
            due - now <= SECOND,
            "round {round}: nothing to probe for {} ms",
            (due - now) / 1_000_000
        );
        now = due;
        for endpoint in endpoints
            .iter()
            .filter(|endpoint| endpoint.try_probe(now, &rules))
        {
            assert!(endpoint.failure(now, &rules, &set, rng).is_some());
        }
    }
    for endpoint in &endpoints {
        assert!(
            endpoint.ejected_until().unwrap() - now <= SECOND,
            "all of them are back within a second"
        );
    }
}

#[test]
fn slow_start_grows_from_a_tenth_and_begins_anew_at_a_revival() {
    let (rules, slow) = (rules(), Duration::from_secs(10));
    let fresh = EndpointHealth::new(SECOND);
    for (at, share) in [
        (0, 0.1),
        (1, 0.1),
        (2, 0.1),
        (6, 0.5),
        (11, 1.0),
        (100, 1.0),
    ] {
        assert!(
            (fresh.ramp(at * SECOND, slow) - share).abs() < 1e-9,
            "at {at} s"
        );
    }
    assert_eq!(fresh.ramp(SECOND, Duration::ZERO), 1.0);
    let (set, endpoint, Ejected { until, .. }) = ejected(3, 50 * SECOND, &rules);
    assert_eq!(endpoint.ramp(until, slow), RAMP_FLOOR);
    assert!(endpoint.try_probe(until, &rules) && endpoint.success(until, &rules, &set));
    assert_eq!(endpoint.ramp(until + 5 * SECOND, slow), 0.5);
}

#[test]
fn workers_may_fail_at_once_and_the_count_stays_right() {
    let rules = only_consecutive(1);
    let set = SetHealth::new(10);
    let endpoints: Vec<EndpointHealth> = (0..10).map(|_| EndpointHealth::new(0)).collect();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (set, rules, endpoints) = (&set, &rules, &endpoints);
            scope.spawn(move || {
                let rng = &mut Xoshiro::seeded(seed);
                for step in 0..5_000_u64 {
                    let (endpoint, now) = (&endpoints[rng.below(10)], step * SECOND / 10);
                    if endpoint.try_probe(now, rules) {
                        match rng.below(3) {
                            0 => drop(endpoint.failure(now, rules, set, rng)),
                            1 => drop(endpoint.success(now, rules, set)),
                            _ => endpoint.ignorable(now),
                        }
                    }
                }
            });
        }
    });
    let out = endpoints
        .iter()
        .filter(|endpoint| !endpoint.is_alive())
        .count();
    assert_eq!(set.ejected(), out);
}
