//! The queue's figures in `GET /metrics`, asked from the broker now and then.

use super::kafka::blocking;
use super::routes::Queue;
use super::status;
use crate::web::Stop;
use prometheus::{IntGaugeVec, Opts};
use std::sync::Arc;
use std::time::Duration;

/// Each asking reads from the broker; what alarms on these figures looks at minutes.
const EVERY: Duration = Duration::from_secs(10);

/// Keeps the figures fresh until the process is told to stop.
pub(super) async fn keep(queue: Arc<Queue>, mut stop: Stop) {
    let gauge = |name: &str, help: &str| {
        let metric = IntGaugeVec::new(Opts::new(name, help), &["subscription"]);
        let metric = metric.expect("names and labels of a metric are constants, and valid");
        prometheus::register(Box::new(metric.clone())).expect("each metric has a name of its own");
        metric
    };
    let lag = gauge(
        "bank_queue_lag",
        "Events neither finished nor in the dead letters",
    );
    let oldest = gauge(
        "bank_queue_oldest_age_milliseconds",
        "Age of the oldest of them",
    );
    let parked = gauge("bank_queue_parked", "Events that their subscriber refused");
    let waiting = gauge(
        "bank_queue_waiting",
        "Events that wait behind a parked one of their key",
    );
    let in_flight = gauge(
        "bank_queue_in_flight",
        "Deliveries of this replica that are under way",
    );
    while stop.sleep(EVERY).await {
        let Ok(all) = queue.registry.all() else {
            continue;
        };
        for metric in [&lag, &oldest, &parked, &waiting, &in_flight] {
            metric.reset(); // subscriptions that are no more
        }
        for (name, subscription) in all {
            let (flying, _) = queue.registry.here(&name);
            let kafka = queue.kafka.clone();
            let Ok(status) = blocking(move || status::ask(&kafka, &subscription)).await else {
                continue; // no figure is better than a wrong one
            };
            let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            in_flight.with_label_values(&[&name]).set(count(flying));
            lag.with_label_values(&[&name]).set(status.lag);
            oldest.with_label_values(&[&name]).set(status.oldest_age_ms);
            parked.with_label_values(&[&name]).set(count(status.parked));
            waiting
                .with_label_values(&[&name])
                .set(count(status.waiting));
        }
    }
}
