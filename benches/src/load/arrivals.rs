//! When requests should start.

use heddle_core::random::{Rng, Xoshiro};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc};

/// Arrivals that may wait for a free connection; what comes when so many wait is not sent, and counted.
const WAITING: usize = 16 * 1024;

/// Longest sleep of the pacing thread, so that it sees [`Stop`] in time.
const NAP: Duration = Duration::from_millis(50);

/// Ends a run from outside.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// No further request starts; those in flight finish.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was called.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How requests follow each other.
#[derive(Debug, Clone)]
pub enum Pace {
    /// The next when the last is answered.
    Closed {
        /// For how long new ones start.
        duration: Duration,
    },
    /// At a constant rate.
    Open {
        /// Requests per second, above 0.
        rate: f64,
        /// Each start is moved later by up to this share of the gap between two, `0.0..=1.0`:
        /// breaks lockstep with periodic work and keeps the rate.
        jitter: f64,
        /// For how long; `None`: until [`Stop`].
        duration: Option<Duration>,
        /// Ends it early.
        stop: Stop,
    },
}

impl Pace {
    /// An open loop for a while, evenly spaced.
    pub fn open(rate: f64, duration: Duration) -> Self {
        Self::Open {
            rate,
            jitter: 0.0,
            duration: Some(duration),
            stop: Stop::default(),
        }
    }
}

/// The source that all lanes draw from.
pub(super) enum Arrivals {
    /// Now, until then.
    Closed { until: Instant },
    /// As the pacing thread says.
    Open(Mutex<mpsc::Receiver<Instant>>),
}

/// What the pacing thread saw.
#[derive(Debug)]
pub(super) struct Pacing {
    pub(super) unsent: u64,
}

impl Arrivals {
    /// Starts the clock. An open loop is paced by a thread of its own: the timers of the runtime
    /// are a millisecond coarse, `thread::sleep` is not.
    pub(super) fn start(pace: Pace) -> io::Result<(Self, Option<JoinHandle<Pacing>>)> {
        match pace {
            Pace::Closed { duration } => Ok((
                Self::Closed {
                    until: Instant::now() + duration,
                },
                None,
            )),
            Pace::Open {
                rate,
                jitter,
                duration,
                stop,
            } => {
                let (sender, receiver) = mpsc::channel(WAITING);
                let thread = std::thread::Builder::new()
                    .name("pace".into())
                    .spawn(move || tick(rate, jitter, duration, &stop, &sender))?;
                Ok((Self::Open(Mutex::new(receiver)), Some(thread)))
            }
        }
    }

    /// The intended start of the next request; `None` when there are no more.
    pub(super) async fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed { until } => Some(Instant::now()).filter(|now| now < until),
            Self::Open(receiver) => receiver.lock().await.recv().await,
        }
    }
}

fn tick(
    rate: f64,
    jitter: f64,
    duration: Option<Duration>,
    stop: &Stop,
    sender: &mpsc::Sender<Instant>,
) -> Pacing {
    let gap = 1.0 / rate.max(1e-3);
    let start = Instant::now();
    let mut rng = Xoshiro::seeded(rate.to_bits());
    let mut unsent = 0;
    for number in 0_u64.. {
        let shift = if jitter > 0.0 {
            jitter.min(1.0) * rng.unit()
        } else {
            0.0
        };
        let offset = Duration::from_secs_f64((number as f64 + shift) * gap);
        if duration.is_some_and(|duration| offset >= duration) {
            break;
        }
        let due = start + offset;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || stop.is_stopped() {
                break;
            }
            std::thread::sleep(left.min(NAP));
        }
        if stop.is_stopped() {
            break;
        }
        match sender.try_send(due) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => unsent += 1,
            Err(mpsc::error::TrySendError::Closed(_)) => break,
        }
    }
    Pacing { unsent }
}
