//! Laws of [`Partition`], over random schedules: events, refusals, commands, and owners that die at any moment.

use super::{Cause, Command, Event, Job, Kept, Partition};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Schedules, unless `HEDDLE_CASES` says otherwise.
const CASES: u64 = 500;
const KEYS: u64 = 4;
const EVENTS: i64 = 40;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// A record of the dead letters: an offset, and the event kept there or none.
type Record = (i64, Option<Kept>);

/// A topic's partition, its dead letters, and a subscriber that remembers whom it served.
struct World {
    random: Random,
    topic: Vec<Event>,
    committed: i64,
    dead: Vec<Record>,
    commands: BTreeMap<i64, Command>,
    /// First effects, in order.
    effects: Vec<i64>,
    dropped: BTreeSet<i64>,
    /// Of the owner that lives now.
    partition: Partition,
    read: i64,
    running: Vec<Job>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let topic = (0..EVENTS).map(|offset| Event {
            offset,
            key: format!("k{}", random.below(KEYS)).into(),
            id: format!("e{offset}").into(),
            body: Bytes::new(),
            trace: None,
            time: 0,
        });
        let topic = topic.collect();
        let mut world = Self {
            random,
            topic,
            committed: 0,
            dead: Vec::new(),
            commands: BTreeMap::new(),
            effects: Vec::new(),
            dropped: BTreeSet::new(),
            partition: Partition::default(),
            read: 0,
            running: Vec::new(),
        };
        world.restart();
        world
    }

    /// The owner dies, and another takes over from what was committed and kept.
    fn restart(&mut self) {
        self.running.clear();
        self.partition = Partition::default();
        self.read = self.committed;
        for (offset, kept) in self.dead.clone() {
            self.partition.recall(offset, kept);
        }
        for (offset, command) in self.commands.clone() {
            self.partition.command(offset, command);
        }
        self.partition.loaded();
    }

    fn kept(&self) -> BTreeMap<i64, Kept> {
        let mut kept = BTreeMap::new();
        for (offset, record) in &self.dead {
            match record {
                Some(record) => kept.insert(*offset, record.clone()),
                None => kept.remove(offset),
            };
        }
        kept
    }

    fn step(&mut self, calm: bool) {
        match self.random.below(if calm { 10 } else { 14 }) {
            0..=2 => {
                if let Some(event) = self.topic.get(usize::try_from(self.read).unwrap()) {
                    self.partition.take(event.clone());
                    self.read += 1;
                }
            }
            3..=5 => self.start(),
            6..=8 => self.end(calm),
            9 => {
                if let Some(next) = self.partition.progress() {
                    self.committed = next;
                }
            }
            10 => self.restart(),
            11..=12 => self.ask(),
            _ => self.partition.untell(),
        }
    }

    fn start(&mut self) {
        if let Some(job) = self.partition.next() {
            let key = &job.event().key;
            let busy = self.running.iter().any(|other| other.event().key == *key);
            assert!(!busy, "two things at once for {key}");
            self.running.push(job);
        }
    }

    /// Something ends: with its effect on the world, and perhaps with the death of its owner right after that.
    fn end(&mut self, calm: bool) {
        if self.running.is_empty() {
            return;
        }
        let chosen = usize::try_from(self.random.below(self.running.len() as u64)).unwrap();
        let job = self.running.swap_remove(chosen);
        let event = job.event().clone();
        let refused = !calm && self.random.below(4) == 0;
        let dies = !calm && self.random.below(8) == 0;
        let outcome = match &job {
            Job::Deliver(_) | Job::Redeliver(_) if refused => Some(Cause::Parked {
                reason: "no".into(),
                tries: 1,
            }),
            Job::Deliver(_) | Job::Redeliver(_) => {
                self.effect(event.offset);
                if !calm && self.random.below(8) == 0 {
                    return self.restart(); // between the effect and its record
                }
                None
            }
            Job::Keep(_) => Some(Cause::Waiting),
            Job::Forget(_) => {
                self.dropped.insert(event.offset);
                None
            }
        };
        let kept = outcome.map(|cause| Kept {
            event: event.clone(),
            cause,
            since: 0,
        });
        if kept.is_some() || !matches!(job, Job::Deliver(_)) {
            self.dead.push((event.offset, kept.clone()));
            self.commands.remove(&event.offset);
        }
        match (kept, &job) {
            (Some(kept), _) => self.partition.kept(kept),
            (None, Job::Deliver(_)) => self.partition.delivered(&event),
            (None, _) => self.partition.forgotten(&event),
        }
        if dies {
            self.restart();
        }
    }

    fn effect(&mut self, offset: i64) {
        assert!(
            !self.dropped.contains(&offset),
            "{offset} was dropped, then delivered"
        );
        if self.effects.contains(&offset) {
            return; // the subscriber knows it by its id
        }
        let key = &self.topic[usize::try_from(offset).unwrap()].key;
        let before = self
            .topic
            .iter()
            .filter(|e| e.key == *key && e.offset < offset);
        for earlier in before {
            let settled =
                self.effects.contains(&earlier.offset) || self.dropped.contains(&earlier.offset);
            assert!(
                settled,
                "{offset} had its effect before {} of its key",
                earlier.offset
            );
        }
        self.effects.push(offset);
    }

    /// A person asks for something that is in the dead letters.
    fn ask(&mut self) {
        let kept: Vec<i64> = self.kept().into_keys().collect();
        if kept.is_empty() {
            return;
        }
        let offset = kept[usize::try_from(self.random.below(kept.len() as u64)).unwrap()];
        let command = if self.random.below(3) == 0 {
            Command::Drop
        } else {
            Command::Retry
        };
        if self.partition.command(offset, command) {
            self.commands.insert(offset, command);
        }
    }

    /// Nothing is lost: what is committed was delivered, dropped, or is kept.
    fn holds(&self) {
        let kept = self.kept();
        for offset in 0..self.committed {
            let safe = self.effects.contains(&offset)
                || self.dropped.contains(&offset)
                || kept.contains_key(&offset);
            assert!(safe, "{offset} is committed, and nowhere");
        }
    }

    /// A subscriber that refuses nothing any more, and a person who retries whatever is parked.
    fn settle(&mut self) {
        for _ in 0..20_000 {
            self.step(true);
            let parked = |kept: &Kept| matches!(kept.cause, Cause::Parked { .. });
            for offset in self
                .kept()
                .into_values()
                .filter(parked)
                .map(|kept| kept.event.offset)
            {
                self.partition.command(offset, Command::Retry);
            }
            if self.committed == EVENTS && self.kept().is_empty() {
                return;
            }
        }
        panic!(
            "not settled: committed {}, kept {:?}",
            self.committed,
            self.kept()
        );
    }
}

#[test]
fn order_is_kept_and_nothing_is_lost_whoever_dies() {
    let cases = std::env::var("HEDDLE_CASES")
        .ok()
        .and_then(|n| n.parse().ok());
    for seed in 0..cases.unwrap_or(CASES) {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..300 {
                world.step(false);
                world.holds();
            }
            world.settle();
            let settled = world.effects.len()
                + world
                    .dropped
                    .difference(&world.effects.iter().copied().collect())
                    .count();
            assert_eq!(i64::try_from(settled).unwrap(), EVENTS);
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}
