//! Questions to the ledger and the queue, by name.

use super::Verdict;
use super::book::{Account, Transaction};
use crate::Failure;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// Rows of one answer.
const PAGE: usize = 500;
/// Tries of one question: a replica or a broker may just be starting again.
const TRIES: usize = 120;

/// A client that calls names.
#[derive(Debug)]
pub(super) struct Collector(reqwest::Client);

#[derive(Debug, Deserialize)]
struct Accounts {
    accounts: Vec<Account>,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Transactions {
    transactions: Vec<Transaction>,
    next: Option<i64>,
}

impl Collector {
    /// Calls names at `proxy`.
    ///
    /// # Errors
    ///
    /// The address is none.
    pub(super) fn new(proxy: &str) -> Result<Self, Failure> {
        let unusable =
            |e: reqwest::Error| Failure::new(format!("--proxy {proxy} cannot be used: {e}"));
        let way = reqwest::Proxy::http(proxy).map_err(unusable)?;
        let client = reqwest::Client::builder()
            .proxy(way)
            .timeout(Duration::from_secs(20));
        client.build().map(Self).map_err(unusable)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, Failure> {
        let mut why = String::new();
        for _ in 0..TRIES {
            match self.0.get(url).send().await {
                Ok(answer) if answer.status().is_success() => {
                    let text = answer.text().await.unwrap_or_default();
                    return serde_json::from_str(&text)
                        .map_err(|e| Failure::new(format!("{url} answered something else: {e}")));
                }
                Ok(answer) => {
                    why = format!(
                        "{} {}",
                        answer.status(),
                        answer.text().await.unwrap_or_default()
                    )
                }
                Err(error) => why = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Err(Failure::new(format!("{url} does not answer: {why}")))
    }

    pub(super) async fn accounts(&self) -> Result<Vec<Account>, Failure> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page: Accounts = self
                .get(&format!(
                    "http://ledger/accounts?after={after}&limit={PAGE}"
                ))
                .await?;
            all.extend(page.accounts);
            match page.next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }

    pub(super) async fn transactions(&self) -> Result<Vec<Transaction>, Failure> {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let page: Transactions = self
                .get(&format!(
                    "http://ledger/transactions?after={after}&limit={PAGE}"
                ))
                .await?;
            all.extend(page.transactions);
            match page.next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }

    /// The ledger's own sums.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub(super) async fn totals(&self, verdict: &mut Verdict) -> Result<(), Failure> {
        let totals: Value = self.get("http://ledger/totals").await?;
        let currencies = totals["currencies"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        for (currency, sums) in currencies {
            for (what, name) in [("sum", "postings"), ("balances", "balances")] {
                if sums[what].as_i64() != Some(0) {
                    verdict.violations.push(format!(
                        "the {name} in {currency} add up to {}, not 0",
                        sums[what]
                    ));
                }
            }
            if sums["below_floor"].as_i64() != Some(0) {
                verdict.violations.push(format!(
                    "{} accounts in {currency} are below their limit",
                    sums["below_floor"]
                ));
            }
        }
        Ok(())
    }
}
