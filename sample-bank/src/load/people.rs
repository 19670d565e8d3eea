//! Whom the load plays, and where the bank is: two files that the demo leaves in its state folder.

use crate::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const CUSTOMERS: &str = "customers.json";
const DESCRIPTION: &str = "bank.json";

/// The customers of the demo.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct People {
    /// The first is the page's.
    pub customers: Vec<Customer>,
}

/// One of them, with what it needs to sign in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Customer {
    /// `cus-…`.
    pub id: String,
    /// For people.
    pub name: String,
    /// For sessions.
    pub secret: String,
    /// At least one.
    pub accounts: Vec<Account>,
}

/// An account with its card.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    /// `acc-…`.
    pub id: String,
    /// ISO 4217.
    pub currency: String,
    /// `card-…`.
    pub card: String,
}

impl People {
    /// Reads them; `None` when there are none yet.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read.
    pub fn read(state: &Path) -> Result<Option<Self>, Failure> {
        if !state.join(CUSTOMERS).exists() {
            return Ok(None);
        }
        read(state, CUSTOMERS).map(Some)
    }

    /// Writes them, with a rename, so that nobody reads half of them.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, state: &Path) -> Result<(), Failure> {
        let (file, new) = (state.join(CUSTOMERS), state.join("customers.new"));
        let text = serde_json::to_string_pretty(self).expect("texts can be written as JSON");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &file));
        written.map_err(|e| Failure::new(format!("cannot write {}: {e}", file.display())))
    }
}

/// Where a running bank is.
#[derive(Debug, Clone, Deserialize)]
pub struct Description {
    /// The public door.
    pub gateway: String,
    /// Where names are called.
    pub proxy: String,
    /// The pages of the host's proxy.
    pub admin: String,
    /// The pages of the proxies beside replicas, where there are any.
    #[serde(default)]
    pub beside: Vec<String>,
    /// Bootstrap list.
    pub kafka: String,
    /// Whose replica listens on a port.
    #[serde(default)]
    pub replicas: BTreeMap<String, String>,
}

impl Description {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// There is no bank in the folder.
    pub fn read(state: &Path) -> Result<Self, Failure> {
        read(state, DESCRIPTION)
    }
}

fn read<T: DeserializeOwned>(state: &Path, name: &str) -> Result<T, Failure> {
    let file = state.join(name);
    let text = fs::read_to_string(&file).map_err(|e| {
        Failure::new(format!(
            "cannot read {}: {e}. Give the folder of a running bank with --state; `heddle-bank demo --state DIR` makes one",
            file.display()
        ))
    })?;
    serde_json::from_str(&text).map_err(|e| {
        Failure::new(format!(
            "{} is not what the demo writes: {e}",
            file.display()
        ))
    })
}
