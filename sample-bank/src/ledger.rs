//! The service `ledger`: a double-entry book. Entries are never changed, debits equal credits, and whatever is answered
//! is on the disk, once.

pub(crate) mod api;
mod book;
mod holds;
mod intent;
mod post;
mod reads;
mod relay;
mod rows;
mod schema;
mod sweep;
mod view;

use crate::Failure;
use crate::call::Peers;
use crate::database::Database;
use crate::settings::Settings;
use crate::web::{Service, Stop};
use std::sync::Arc;
use tokio::sync::Notify;

/// What every request of the ledger works with.
#[derive(Debug, Clone)]
struct Ledger {
    database: Database,
    /// Something may be in the outbox.
    written: Arc<Notify>,
}

/// Runs the service until it is told to stop.
///
/// # Errors
///
/// It cannot start.
pub async fn serve(settings: Settings) -> Result<(), Failure> {
    let database = Database::open(&settings.database("ledger")?, &schema::SCHEMA).await?;
    let ledger = Ledger {
        database: database.clone(),
        written: Arc::new(Notify::new()),
    };
    let stop = Stop::on_signal()?;
    let relay = tokio::spawn(relay::run(ledger.clone(), Peers::new(), stop.clone()));
    let sweep = tokio::spawn(sweep::run(ledger.clone(), stop.clone()));
    let ready = move || {
        let database = database.clone();
        async move { database.ready().await }
    };
    let service = Service::new("ledger", api::routes().with_state(ledger)).ready(ready);
    service.serve(&settings, stop).await?;
    // Both end by the same signal; the relay gives its lock up, so that another takes over at once.
    let _ = tokio::join!(relay, sweep);
    Ok(())
}
