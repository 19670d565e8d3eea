//! The pipeline on real brokers: the queue as processes of its own, a subscriber that remembers everything, and brokers and
//! replicas that are killed.
//!
//! The same judge closes every test: whatever was acknowledged had its effect exactly once by its id, in the order of its key.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod apache;
mod boundaries;
mod embedded;
mod guides;
mod parked;
mod subscriber;
mod world;

use heddle_bank::brokers::{Cluster, Embedded};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::{Command, ExitCode, Stdio};

/// What a test needs beside this repository's own build.
#[derive(Debug, Clone, Copy)]
enum Need {
    Embedded,
    Apache,
}

impl Need {
    fn missing(self) -> Option<&'static str> {
        let java = || {
            let asked = Command::new("java")
                .arg("-version")
                .stderr(Stdio::null())
                .status();
            asked.is_ok_and(|status| status.success())
        };
        match self {
            Self::Embedded if Embedded::binary().is_none() => Some(
                "HEDDLE_BANK_BROKER names no heddle-bank-broker: scripts/step.sh build builds it into target/broker/debug",
            ),
            Self::Apache if Cluster::jars().is_none() => Some(
                "the jars of Apache Kafka are missing: mvn -q -f sample-bank/kafka/pom.xml package",
            ),
            Self::Apache if !java() => {
                Some("java is missing: apt-get install openjdk-17-jre-headless")
            }
            _ => None,
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Brokers in Java and two cores: side by side the tests would measure each other.
    arguments.test_threads = Some(1);
    let tests: [(&str, Need, fn()); 15] = [
        (
            "embedded::events_arrive_in_order_with_their_headers",
            Need::Embedded,
            embedded::arrive,
        ),
        (
            "embedded::bad_requests_are_refused",
            Need::Embedded,
            embedded::refused,
        ),
        (
            "embedded::a_poison_event_holds_up_only_its_key",
            Need::Embedded,
            parked::poison,
        ),
        (
            "embedded::a_poison_event_can_be_dropped",
            Need::Embedded,
            parked::dropped,
        ),
        (
            "embedded::an_absent_subscriber_parks_nothing",
            Need::Embedded,
            parked::absent,
        ),
        (
            "embedded::a_broker_may_be_away_for_a_while",
            Need::Embedded,
            embedded::broker_away,
        ),
        (
            "embedded::replicas_come_and_go",
            Need::Embedded,
            embedded::replicas,
        ),
        (
            "embedded::the_queue_dies_at_its_boundaries",
            Need::Embedded,
            embedded::boundaries,
        ),
        (
            "embedded::a_paused_subscription_waits",
            Need::Embedded,
            embedded::paused,
        ),
        (
            "embedded::history_is_replayed",
            Need::Embedded,
            embedded::replayed,
        ),
        (
            "embedded::the_guide_to_dead_letters_is_true",
            Need::Embedded,
            guides::dead_letters,
        ),
        (
            "embedded::the_guide_to_replay_is_true",
            Need::Embedded,
            guides::replay,
        ),
        (
            "apache::a_broker_dies_and_a_fourth_takes_partitions",
            Need::Apache,
            apache::moves,
        ),
        (
            "apache::all_brokers_may_be_away_for_a_while",
            Need::Apache,
            apache::away,
        ),
        (
            "apache::the_queue_dies_at_its_boundaries",
            Need::Apache,
            apache::boundaries,
        ),
    ];
    let trials = tests.into_iter().map(|(name, need, test)| {
        Trial::ignorable_test(name, move || match need.missing() {
            None => {
                test();
                Ok(Completion::Completed)
            }
            Some(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => Err(Failed::from(why)),
            Some(why) => Ok(Completion::ignored_with(why)),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
