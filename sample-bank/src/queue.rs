//! The service `queue`: the front of Kafka as plain HTTP, so that no other service needs a client of it.
//!
//! Publishing answers when every copy in sync has the event. Subscriptions deliver by HTTP, in order per key, at least once.
//! Reading order: the pure decisions (`tracker`, `verdict`, `partition`), what carries them out (`delivery`,
//! `letters`, `owned`, `member`, `registry`), and what people see (`routes`, `status`, `figures`).
//!
//! Any number of replicas share the partitions of every subscription as one consumer group. An offset is committed after
//! its event had its effect or is in the dead letters, so a replica that dies loses nothing: the next owner delivers again
//! what was not committed.

pub(crate) mod client;
mod delivery;
mod figures;
mod kafka;
mod letters;
mod member;
mod owned;
mod partition;
mod publish;
mod registry;
mod routes;
mod status;
mod subscription;
pub(crate) mod time;
mod tracker;
mod verdict;

use crate::Failure;
use crate::call::Peers;
use crate::settings::Settings;
use crate::web::{Service, Stop};
use kafka::Kafka;
use publish::Publisher;
use registry::Registry;
use routes::Queue;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Runs the service until it is told to stop.
///
/// # Errors
///
/// It cannot start.
pub async fn serve(settings: Settings) -> Result<(), Failure> {
    let brokers = settings.kafka.clone().ok_or_else(|| {
        Failure::new("queue needs a broker: set BANK_KAFKA to its address, like 127.0.0.1:9092, or to several with commas")
    })?;
    let kafka = Arc::new(Kafka::new(brokers, settings.queue_session));
    let publisher = Publisher::new(kafka.clone());
    let publisher =
        publisher.map_err(|e| Failure::new(format!("BANK_KAFKA cannot be used: {e}")))?;
    let publisher = Arc::new(publisher);
    let own = own();
    let registry = Registry::new(kafka.clone(), publisher.clone(), Peers::new(), own.clone());
    let queue = Arc::new(Queue {
        kafka,
        publisher,
        registry: registry.clone(),
        own,
    });
    let no_thread = |e| Failure::new(format!("queue cannot start a thread: {e}"));
    registry.follow().map_err(no_thread)?;
    let stop = Stop::on_signal()?;
    let figures = tokio::spawn(figures::keep(queue.clone(), stop.clone()));
    let (ready, mut told) = (registry.clone(), stop.clone());
    let service = Service::new("queue", routes::routes(queue))
        .ready(move || std::future::ready(ready.all().map(|_| ())));
    // Members leave their groups as soon as the signal comes, while the last requests are answered.
    let leaving = tokio::spawn(async move {
        told.requested().await;
        tokio::task::spawn_blocking(move || registry.stop()).await
    });
    let served = service.serve(&settings, stop).await;
    figures.abort();
    served?;
    match leaving.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(died)) | Err(died) => Err(Failure::new(format!(
            "queue did not leave its groups in order: {died}"
        ))),
    }
}

/// A name that no other process has, nor this one after its next start.
fn own() -> Arc<str> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.map_or(0, |d| d.as_nanos());
    format!("{}-{nanos}", std::process::id()).into()
}
