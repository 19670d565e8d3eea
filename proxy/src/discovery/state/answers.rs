//! Questions to DNS, their answers, and what these make of replica sets.

use super::remote::Told;
use super::{Asking, Changes, Event, Origin, SWEEP, State, after};
use crate::discovery::dns::question::{Answer, Effect, Failure, Known, Question};
use crate::discovery::guard;
use crate::discovery::recipe::{self, Part};
use crate::discovery::replica_set::Addr;
use heddle_core::Nanos;
use heddle_core::name::Path;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How often a held answer is checked against refused connections.
const HOLD_CHECK: Duration = Duration::from_millis(200);

impl State {
    /// Questions to ask now, at most `room`; each counts as on its way.
    pub(in crate::discovery) fn due(&mut self, now: Nanos, room: usize) -> Vec<Question> {
        let due = self
            .questions
            .iter_mut()
            .filter(|(_, asking)| asking.asked.due().is_some_and(|due| due <= now));
        let ask = |(question, asking): (&Question, &mut Asking)| {
            asking.asked.sent();
            question.clone()
        };
        due.take(room).map(ask).collect()
    }

    /// When something is to be done next, should nothing happen before.
    pub(in crate::discovery) fn next_wake(&self, now: Nanos) -> Nanos {
        let mut wake = after(self.swept, SWEEP);
        for asking in self.questions.values() {
            if let Some(due) = asking.asked.due() {
                wake = wake.min(due);
            }
            if asking.asked.lost().is_some() {
                wake = wake.min(after(now, HOLD_CHECK));
            }
        }
        wake
    }

    /// Takes the answer to a question; `None` when nobody wants it any more.
    pub(in crate::discovery) fn answered(
        &mut self,
        question: &Question,
        result: Result<Answer, Failure>,
        now: Nanos,
    ) -> Option<Effect> {
        let asking = self.questions.get_mut(question)?;
        let was_held = asking.asked.lost().is_some();
        let is_good = result.is_ok();
        let effect = asking.asked.answered(now, result, &self.dns);
        let lost = asking.asked.lost().map(|(_, lost)| lost.len());
        if let (Effect::Held, false, Some(lost)) = (effect, was_held, lost) {
            self.events.push(Event::Held {
                question: question.clone(),
                lost,
            });
        }
        self.mark(question);
        if matches!(effect, Effect::Changed | Effect::Never) {
            self.spread(question);
        }
        if is_good && matches!(effect, Effect::Changed | Effect::Same) {
            for id in self.users(question) {
                self.confirm(&id, now);
            }
        }
        Some(effect)
    }

    /// What time brings: held answers whose time is over, names that nobody uses.
    pub(in crate::discovery) fn tick(&mut self, now: Nanos) {
        let over: Vec<Question> = self
            .questions
            .iter()
            .filter(|(_, asking)| self.hold_ended(asking, now))
            .map(|(q, _)| q.clone())
            .collect();
        for question in over {
            if let Some(asking) = self.questions.get_mut(&question) {
                asking.asked.release();
            }
            self.mark(&question);
            self.spread(&question);
            self.events.push(Event::Released { question });
        }
        if now >= after(self.swept, SWEEP) {
            self.swept = now;
            self.sweep(now);
        }
    }

    fn hold_ended(&self, asking: &Asking, now: Nanos) -> bool {
        let Some((since, lost)) = asking.asked.lost() else {
            return false;
        };
        let is_lost = |address: &SocketAddr| {
            lost.iter().any(|record| {
                record.ip == address.ip() && (record.port == 0 || record.port == address.port())
            })
        };
        let users = asking.users.iter().filter_map(|id| self.entries.get(id));
        let refused = users
            .map(|entry| entry.shared.set.refused_among(is_lost))
            .max()
            .unwrap_or(0);
        guard::ended(since, now, lost.len(), refused)
    }

    /// Tells the sets behind a question whether refused connections matter.
    fn mark(&self, question: &Question) {
        let held = |question| {
            self.questions
                .get(question)
                .is_some_and(|asking| asking.asked.lost().is_some())
        };
        let users = self
            .questions
            .get(question)
            .into_iter()
            .flat_map(|asking| &asking.users);
        for entry in users.filter_map(|id| self.entries.get(id)) {
            entry
                .shared
                .set
                .hold(entry.parts.iter().filter_map(Part::question).any(held));
        }
    }

    /// The sets made of the answers to a question.
    fn users(&self, question: &Question) -> Vec<Path> {
        let asking = self.questions.get(question);
        asking
            .map(|asking| asking.users.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Brings what is known about a question to the sets made of it.
    fn spread(&mut self, question: &Question) {
        for id in self.users(question) {
            let before = self.entries.get(&id).map(|entry| entry.shared.set.addr());
            self.refresh(&id);
            let after = self.entries.get(&id).map(|entry| entry.shared.set.addr());
            let kind = |addr: Option<Arc<Addr>>| addr.map(|addr| std::mem::discriminant(&*addr));
            if kind(before) != kind(after) {
                // The name itself may bind now, or no longer wait.
                self.changes = Changes {
                    table: true,
                    bindings: true,
                };
            }
        }
    }

    /// Publishes the content of one set, as far as it is known.
    pub(super) fn refresh(&mut self, id: &Path) {
        let Some(entry) = self.entries.get(id) else {
            return;
        };
        let set = &entry.shared.set;
        if entry.once && matches!(*set.addr(), Addr::Bound(_)) {
            return;
        }
        let addr = match (&entry.failed, &entry.told) {
            (Some(why), _) => Addr::Failed(why.clone()),
            (None, Some(Told::Waiting)) => Addr::Pending,
            (None, Some(Told::Missing)) => Addr::Neg,
            (None, Some(Told::Known(..)) | None) => {
                let known = |question: &Question| {
                    self.questions
                        .get(question)
                        .map_or(&Known::Pending, |asking| asking.asked.known())
                };
                let waits = entry
                    .parts
                    .iter()
                    .filter_map(Part::question)
                    .any(|q| *known(q) == Known::Pending);
                if waits && matches!(*set.addr(), Addr::Bound(_)) {
                    // Make before break: what serves now serves until everything new is known.
                    return;
                }
                let named = entry.origin == Origin::Named && entry.told.is_none();
                recipe::compose(&entry.parts, known, named)
            }
        };
        set.publish(addr);
        if entry.once && matches!(*set.addr(), Addr::Bound(_)) {
            let questions: Vec<Question> = entry
                .parts
                .iter()
                .filter_map(Part::question)
                .cloned()
                .collect();
            questions
                .iter()
                .for_each(|question| self.unfollow(id, question));
        }
    }
}
