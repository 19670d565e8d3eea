use super::*;
use crate::random::Xoshiro;

/// The columns of the tables below.
const METHODS: [&str; 11] = [
    "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "CONNECT", "PROPFIND",
    "get",
];

fn outcomes() -> [(&'static str, Outcome); 13] {
    [
        ("connect", Outcome::ConnectFailed),
        ("connect-timeout", Outcome::ConnectTimeout),
        ("unused", Outcome::Unused),
        ("refused-stream", Outcome::RefusedStream),
        ("reset reused", Outcome::Reset { reused: true }),
        ("reset fresh", Outcome::Reset { reused: false }),
        ("attempt-timeout", Outcome::AttemptTimeout),
        ("200", Outcome::Status(200)),
        ("404", Outcome::Status(404)),
        ("500", Outcome::Status(500)),
        ("502", Outcome::Status(502)),
        ("503", Outcome::Status(503)),
        ("grpc 14", Outcome::Grpc(14)),
    ]
}

fn retries(on: &[RetryOn]) -> Retries {
    Retries {
        on: on.to_vec(),
        ..Retries::default()
    }
}

/// Every outcome that can be listed.
fn everything() -> Retries {
    let mut on = vec![
        RetryOn::Connect,
        RetryOn::RefusedStream,
        RetryOn::UnusedConnection,
        RetryOn::Reset,
        RetryOn::AttemptTimeout,
        RetryOn::Grpc(14),
    ];
    on.extend((100..600).map(RetryOn::Status));
    retries(&on)
}

/// One line per outcome, one column per method: `x` is tried again, `.` is not.
fn table(retries: &Retries, idempotent: bool) -> String {
    let line = |(name, outcome): (&str, Outcome)| {
        let cell = |method: &&str| {
            if may_retry(retries, method, idempotent, outcome) {
                "x"
            } else {
                "."
            }
        };
        format!(
            "{name:16}{}\n",
            METHODS.iter().map(cell).collect::<String>()
        )
    };
    outcomes().into_iter().map(line).collect()
}

/// Promise 3: whatever is listed, what a method without a promise of its own may have started
/// is not sent again.
#[test]
fn nothing_is_done_twice_whatever_is_listed() {
    let expected = "\
connect         xxxxxxxxxxx
connect-timeout xxxxxxxxxxx
unused          xxxxxxxxxxx
refused-stream  xxxxxxxxxxx
reset reused    xxxxxx.....
reset fresh     xxxxxx.....
attempt-timeout xxxxxx.....
200             xxxxxx.....
404             xxxxxx.....
500             xxxxxx.....
502             xxxxxx.....
503             xxxxxx.....
grpc 14         xxxxxx.....
";
    assert_eq!(table(&everything(), false), expected);
}

#[test]
fn by_default_only_what_never_started_or_broke_off_unanswered_is_tried_again() {
    let expected = "\
connect         xxxxxxxxxxx
connect-timeout xxxxxxxxxxx
unused          xxxxxxxxxxx
refused-stream  xxxxxxxxxxx
reset reused    xxxxxx.....
reset fresh     xxxxxx.....
attempt-timeout ...........
200             ...........
404             ...........
500             ...........
502             ...........
503             ...........
grpc 14         ...........
";
    assert_eq!(table(&Retries::default(), false), expected);
}

#[test]
fn an_idempotency_key_makes_every_method_repeatable_but_lists_nothing() {
    let expected = "\
connect         xxxxxxxxxxx
connect-timeout xxxxxxxxxxx
unused          xxxxxxxxxxx
refused-stream  xxxxxxxxxxx
reset reused    xxxxxxxxxxx
reset fresh     ...........
attempt-timeout ...........
200             ...........
404             ...........
500             ...........
502             ...........
503             xxxxxxxxxxx
grpc 14         ...........
";
    let on = [
        RetryOn::Connect,
        RetryOn::RefusedStream,
        RetryOn::Status(503),
    ];
    assert_eq!(table(&retries(&on), true), expected);
}

#[test]
fn a_listed_status_covers_the_proxys_own_answers_with_it() {
    let expected = "\
connect         xxxxxxxxxxx
connect-timeout ...........
unused          xxxxxxxxxxx
refused-stream  xxxxxxxxxxx
reset reused    xxxxxx.....
reset fresh     xxxxxx.....
attempt-timeout ...........
200             ...........
404             ...........
500             ...........
502             xxxxxx.....
503             ...........
grpc 14         ...........
";
    assert_eq!(table(&retries(&[RetryOn::Status(502)]), false), expected);
    let expected = "\
connect         xxxxxxxxxxx
connect-timeout xxxxxxxxxxx
unused          xxxxxxxxxxx
refused-stream  xxxxxxxxxxx
reset reused    xxxxxx.....
reset fresh     xxxxxx.....
attempt-timeout xxxxxx.....
200             ...........
404             ...........
500             xxxxxx.....
502             xxxxxx.....
503             xxxxxx.....
grpc 14         ...........
";
    assert_eq!(table(&retries(&[RetryOn::ServerError]), false), expected);
}

#[test]
fn an_empty_list_or_no_attempts_means_never() {
    let none = table(&retries(&[]), true);
    assert!(!none.contains('x'), "{none}");
    let none = table(
        &Retries {
            max: 0,
            ..everything()
        },
        true,
    );
    assert!(!none.contains('x'), "{none}");
}

fn attempt() -> Attempt<'static> {
    Attempt {
        method: "GET",
        idempotent: false,
        outcome: Outcome::ConnectFailed,
        retry_after: None,
        pushback_ms: None,
        replayable: true,
        attempts: 1,
        tokens: None,
        left: None,
    }
}

fn verdict(attempt: Attempt<'_>) -> Verdict {
    let mut backoff = Backoff::constant(Duration::from_millis(25));
    decide(
        &Retries::default(),
        &attempt,
        &mut backoff,
        &mut Xoshiro::seeded(1),
        || true,
    )
}

#[test]
fn every_limit_stops_a_retry() {
    let ms = Duration::from_millis;
    let retry = |millis| Verdict::Retry { after: ms(millis) };
    let stop = Verdict::Stop;
    let default = attempt();
    let status = Attempt {
        outcome: Outcome::Status(503),
        ..default
    };
    let reused = Outcome::Reset { reused: true };
    for (what, attempt, expected) in [
        ("plain", default, retry(25)),
        ("not listed", status, stop(Stop::NotListed)),
        (
            "not idempotent",
            Attempt {
                method: "POST",
                outcome: reused,
                ..default
            },
            stop(Stop::NotIdempotent),
        ),
        (
            "declared so",
            Attempt {
                method: "POST",
                outcome: reused,
                idempotent: true,
                ..default
            },
            retry(25),
        ),
        (
            "body is gone",
            Attempt {
                replayable: false,
                ..default
            },
            stop(Stop::NotReplayable),
        ),
        (
            "second attempt",
            Attempt {
                attempts: 2,
                ..default
            },
            retry(25),
        ),
        (
            "third attempt",
            Attempt {
                attempts: 3,
                ..default
            },
            stop(Stop::Attempts),
        ),
        (
            "token left",
            Attempt {
                tokens: Some(1),
                ..default
            },
            retry(25),
        ),
        (
            "no token left",
            Attempt {
                tokens: Some(0),
                ..default
            },
            stop(Stop::Tokens),
        ),
        (
            "time left",
            Attempt {
                left: Some(ms(26)),
                ..default
            },
            retry(25),
        ),
        (
            "no time left",
            Attempt {
                left: Some(ms(25)),
                ..default
            },
            stop(Stop::Deadline),
        ),
        (
            "retry-after",
            Attempt {
                retry_after: Some(ms(2000)),
                ..default
            },
            retry(2000),
        ),
        (
            "retry-after 0",
            Attempt {
                retry_after: Some(ms(0)),
                ..default
            },
            retry(25),
        ),
        (
            "retry-after beyond the deadline",
            Attempt {
                retry_after: Some(ms(2000)),
                left: Some(ms(1999)),
                ..default
            },
            stop(Stop::Deadline),
        ),
        (
            "retry-after too long",
            Attempt {
                retry_after: Some(ms(10_001)),
                ..default
            },
            stop(Stop::Pushback),
        ),
        (
            "pushback",
            Attempt {
                pushback_ms: Some(100),
                ..default
            },
            retry(100),
        ),
        (
            "pushback, not at all",
            Attempt {
                pushback_ms: Some(-1),
                ..default
            },
            stop(Stop::Pushback),
        ),
        (
            "pushback before retry-after",
            Attempt {
                pushback_ms: Some(100),
                retry_after: Some(ms(9000)),
                ..default
            },
            retry(100),
        ),
        (
            "pushback too long",
            Attempt {
                pushback_ms: Some(i64::MAX),
                ..default
            },
            stop(Stop::Pushback),
        ),
    ] {
        assert_eq!(verdict(attempt), expected, "{what}");
    }
}

#[test]
fn the_budget_is_asked_last_and_only_once() {
    let decide_with = |attempt: Attempt<'_>, answer: bool| {
        let mut asked = 0;
        let (mut backoff, rng) = (Backoff::constant(Duration::ZERO), &mut Xoshiro::seeded(1));
        let verdict = decide(&Retries::default(), &attempt, &mut backoff, rng, || {
            asked += 1;
            answer
        });
        (verdict, asked)
    };
    assert_eq!(
        decide_with(attempt(), true),
        (
            Verdict::Retry {
                after: Duration::ZERO
            },
            1
        )
    );
    assert_eq!(
        decide_with(attempt(), false),
        (Verdict::Stop(Stop::Budget), 1)
    );
    let late = Attempt {
        left: Some(Duration::ZERO),
        ..attempt()
    };
    assert_eq!(decide_with(late, true), (Verdict::Stop(Stop::Deadline), 0));
}

#[test]
fn waits_follow_the_configured_backoff() {
    let config = crate::config::Backoff {
        base: Duration::from_millis(25),
        max: Duration::from_millis(250),
    };
    let (mut backoff, rng) = (Backoff::from(config), &mut Xoshiro::seeded(9));
    let mut waits = (1..=2).map(|attempts| {
        match decide(
            &Retries::default(),
            &Attempt {
                attempts,
                ..attempt()
            },
            &mut backoff,
            rng,
            || true,
        ) {
            Verdict::Retry { after } => after,
            Verdict::Stop(stop) => panic!("{stop:?}"),
        }
    });
    assert_eq!(waits.next(), Some(config.base));
    assert!((config.base..=config.base * 3).contains(&waits.next().unwrap()));
}
