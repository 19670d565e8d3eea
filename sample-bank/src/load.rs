//! `heddle-bank load`: customers who tap cards, transfer and look, at a rate that does not wait for answers, and a journal
//! of every answer for the audit.

pub mod journal;
mod latency;
mod order;
pub mod people;
mod proxies;
pub mod random;
mod report;
mod send;

pub use report::Report;

use crate::ids;
use crate::{Failure, say};
use journal::{Entry, Journal, Outcome};
use order::{Order, Orders};
use people::{Description, People};
use proxies::Proxies;
use report::Tally;
use send::Sender;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Requests in flight at most; beyond, a request is told as not sent. Customers who wait for an answer do not begin
/// something new without end.
const IN_FLIGHT: usize = 256;

/// Arguments of `heddle-bank load`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The folder of the running bank (`heddle-bank demo --state`): its addresses and its customers
    #[arg(
        long,
        value_name = "DIR",
        env = "BANK_STATE",
        default_value = "bank-state"
    )]
    state: PathBuf,
    /// The bank's public address; default: what the state folder says
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// Requests per second, whatever the answers do
    #[arg(long, default_value_t = 50.0, value_parser = rate)]
    rate: f64,
    /// How long, in seconds or like `90s` or `5m`
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = time)]
    length: Duration,
    /// What the customers do follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Card payments and nothing else; without it, of a hundred requests 45 are transfers, 35 card payments, 20 reads
    #[arg(long)]
    cards_only: bool,
    /// Where answers are written; default: a new file in the state folder
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

impl Options {
    /// A load without an end of its own.
    pub fn of(state: &Path, rate: f64, seed: u64) -> Self {
        Self {
            state: state.to_path_buf(),
            gateway: None,
            rate,
            length: Duration::MAX,
            seed,
            cards_only: false,
            journal: None,
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=5000.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is from 0.1 to 5000 requests per second".to_owned()),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(number) => (number, 60.0),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if (0.1..=86_400.0).contains(&(number * unit)) => {
            Ok(Duration::from_secs_f64(number * unit))
        }
        _ => Err("a time is like 30s or 5m, at most a day".to_owned()),
    }
}

/// Runs it.
///
/// # Errors
///
/// There is no bank, or the journal cannot be written.
pub async fn run(options: Options) -> Result<ExitCode, Failure> {
    let length = options.length;
    let mut interrupted = crate::web::Stop::on_signal()?;
    let load = Load::start(options).await?;
    say(format_args!("journal: {}", load.journal.display()));
    interrupted.sleep(length).await;
    say(format_args!("{}", load.stop().await?));
    Ok(ExitCode::SUCCESS)
}

/// A load that runs.
#[derive(Debug)]
pub struct Load {
    /// The file of the answers.
    pub journal: PathBuf,
    acknowledged: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<Report, Failure>>,
}

impl Load {
    /// Signs every customer in and begins.
    ///
    /// # Errors
    ///
    /// There is no bank, or no customers, or the journal cannot be written.
    pub async fn start(options: Options) -> Result<Self, Failure> {
        let description = Description::read(&options.state)?;
        let people = People::read(&options.state)?.ok_or_else(|| {
            let state = options.state.display();
            Failure::new(format!(
                "{state} has no customers.json: start `heddle-bank demo --state {state}` first"
            ))
        })?;
        let gateway = options
            .gateway
            .clone()
            .unwrap_or_else(|| description.gateway.clone());
        // Marks of different runs differ, so that the audit can tell them apart.
        let run = ids::fresh("").split_off(18);
        let file = options
            .journal
            .unwrap_or_else(|| options.state.join(format!("journal-{run}.jsonl")));
        let journal = Journal::create(&file)?;
        let sender = Arc::new(Sender::sign_in(gateway, people.clone()).await?);
        let proxies = Proxies::of(&description).await;
        let (stop, stopped) = watch::channel(false);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let shift = Shift {
            orders: Orders::new(people.clone(), options.seed, run).cards_only(options.cards_only),
            pause: Duration::from_secs_f64(1.0 / options.rate),
            sender,
            journal,
            acknowledged: Arc::clone(&acknowledged),
        };
        let state = options.state;
        let running = tokio::spawn(async move {
            let began = SystemTime::now();
            let tally = shift.work(stopped).await?;
            let feed = latency::feed(&state, &people, began);
            Ok(tally.report(feed, proxies.since().await))
        });
        Ok(Self {
            journal: file,
            acknowledged,
            stop,
            running,
        })
    }

    /// Transfers acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }

    /// Sends nothing more, waits for the answers, and says how it went.
    ///
    /// # Errors
    ///
    /// The journal could not be written.
    pub async fn stop(self) -> Result<Report, Failure> {
        self.stop.send_replace(true);
        match self.running.await {
            Ok(report) => report,
            Err(died) => Err(Failure::new(format!("the load ended early: {died}"))),
        }
    }
}

/// What keeps the load going.
struct Shift {
    orders: Orders,
    pause: Duration,
    sender: Arc<Sender>,
    journal: Journal,
    acknowledged: Arc<AtomicU64>,
}

impl Shift {
    async fn work(mut self, mut stopped: watch::Receiver<bool>) -> Result<Tally, Failure> {
        let places = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT));
        let tally = Arc::new(std::sync::Mutex::new(Tally::default()));
        let journal = Arc::new(self.journal);
        let mut due = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                _ = stopped.wait_for(|stop| *stop) => break,
            }
            let order = self.orders.next();
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                lock(&tally).not_sent += 1;
                due += self.pause;
                continue;
            };
            let intended = due;
            let (sender, tally, journal) = (
                Arc::clone(&self.sender),
                Arc::clone(&tally),
                Arc::clone(&journal),
            );
            let acknowledged = Arc::clone(&self.acknowledged);
            tokio::spawn(async move {
                let (outcome, tries) = sender.carry_out(&order).await;
                // From when it was due, not from when it was sent: a load that waits hides what it waits for.
                lock(&tally).count(&order, &outcome, tries, intended.elapsed());
                if order.is_transfer() && matches!(outcome, Outcome::Acknowledged { .. }) {
                    acknowledged.fetch_add(1, Relaxed);
                }
                if let Some(entry) = entry(order, outcome) {
                    journal.write(&entry);
                }
                drop(place);
            });
            due += self.pause;
        }
        // All places are free again when all answers are in; each waits a bounded time.
        let all = u32::try_from(IN_FLIGHT).unwrap_or(u32::MAX);
        drop(places.acquire_many(all).await);
        journal.close()?;
        Ok(std::mem::take(&mut *lock(&tally)))
    }
}

fn lock(tally: &std::sync::Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn entry(order: Order, outcome: Outcome) -> Option<Entry> {
    let payment = order.payment?;
    Some(Entry {
        kind: payment.kind,
        mark: payment.mark,
        account: payment.account,
        to: payment.to,
        amount: payment.amount,
        currency: payment.currency,
        outcome,
    })
}
