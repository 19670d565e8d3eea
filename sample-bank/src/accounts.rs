//! The service `accounts`: whose accounts are whose, and which cards hang on them. What is on an account, the ledger knows.

mod api;
mod rows;
mod transfers;

use crate::Failure;
use crate::call::Peers;
use crate::database::{Database, Schema};
use crate::settings::Settings;
use crate::web::{Service, Stop};

const SCHEMA: Schema = Schema {
    tables: "
CREATE TABLE IF NOT EXISTS accounts_customers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    secret TEXT NOT NULL,
    created BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS accounts_accounts (
    id TEXT PRIMARY KEY,
    customer TEXT NOT NULL REFERENCES accounts_customers (id),
    currency TEXT NOT NULL,
    opening BIGINT NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS accounts_accounts_customer ON accounts_accounts (customer);
CREATE TABLE IF NOT EXISTS accounts_cards (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts_accounts (id),
    most BIGINT NOT NULL,
    frozen BIGINT NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS accounts_cards_account ON accounts_cards (account);
",
    sqlite: "",
    postgres: "",
};

/// What every request works with.
#[derive(Debug, Clone)]
struct Accounts {
    database: Database,
    peers: Peers,
}

/// Runs the service until it is told to stop.
///
/// # Errors
///
/// It cannot start.
pub async fn serve(settings: Settings) -> Result<(), Failure> {
    let database = Database::open(&settings.database("accounts")?, &SCHEMA).await?;
    let accounts = Accounts {
        database: database.clone(),
        peers: Peers::new(),
    };
    let ready = move || {
        let database = database.clone();
        async move { database.ready().await }
    };
    let routes = api::routes()
        .merge(transfers::routes())
        .with_state(accounts);
    let service = Service::new("accounts", routes).ready(ready);
    service.serve(&settings, Stop::on_signal()?).await
}
