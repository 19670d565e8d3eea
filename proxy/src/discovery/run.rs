//! What keeps names and sets current: asking DNS, and watching the folder of files.

use super::dns::question::{Answer, Effect, Failure, Question};
use super::names::ASKS_MAX;
use super::state::Event;
use super::{Discovery, NAMES_MAX, files, guard, recipe};
use crate::reload::{Changes, Target};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use heddle_core::Nanos;
use heddle_core::name::Path;
use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// DNS questions on their way at once.
pub(super) const ASKING_MAX: usize = 64;

impl Discovery {
    pub(super) async fn ask_dns(&self, inbox: &mut mpsc::Receiver<Path>) {
        let mut asking = FuturesUnordered::new();
        let mut asks = Vec::new();
        loop {
            let room = ASKING_MAX - asking.len();
            let (due, wake) = self.with(|state, now| {
                state.tick(now);
                (state.due(now, room), state.next_wake(now))
            });
            for question in due {
                let answer = self.resolver.load().ask(&question);
                asking.push(async move { (question, answer.await) });
            }
            // Without room, what is due waits for an answer instead of for time.
            let wake = if asking.len() < ASKING_MAX {
                self.at(wake)
            } else {
                Instant::now() + Duration::from_secs(1)
            };
            tokio::select! {
                Some(first) = asking.next() => {
                    let mut answers = vec![first];
                    // What has arrived together is published together.
                    while let Some(Some(another)) = asking.next().now_or_never() {
                        answers.push(another);
                    }
                    self.answered(answers);
                }
                _count = inbox.recv_many(&mut asks, ASKS_MAX) => self.asked(&mut asks),
                () = self.questions.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    fn asked(&self, asks: &mut Vec<Path>) {
        self.with(|state, now| {
            for id in asks.drain(..) {
                match recipe::of_name(&id) {
                    // Whether it was taken shows in the next snapshot.
                    Some(Ok(named)) => drop(state.named(&id, named, now)),
                    Some(Err(_)) | None => state.remote_named(&id, now),
                }
            }
        });
        if self.asking.overflowed.swap(false, Ordering::Relaxed) {
            // Whose ask was lost must ask again.
            self.bump();
        }
    }

    fn answered(&self, answers: Vec<(Question, Result<Answer, Failure>)>) {
        let metrics = self.metrics.discovery();
        let mut effects = Vec::with_capacity(answers.len());
        self.with(|state, now| {
            for (question, result) in answers {
                match &result {
                    Ok(_) => metrics.dns_ok.inc(),
                    Err(Failure::NoSuchName(_) | Failure::NoRecords(_)) => metrics.dns_empty.inc(),
                    Err(Failure::Broken(_)) => metrics.dns_failed.inc(),
                }
                let failure = result.as_ref().err().cloned();
                let effect = state.answered(&question, result, now);
                effects.push((question, effect, failure));
            }
        });
        for (question, effect, failure) in effects {
            match (effect, failure) {
                (Some(Effect::Kept), Some(why)) => {
                    tracing::warn!(%question, %why, "DNS fails; the last good answer stays");
                }
                (Some(Effect::Changed), Some(why)) => {
                    tracing::warn!(%question, %why, "DNS has no answer")
                }
                (Some(Effect::Changed), None) => tracing::info!(%question, "DNS has a new answer"),
                _ => {}
            }
        }
    }

    pub(super) async fn follow_files(&self) {
        let mut changes = Changes::new();
        loop {
            let folder = self
                .folder
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let Some(folder) = folder else {
                self.folder_changed.notified().await;
                continue;
            };
            changes
                .watch(BTreeSet::from([Target::Tree(folder.clone())]))
                .await;
            tokio::select! {
                () = self.folder_changed.notified() => {}
                () = self.follow_folder(&folder, &mut changes) => {}
            }
        }
    }

    /// Looks at the folder now, and whenever it changes. Never ends.
    async fn follow_folder(&self, folder: &std::path::Path, changes: &mut Changes) {
        loop {
            let look = {
                let folder = folder.to_path_buf();
                tokio::task::spawn_blocking(move || files::look(&folder)).await
            };
            let again = match look {
                Ok(look) => self.with(|state, now| state.files_seen(&look, now)),
                Err(error) => {
                    tracing::error!(%error, "reading the folder of the files namer ended early");
                    None
                }
            };
            changes.next(again.map(|nanos| self.at(nanos))).await;
        }
    }

    /// Counts and logs an event.
    pub(super) fn report(&self, event: &Event) {
        let metrics = self.metrics.discovery();
        match event {
            Event::Held { question, lost } => {
                metrics.guard_holds.inc();
                tracing::warn!(%question, lost, "an answer that loses most endpoints is held for at most {:?}", guard::HOLD);
            }
            Event::Released { question } => {
                metrics.guard_releases.inc();
                tracing::warn!(%question, "the held answer is used now");
            }
            Event::FileRead { name } => {
                metrics.files_read.inc();
                tracing::info!(%name, "endpoint file read");
            }
            Event::FileFailed { name, why } => {
                metrics.files_failed.inc();
                tracing::warn!(%name, %why, "an endpoint file does not count; its last good content stays");
            }
            Event::Confirmed { id } => self.show_age(id, Duration::ZERO),
            Event::Full => {
                self.metrics.refused("discovery-names");
                tracing::warn!(
                    "all {NAMES_MAX} names that discovery keeps are in use; further ones are not looked up"
                );
            }
        }
    }

    fn at(&self, nanos: Nanos) -> Instant {
        self.asking.epoch + Duration::from_nanos(nanos)
    }
}
