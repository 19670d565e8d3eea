use super::*;

const S: Nanos = 1_000_000_000;

fn dns() -> Dns {
    Dns {
        min_ttl: Duration::from_secs(2),
        max_ttl: Duration::from_secs(60),
        ..Dns::default()
    }
}

fn records(ips: &[&str]) -> Vec<Record> {
    let record = |ip: &&str| Record {
        ip: ip.parse().unwrap(),
        port: 0,
        weight: 1.0,
    };
    ips.iter().map(record).collect()
}

fn ips(asked: &Asked) -> Vec<String> {
    match asked.known() {
        Known::Good(records) => records.iter().map(|record| record.ip.to_string()).collect(),
        Known::Pending => vec!["pending".into()],
        Known::Never(why) => vec![format!("never: {why}")],
    }
}

fn good(ips: &[&str], ttl: u64) -> Result<Answer, Failure> {
    Ok(Answer {
        records: records(ips),
        ttl: Duration::from_secs(ttl),
        missing: None,
    })
}

fn broken() -> Result<Answer, Failure> {
    Err(Failure::Broken("SERVFAIL".into()))
}

/// Asks, answers at `now`, and says what came of it with the seconds until the question is due again.
fn step(asked: &mut Asked, now: Nanos, result: Result<Answer, Failure>) -> (Effect, u64) {
    asked.sent();
    assert_eq!(asked.due(), None, "a question on its way is not due");
    let effect = asked.answered(now, result, &dns());
    (effect, (asked.due().unwrap() - now) / S)
}

#[test]
fn ttls_are_kept_within_bounds() {
    for (ttl, wait) in [
        (0, 2),
        (1, 2),
        (2, 2),
        (30, 30),
        (60, 60),
        (61, 60),
        (u64::from(u32::MAX), 60),
    ] {
        let mut asked = Asked::new(5);
        assert_eq!(asked.due(), Some(5));
        assert_eq!(
            step(&mut asked, 7 * S, good(&["10.0.0.1"], ttl)),
            (Effect::Changed, wait),
            "TTL {ttl}"
        );
    }
    let mut asked = Asked::new(0);
    let zero = Dns {
        min_ttl: Duration::ZERO,
        max_ttl: Duration::ZERO,
        ..dns()
    };
    asked.answered(0, good(&["10.0.0.1"], 0), &zero);
    assert_eq!(
        asked.due(),
        Some(WAIT_MIN.as_nanos() as Nanos),
        "never a question without a pause"
    );
}

#[test]
fn the_last_good_answer_survives_every_failure() {
    let failures = [
        (broken(), 2),
        (Err(Failure::NoSuchName(None)), 2),
        (Err(Failure::NoSuchName(Some(Duration::from_secs(7)))), 7),
        (Err(Failure::NoSuchName(Some(Duration::from_secs(900)))), 30),
        (Err(Failure::NoRecords(Some(Duration::from_secs(0)))), 2),
        (good(&[], 10), 10),
    ];
    for (failure, wait) in failures {
        let mut asked = Asked::new(0);
        step(&mut asked, 0, good(&["10.0.0.1"], 30));
        assert_eq!(
            step(&mut asked, 30 * S, failure.clone()),
            (Effect::Kept, wait),
            "{failure:?}"
        );
        assert_eq!(ips(&asked), ["10.0.0.1"], "{failure:?}");
        assert_eq!(
            step(&mut asked, 40 * S, good(&["10.0.0.2"], 30)),
            (Effect::Changed, 30)
        );
        assert_eq!(ips(&asked), ["10.0.0.2"]);
    }
}

#[test]
fn a_name_without_an_answer_is_negative_until_it_has_one() {
    let mut asked = Asked::new(0);
    assert_eq!(ips(&asked), ["pending"]);
    assert_eq!(
        step(&mut asked, 0, Err(Failure::NoSuchName(None))),
        (Effect::Changed, 2)
    );
    assert_eq!(ips(&asked), ["never: no such name (NXDOMAIN)"]);
    assert_eq!(step(&mut asked, S, broken()), (Effect::Never, 2));
    assert_eq!(ips(&asked), ["never: SERVFAIL"]);
    assert_eq!(
        step(&mut asked, 2 * S, good(&["10.0.0.1"], 5)),
        (Effect::Changed, 5)
    );
    assert_eq!(ips(&asked), ["10.0.0.1"]);
}

#[test]
fn a_failing_server_is_asked_less_and_less_often() {
    let mut asked = Asked::new(0);
    let waits: Vec<u64> = (0..40).map(|_| step(&mut asked, 0, broken()).1).collect();
    assert_eq!(waits[..6], [2, 4, 8, 16, 30, 30]);
    assert!(waits[6..].iter().all(|wait| *wait == 30));
    step(&mut asked, 0, good(&["10.0.0.1"], 5));
    assert_eq!(step(&mut asked, 0, broken()).1, 2, "a good answer forgives");
}

#[test]
fn order_and_repetition_are_no_change() {
    let mut asked = Asked::new(0);
    step(
        &mut asked,
        0,
        good(&["10.0.0.2", "10.0.0.1", "10.0.0.2"], 5),
    );
    assert_eq!(ips(&asked), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(
        step(&mut asked, 0, good(&["10.0.0.1", "10.0.0.2"], 5)).0,
        Effect::Same
    );
    let many: Vec<Record> = (0..=u16::MAX)
        .map(|n| Record {
            ip: IpAddr::from([10, 0, (n >> 8) as u8, n as u8]),
            port: 0,
            weight: 1.0,
        })
        .collect();
    step(
        &mut asked,
        0,
        Ok(Answer {
            records: many,
            ttl: Duration::ZERO,
            missing: None,
        }),
    );
    assert_eq!(ips(&asked).len(), RECORDS_MAX, "a huge answer is cut");
}

#[test]
fn what_could_not_be_asked_stays() {
    let table: &[(Option<Missing>, &[&str])] = &[
        (None, &["10.0.0.9"]),
        (Some(Missing::V4), &["10.0.0.1", "10.0.0.9"]),
        (Some(Missing::V6), &["10.0.0.9", "fd00::1"]),
        (Some(Missing::Some), &["10.0.0.1", "10.0.0.9", "fd00::1"]),
    ];
    for (missing, expect) in table {
        let mut asked = Asked::new(0);
        step(&mut asked, 0, good(&["10.0.0.1", "fd00::1"], 5));
        let answer = Answer {
            records: records(&["10.0.0.9"]),
            ttl: Duration::ZERO,
            missing: *missing,
        };
        step(&mut asked, 0, Ok(answer));
        assert_eq!(ips(&asked), *expect, "{missing:?}");
    }
}

#[test]
fn a_mass_loss_is_held_and_ended_by_release_or_by_a_better_answer() {
    let five = &["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"];
    let start = || {
        let mut asked = Asked::new(0);
        step(&mut asked, 0, good(five, 5));
        assert_eq!(
            step(&mut asked, 7 * S, good(&five[..2], 5)),
            (Effect::Held, 5)
        );
        asked
    };
    let mut asked = start();
    assert_eq!(ips(&asked), five);
    let (since, lost) = asked.lost().unwrap();
    assert_eq!((since, lost), (7 * S, records(&five[2..])));
    assert_eq!(step(&mut asked, 9 * S, good(&five[..1], 5)).0, Effect::Held);
    assert_eq!(
        asked.lost().unwrap().0,
        7 * S,
        "a further loss does not prolong the hold"
    );
    assert_eq!(step(&mut asked, 10 * S, broken()).0, Effect::Kept);
    assert!(
        asked.lost().is_some(),
        "a failure says nothing about the held answer"
    );
    asked.release();
    assert_eq!(ips(&asked), ["10.0.0.1"]);
    assert_eq!(asked.lost(), None);

    let mut asked = start();
    assert_eq!(step(&mut asked, 8 * S, good(five, 5)).0, Effect::Same);
    assert_eq!(
        (asked.lost(), ips(&asked).len()),
        (None, 5),
        "the endpoints are back"
    );

    let mut asked = start();
    assert_eq!(
        step(&mut asked, 8 * S, good(&five[..3], 5)).0,
        Effect::Changed
    );
    assert_eq!((asked.lost(), ips(&asked).len()), (None, 3));

    let mut asked = Asked::new(0);
    step(&mut asked, 0, good(five, 5));
    let others = &["10.1.0.1", "10.1.0.2", "10.1.0.3"];
    assert_eq!(
        step(&mut asked, S, good(others, 5)).0,
        Effect::Changed,
        "replaced, not lost"
    );
}

#[test]
fn hurrying_moves_a_question_forward_but_not_one_on_its_way() {
    let mut asked = Asked::new(0);
    step(&mut asked, 0, good(&["10.0.0.1"], 60));
    asked.hurry(3 * S);
    assert_eq!(asked.due(), Some(3 * S));
    asked.hurry(9 * S);
    assert_eq!(asked.due(), Some(3 * S));
    asked.sent();
    asked.hurry(S);
    assert_eq!(asked.due(), None);
}
