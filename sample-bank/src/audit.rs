//! `heddle-bank audit`: journal, ledger, topics and read models held against each other, after everything has come to rest.
//!
//! Reading: `Evidence` is what was collected, the pure judgements are in `book`, `claims` and `effects`.

mod book;
mod claims;
mod collect;
mod effects;
mod rest;
mod topics;

use crate::load::journal::{self, Entry};
use crate::load::people::Description;
use crate::{Failure, say};
use book::{Account, Transaction};
use collect::Collector;
use effects::Effect;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Violations that are printed; the rest is counted.
const SHOWN: usize = 40;

/// Arguments of `heddle-bank audit`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The folder of the running bank: its addresses, its read models, its journals
    #[arg(
        long,
        value_name = "DIR",
        env = "BANK_STATE",
        default_value = "bank-state"
    )]
    state: PathBuf,
    /// A journal of `heddle-bank load`; may be given several times. Default: all of the state folder
    #[arg(long, value_name = "FILE")]
    journal: Vec<PathBuf>,
    /// Where names are called; default: what the state folder says
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Bootstrap list of the topics' brokers; default: what the state folder says
    #[arg(long, value_name = "LIST")]
    kafka: Option<String>,
    /// Seconds to wait until nothing is unprocessed
    #[arg(long, default_value_t = 180)]
    within: u64,
}

impl Options {
    /// Everything by its default, but this long to come to rest.
    pub fn of(state: &Path, within: Duration) -> Self {
        Self {
            state: state.to_path_buf(),
            journal: Vec::new(),
            proxy: None,
            kafka: None,
            within: within.as_secs(),
        }
    }
}

/// What was collected.
#[derive(Debug, Default)]
struct Evidence {
    claims: Vec<Entry>,
    accounts: Vec<Account>,
    transactions: Vec<Transaction>,
    /// Effects in the read model of each subscriber, by account.
    models: BTreeMap<String, BTreeMap<String, Vec<Effect>>>,
    /// Events of each topic in the order of each account.
    topics: BTreeMap<String, BTreeMap<String, Vec<Effect>>>,
}

/// The result.
#[derive(Debug, Default)]
pub struct Verdict {
    violations: Vec<String>,
    transfers: usize,
    cards: usize,
    unknown: usize,
    lost: usize,
    doubled: usize,
    /// What was looked at, for people.
    remarks: Vec<String>,
}

impl Verdict {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for remark in &self.remarks {
            writeln!(f, "{remark}")?;
        }
        writeln!(
            f,
            "acknowledged: {} transfers, {} card payments; without an answer: {}",
            self.transfers, self.cards, self.unknown
        )?;
        for violation in self.violations.iter().take(SHOWN) {
            writeln!(f, "violation: {violation}")?;
        }
        if self.violations.len() > SHOWN {
            writeln!(f, "and {} more", self.violations.len() - SHOWN)?;
        }
        let verdict = match self.violations.len() {
            0 => "clean".to_owned(),
            1 => "1 violation".to_owned(),
            many => format!("{many} violations"),
        };
        write!(
            f,
            "audit: {verdict}, {} transfers, {} lost, {} doubled",
            self.transfers + self.cards,
            self.lost,
            self.doubled
        )
    }
}

/// Runs it.
///
/// # Errors
///
/// Something that it must look at cannot be looked at.
pub async fn run(options: Options) -> Result<ExitCode, Failure> {
    let verdict = audit(&options).await?;
    say(format_args!("{verdict}"));
    Ok(if verdict.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Waits for rest, collects, and judges.
///
/// # Errors
///
/// Something that it must look at cannot be looked at.
pub async fn audit(options: &Options) -> Result<Verdict, Failure> {
    let description = Description::read(&options.state)?;
    let proxy = options.proxy.clone().unwrap_or(description.proxy);
    let kafka = options.kafka.clone().unwrap_or(description.kafka);
    let collector = Collector::new(&proxy)?;
    let mut verdict = Verdict::default();
    let subscribers = rest::wait(
        &collector,
        Duration::from_secs(options.within),
        &mut verdict,
    )
    .await?;
    let evidence = Evidence {
        claims: claims_of(options)?,
        accounts: collector.accounts().await?,
        transactions: collector.transactions().await?,
        models: subscribers
            .iter()
            .map(|name| Ok((name.clone(), effects::read(&options.state.join(name))?)))
            .collect::<Result<_, Failure>>()?,
        topics: topics::read(kafka, &subscribers).await?,
    };
    collector.totals(&mut verdict).await?;
    judge(&evidence, &mut verdict);
    Ok(verdict)
}

/// The judgements, all of them pure.
fn judge(evidence: &Evidence, verdict: &mut Verdict) {
    book::judge(&evidence.accounts, &evidence.transactions, verdict);
    claims::judge(evidence, verdict);
    effects::judge(evidence, verdict);
    let events: i64 = evidence
        .accounts
        .iter()
        .filter(|a| a.is_customers())
        .map(|a| a.sequence)
        .sum();
    verdict.remarks.push(format!(
        "looked at {} accounts, {} transactions, {events} events in {} topics and {} read models",
        evidence.accounts.len(),
        evidence.transactions.len(),
        evidence.topics.len(),
        evidence.models.len()
    ));
}

fn claims_of(options: &Options) -> Result<Vec<Entry>, Failure> {
    let mut files = options.journal.clone();
    if files.is_empty() {
        let found = fs::read_dir(&options.state)
            .map_err(|e| Failure::new(format!("cannot read {}: {e}", options.state.display())))?;
        let names = found.flatten().map(|file| file.path());
        files.extend(names.filter(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.starts_with("journal-") && name.ends_with(".jsonl")
        }));
    }
    let mut claims = Vec::new();
    for file in files {
        claims.extend(journal::read(&file)?);
    }
    Ok(claims)
}
