//! Load that does not deceive itself.
//!
//! An **open** loop sends at a constant rate whatever the answers do, and measures every latency
//! from the moment at which the request *should* have started: a server that stalls is charged
//! for all the requests that it would have delayed (Gil Tene, "How NOT to Measure Latency": the
//! error of leaving them out is called coordinated omission). A **closed** loop sends the next
//! request when the last one is answered: right for throughput, wrong for latency.
//!
//! The generator is bounded (connections, streams, waiting arrivals) and says so when it could
//! not keep its rate ([`Summary::kept_rate`]).
//!
//! ```no_run
//! use heddle_bench::load::{Load, Pace, Protocol, Tally, Template, run};
//! use std::time::Duration;
//!
//! let load = Load {
//!     connections: 8,
//!     ..Load::new("127.0.0.1:4140".parse().expect("an address"), Protocol::Http1)
//! };
//! let get = Template::get("accounts", "/");
//! let mut tally = Tally::default();
//! let pace = Pace::open(500.0, Duration::from_secs(5));
//! let summary = run(&load, pace, move |_| get.clone(), |sample| tally.record(sample))?;
//! println!("p99 {:?}, rate kept: {}", tally.quantile(0.99), summary.kept_rate());
//! # Ok::<(), std::io::Error>(())
//! ```

mod arrivals;
mod connection;
mod tally;

pub use arrivals::{Pace, Stop};
pub use connection::{Failure, Protocol, Template};
pub use tally::Tally;

use arrivals::{Arrivals, Pacing};
use connection::{Group, exchange};
use hyper::header::{HeaderName, HeaderValue};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A request sent so much later than intended counts as [`Summary::delayed`].
const DELAYED: Duration = Duration::from_millis(10);

/// Where load goes and through how much.
#[derive(Debug, Clone)]
pub struct Load {
    /// The address to connect to.
    pub target: SocketAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// Connections at most; all of them are used when there is enough load. At least 1.
    pub connections: usize,
    /// Requests in flight per connection; 1 for HTTP/1.1. At least 1.
    pub streams: usize,
    /// A request unanswered for this long after it was sent has failed.
    pub timeout: Duration,
    /// Response header that tells who answered; copied into [`Sample::answered_by`].
    pub answered_by: Option<HeaderName>,
}

impl Load {
    /// One connection with one request at a time, a time-out of 10 s, and nobody asked who answered.
    pub fn new(target: SocketAddr, protocol: Protocol) -> Self {
        Self {
            target,
            protocol,
            connections: 1,
            streams: 1,
            timeout: Duration::from_secs(10),
            answered_by: None,
        }
    }
}

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its number in this run, from 0.
    pub number: u64,
    /// Its method.
    pub method: hyper::Method,
    /// When it should have started.
    pub intended: Instant,
    /// From [`Self::intended`] to the end of the response's body, or to the failure.
    pub latency: Duration,
    /// The status of a response that was read to its end, or why there is none.
    pub outcome: Result<u16, Failure>,
    /// The value of the header that [`Load::answered_by`] names.
    pub answered_by: Option<HeaderValue>,
}

impl Sample {
    /// Whether it was answered with 2xx or 3xx.
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome, Ok(200..=399))
    }
}

/// What a run did as a whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Requests that got an outcome.
    pub finished: u64,
    /// Arrivals (open loop) that found every connection taken and the waiting line full: never sent.
    pub unsent: u64,
    /// Requests that were sent more than 10 ms after their intended start.
    pub delayed: u64,
    /// Connections opened.
    pub connects: u64,
    /// From the first intended start to the last outcome.
    pub elapsed: Duration,
}

impl Summary {
    /// Whether the generator did what it was asked to: nothing unsent, and under 1 % sent late.
    /// Latencies are right either way, as they count from the intended start; the rate is not.
    pub fn kept_rate(&self) -> bool {
        self.unsent == 0 && self.delayed * 100 <= self.finished
    }

    /// Outcomes per second.
    pub fn rate(&self) -> f64 {
        self.finished as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Sends load until `pace` ends, on a runtime of its own in this thread, and hands each sample to
/// `record` as it is finished. `request` makes the request of a given number.
///
/// # Errors
/// When the runtime or the pacing thread cannot be made. Failed requests are samples.
pub fn run(
    load: &Load,
    pace: Pace,
    request: impl Fn(u64) -> Template + 'static,
    record: impl FnMut(&Sample),
) -> std::io::Result<Summary> {
    let runtime = crate::runtime()?;
    let (arrivals, pacing) = Arrivals::start(pace)?;
    let local = tokio::task::LocalSet::new();
    let mut summary = local.block_on(&runtime, drive(load, arrivals, Rc::new(request), record));
    if let Some(pacing) = pacing {
        summary.unsent = pacing.join().map_or(0, |Pacing { unsent }| unsent);
    }
    Ok(summary)
}

/// What all lanes of a run share.
struct Lanes<M> {
    load: Load,
    arrivals: Arrivals,
    request: Rc<M>,
    number: Cell<u64>,
    summary: RefCell<Summary>,
    connects: Rc<Cell<u64>>,
}

async fn drive<M: Fn(u64) -> Template + 'static>(
    load: &Load,
    arrivals: Arrivals,
    request: Rc<M>,
    mut record: impl FnMut(&Sample),
) -> Summary {
    let start = Instant::now();
    let lanes = Rc::new(Lanes {
        load: load.clone(),
        arrivals,
        request,
        number: Cell::new(0),
        summary: RefCell::default(),
        connects: Rc::default(),
    });
    // Samples pass through a short channel, so that `record` needs no lock and no 'static.
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1024);
    for _ in 0..load.connections.max(1) {
        let group = Rc::new(Group::new(
            load.target,
            load.protocol,
            Rc::clone(&lanes.connects),
        ));
        for _ in 0..load.streams.max(1) {
            tokio::task::spawn_local(lane(Rc::clone(&lanes), Rc::clone(&group), sender.clone()));
        }
    }
    drop(sender);
    while let Some(sample) = receiver.recv().await {
        record(&sample);
    }
    let mut summary = *lanes.summary.borrow();
    summary.connects = lanes.connects.get();
    summary.elapsed = start.elapsed();
    summary
}

/// One request at a time, until there are no more arrivals.
async fn lane<M: Fn(u64) -> Template>(
    lanes: Rc<Lanes<M>>,
    group: Rc<Group>,
    samples: tokio::sync::mpsc::Sender<Sample>,
) {
    let mut own = None;
    while let Some(intended) = lanes.arrivals.next().await {
        let number = lanes.number.replace(lanes.number.get() + 1);
        let template = (lanes.request)(number);
        let delayed = intended.elapsed() > DELAYED;
        let exchange = exchange(&group, &mut own, &template, lanes.load.answered_by.as_ref());
        let (outcome, answered_by) = match tokio::time::timeout(lanes.load.timeout, exchange).await
        {
            Ok(Ok(answer)) => (Ok(answer.status), answer.answered_by),
            Ok(Err(failure)) => (Err(failure), None),
            Err(_) => (Err(Failure::TimedOut), None),
        };
        if outcome.is_err() {
            own = None;
        }
        {
            let mut summary = lanes.summary.borrow_mut();
            summary.finished += 1;
            summary.delayed += u64::from(delayed);
        }
        let method = template.method;
        let sample = Sample {
            number,
            method,
            intended,
            latency: intended.elapsed(),
            outcome,
            answered_by,
        };
        if samples.send(sample).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
