//! Pure. What to do next with the events of one partition, so that each key keeps its order.
//!
//! Events of one key are delivered one after another, those of different keys side by side. An event that its subscriber
//! refuses is *parked*: kept in the dead letters, and every later event of its key is kept there behind it, *waiting*, until
//! somebody retries or drops the parked one. So a key is served from its kept events first, in the order of their offsets,
//! and from the topic only when nothing of it is kept.
//!
//! The dead letters are a log: [`Partition::recall`] rebuilds this state from it, [`Job::Keep`] and [`Job::Forget`] write to
//! it, and the topic's offset is committed only after that.

use super::tracker::Tracker;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Events taken from the topic and not yet committable, per partition: what one slow key may hold up in memory.
pub(super) const BUFFER: usize = 1024;
/// Events kept in the dead letters, per partition, before no more are taken from the topic: they are in memory as well.
pub(super) const BACKLOG: usize = 10_000;

/// An event as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Of the topic, in this partition.
    pub(super) offset: i64,
    /// Events of one key keep their order.
    pub(super) key: Arc<str>,
    /// Subscribers know repetitions by it.
    pub(super) id: Arc<str>,
    /// What the subscriber gets.
    pub(super) body: Bytes,
    /// `traceparent` of the request that published it.
    pub(super) trace: Option<Arc<str>>,
    /// When it was published, in milliseconds since 1970.
    pub(super) time: i64,
}

/// Why an event is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its subscriber refused it.
    Parked {
        /// For a person.
        reason: Arc<str>,
        /// How often it was tried.
        tries: u32,
    },
    /// An earlier event of its key is parked.
    Waiting,
}

/// An event in the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// As it was published.
    pub(super) event: Event,
    /// Why.
    pub(super) cause: Cause,
    /// Since when, in milliseconds since 1970.
    pub(super) since: i64,
}

/// What a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Deliver a parked event again.
    Retry,
    /// Forget a kept event.
    Drop,
}

/// Something to do for one key. While it is done, nothing else of that key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    /// Deliver an event of the topic; then [`Partition::delivered`] or [`Partition::kept`].
    Deliver(Event),
    /// Write an event of the topic to the dead letters, as waiting; then [`Partition::kept`].
    Keep(Event),
    /// Deliver an event of the dead letters, and strike it off; then [`Partition::forgotten`] or [`Partition::kept`].
    Redeliver(Event),
    /// Strike an event off the dead letters; then [`Partition::forgotten`].
    Forget(Event),
}

impl Job {
    /// The event it is about.
    pub(super) fn event(&self) -> &Event {
        match self {
            Self::Deliver(event) | Self::Keep(event) => event,
            Self::Redeliver(event) | Self::Forget(event) => event,
        }
    }
}

/// What belongs to one key.
#[derive(Debug, Default)]
struct Lane {
    busy: bool,
    /// From the topic, in order.
    fresh: VecDeque<Event>,
    /// Offsets in the dead letters.
    kept: BTreeSet<i64>,
    /// To be struck off.
    dropped: BTreeSet<i64>,
    /// The parked head may be delivered again.
    retry: bool,
}

/// The events of one partition that are neither finished nor unread.
#[derive(Debug, Default)]
pub(super) struct Partition {
    tracker: Tracker,
    lanes: BTreeMap<Arc<str>, Lane>,
    kept: BTreeMap<i64, Kept>,
    /// Struck off the dead letters, as far as they remember: not to be delivered again if their commit was lost.
    gone: BTreeSet<i64>,
    /// Asked for while the dead letters were still being read.
    commands: Vec<(i64, Command)>,
    /// Lanes that may have something to do.
    ready: VecDeque<Arc<str>>,
    loaded: bool,
    taken: bool,
}

impl Partition {
    /// Reads a record of the dead letters: an event that is kept, or none where one was struck off. Only until
    /// [`Partition::loaded`]: later ones are echoes of what was decided here.
    pub(super) fn recall(&mut self, offset: i64, kept: Option<Kept>) {
        if let Some(old) = self.kept.remove(&offset)
            && let Some(lane) = self.lanes.get_mut(&old.event.key)
        {
            lane.kept.remove(&offset);
        }
        match kept {
            Some(kept) => {
                self.gone.remove(&offset);
                self.insert(kept);
            }
            None => {
                self.gone.insert(offset);
                self.settled(offset);
            }
        }
    }

    /// The dead letters have been read to their end. Nothing is done before.
    pub(super) fn loaded(&mut self) {
        self.loaded = true;
        let mut lanes = std::mem::take(&mut self.lanes);
        for lane in lanes.values_mut() {
            lane.fresh.retain(|event| !self.is_settled(event.offset));
        }
        self.lanes = lanes;
        for (offset, command) in std::mem::take(&mut self.commands) {
            self.command(offset, command);
        }
        self.ready.extend(self.lanes.keys().cloned());
    }

    /// Whether the dead letters have been read.
    pub(super) fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Takes an event from the topic. One that was taken before is ignored.
    pub(super) fn take(&mut self, event: Event) {
        if !self.taken {
            self.taken = true;
            self.gone = self.gone.split_off(&event.offset);
        }
        if !self.tracker.take(event.offset) || (self.loaded && self.is_settled(event.offset)) {
            return;
        }
        let key = event.key.clone();
        let lane = self.lanes.entry(key.clone()).or_default();
        lane.fresh.push_back(event);
        self.ready.push_back(key);
    }

    /// What the dead letters have, or had, was finished: only its commit was lost.
    fn is_settled(&mut self, offset: i64) -> bool {
        let settled = self.gone.remove(&offset) || self.kept.contains_key(&offset);
        if settled {
            self.tracker.finish(offset);
        }
        settled
    }

    /// Carries out what a person asked for. False: there is no such event any more.
    pub(super) fn command(&mut self, offset: i64, command: Command) -> bool {
        if !self.loaded {
            self.commands.push((offset, command));
            return true;
        }
        let Some(kept) = self.kept.get(&offset) else {
            return false;
        };
        let key = kept.event.key.clone();
        let lane = self.lanes.entry(key.clone()).or_default();
        match command {
            Command::Drop => {
                lane.dropped.insert(offset);
            }
            Command::Retry if lane.kept.first() == Some(&offset) => lane.retry = true,
            Command::Retry => return false,
        }
        self.ready.push_back(key);
        true
    }

    /// What was asked about an event was carried out, by an earlier owner.
    pub(super) fn settled(&mut self, offset: i64) {
        self.commands.retain(|(asked, _)| *asked != offset);
    }

    /// The next thing to do, if there is one. Its lane is busy until it is reported done.
    pub(super) fn next(&mut self) -> Option<Job> {
        while self.loaded {
            let key = self.ready.pop_front()?;
            if let Some(job) = self.next_of(&key) {
                return Some(job);
            }
        }
        None
    }

    fn next_of(&mut self, key: &Arc<str>) -> Option<Job> {
        let lane = self.lanes.get_mut(key)?;
        if lane.busy {
            return None;
        }
        let job = Self::choose(lane, &self.kept);
        lane.busy = job.is_some();
        if job.is_none() && lane.fresh.is_empty() && lane.kept.is_empty() {
            self.lanes.remove(key);
        }
        job
    }

    fn choose(lane: &mut Lane, kept: &BTreeMap<i64, Kept>) -> Option<Job> {
        if let Some(offset) = lane.dropped.pop_first() {
            let kept = kept.get(&offset)?;
            return Some(Job::Forget(kept.event.clone()));
        }
        let Some(head) = lane.kept.first().and_then(|offset| kept.get(offset)) else {
            return lane.fresh.pop_front().map(Job::Deliver);
        };
        if matches!(head.cause, Cause::Waiting) || std::mem::take(&mut lane.retry) {
            return Some(Job::Redeliver(head.event.clone()));
        }
        lane.fresh.pop_front().map(Job::Keep)
    }

    /// An event of the topic had its effect.
    pub(super) fn delivered(&mut self, event: &Event) {
        self.tracker.finish(event.offset);
        self.free(&event.key);
    }

    /// An event is in the dead letters now, or still.
    pub(super) fn kept(&mut self, kept: Kept) {
        let key = kept.event.key.clone();
        self.tracker.finish(kept.event.offset);
        self.insert(kept);
        self.free(&key);
    }

    /// An event is no longer in the dead letters.
    pub(super) fn forgotten(&mut self, event: &Event) {
        self.kept.remove(&event.offset);
        if !self.tracker.is_finished(event.offset) {
            self.gone.insert(event.offset); // a commit was lost: the topic may bring it once more
        }
        if let Some(lane) = self.lanes.get_mut(&event.key) {
            lane.retry &= lane.kept.first() != Some(&event.offset);
            lane.kept.remove(&event.offset);
            lane.dropped.remove(&event.offset);
        }
        self.free(&event.key);
    }

    fn insert(&mut self, kept: Kept) {
        let lane = self.lanes.entry(kept.event.key.clone()).or_default();
        lane.kept.insert(kept.event.offset);
        self.kept.insert(kept.event.offset, kept);
    }

    fn free(&mut self, key: &Arc<str>) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.busy = false;
            self.ready.push_back(key.clone());
        }
    }

    /// What to commit, see [`Tracker::progress`].
    pub(super) fn progress(&mut self) -> Option<i64> {
        self.tracker.progress()
    }

    /// A commit failed.
    pub(super) fn untell(&mut self) {
        self.tracker.untell();
    }

    /// Whether more events may be taken from the topic.
    pub(super) fn has_room(&self) -> bool {
        self.tracker.held() < BUFFER && self.kept.len() < BACKLOG
    }

    /// Whether this event is in the dead letters, as far as this partition knows.
    pub(super) fn keeps(&self, offset: i64) -> bool {
        self.kept.contains_key(&offset)
    }

    /// How many events are in the dead letters.
    pub(super) fn backlog(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod laws;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(offset: i64, key: &str) -> Event {
        Event {
            offset,
            key: key.into(),
            id: format!("e{offset}").into(),
            body: Bytes::new(),
            trace: None,
            time: 0,
        }
    }

    fn parked(event: &Event) -> Kept {
        Kept {
            event: event.clone(),
            cause: Cause::Parked {
                reason: "400".into(),
                tries: 1,
            },
            since: 0,
        }
    }

    fn waiting(event: &Event) -> Kept {
        Kept {
            event: event.clone(),
            cause: Cause::Waiting,
            since: 0,
        }
    }

    fn partition(events: &[(i64, &str)]) -> Partition {
        let mut partition = Partition::default();
        partition.loaded();
        for (offset, key) in events {
            partition.take(event(*offset, key));
        }
        partition
    }

    #[test]
    fn keys_go_side_by_side_and_each_in_order() {
        let mut partition = partition(&[(0, "a"), (1, "a"), (2, "b")]);
        assert_eq!(partition.next(), Some(Job::Deliver(event(0, "a"))));
        assert_eq!(partition.next(), Some(Job::Deliver(event(2, "b"))));
        assert_eq!(
            partition.next(),
            None,
            "the next of a waits for the one before"
        );
        partition.delivered(&event(2, "b"));
        assert_eq!(partition.progress(), None);
        partition.delivered(&event(0, "a"));
        assert_eq!(partition.progress(), Some(1));
        assert_eq!(partition.next(), Some(Job::Deliver(event(1, "a"))));
    }

    #[test]
    fn later_events_of_a_parked_key_wait_behind_it() {
        let mut partition = partition(&[(0, "a"), (1, "a"), (2, "b")]);
        assert_eq!(partition.next(), Some(Job::Deliver(event(0, "a"))));
        partition.kept(parked(&event(0, "a")));
        assert_eq!(partition.next(), Some(Job::Keep(event(1, "a"))));
        assert_eq!(partition.next(), Some(Job::Deliver(event(2, "b"))));
        partition.kept(waiting(&event(1, "a")));
        partition.delivered(&event(2, "b"));
        assert_eq!(partition.progress(), Some(3), "nothing holds the topic up");
        assert_eq!(partition.next(), None);

        assert!(!partition.command(1, Command::Retry), "0 comes first");
        assert!(partition.command(0, Command::Retry));
        assert_eq!(partition.next(), Some(Job::Redeliver(event(0, "a"))));
        partition.forgotten(&event(0, "a"));
        assert_eq!(partition.next(), Some(Job::Redeliver(event(1, "a"))));
        partition.forgotten(&event(1, "a"));
        partition.take(event(3, "a"));
        assert_eq!(partition.next(), Some(Job::Deliver(event(3, "a"))));
    }

    #[test]
    fn dropping_the_parked_event_frees_its_key() {
        let mut partition = partition(&[(0, "a"), (1, "a")]);
        partition.next();
        partition.kept(parked(&event(0, "a")));
        partition.next();
        partition.kept(waiting(&event(1, "a")));
        assert!(partition.command(0, Command::Drop));
        assert_eq!(partition.next(), Some(Job::Forget(event(0, "a"))));
        partition.forgotten(&event(0, "a"));
        assert_eq!(partition.next(), Some(Job::Redeliver(event(1, "a"))));
        partition.kept(parked(&event(1, "a")));
        assert_eq!(partition.next(), None, "parked in its turn");
        assert!(!partition.command(0, Command::Drop), "gone");
    }

    #[test]
    fn a_new_owner_recalls_what_is_kept_before_it_delivers() {
        let mut partition = Partition::default();
        partition.take(event(0, "a"));
        partition.take(event(1, "a"));
        partition.take(event(2, "c"));
        partition.recall(0, Some(parked(&event(0, "a"))));
        partition.recall(2, Some(parked(&event(2, "c"))));
        partition.command(0, Command::Retry);
        partition.recall(2, None);
        assert_eq!(partition.next(), None, "not before the end is known");
        partition.loaded();
        let jobs: Vec<Job> = std::iter::from_fn(|| partition.next()).collect();
        assert_eq!(
            jobs,
            [Job::Redeliver(event(0, "a"))],
            "2 was struck off: it is finished"
        );
        partition.forgotten(&event(0, "a"));
        assert_eq!(partition.next(), Some(Job::Deliver(event(1, "a"))));
    }
}
