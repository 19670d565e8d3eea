//! What carries the demo's events: the embedded broker, Apache Kafka, or a cluster that runs already.

use super::process::{Recipe, tail};
use super::stage::{SETTLE, Stage, beside, shown};
use super::{Kafka, Options};
use crate::brokers::Cluster;
use crate::{Failure, say};
use std::time::{Duration, Instant};

impl Stage {
    /// Starts what was chosen, and waits until it can be used.
    ///
    /// # Errors
    ///
    /// It does not start; the reason says why.
    pub(super) async fn start_broker(&mut self, options: &Options) -> Result<(), Failure> {
        match &options.kafka {
            Kafka::Embedded => self.start_embedded().await,
            Kafka::Apache => self.start_apache(options.brokers).await,
            Kafka::At(list) => {
                self.kafka.clone_from(list);
                Ok(())
            }
        }
    }

    async fn start_embedded(&mut self) -> Result<(), Failure> {
        let port = self.ports.any()?;
        self.kafka = format!("127.0.0.1:{port}");
        let arguments = [
            "--listen",
            &self.kafka,
            "--dir",
            &shown(&self.state.join("broker")),
        ];
        let broker = self.start(Recipe {
            name: "broker".to_owned(),
            program: beside("HEDDLE_BANK_BROKER", "heddle-bank-broker")?,
            arguments: arguments.map(str::to_owned).into(),
            environment: Vec::new(),
            log: self.log("broker"),
        })?;
        let deadline = Instant::now() + SETTLE;
        while tokio::net::TcpStream::connect(&self.kafka).await.is_err() {
            if Instant::now() > deadline {
                let end = tail(&broker.recipe.log);
                return Err(Failure::new(format!(
                    "the broker does not listen at {}:\n{end}",
                    self.kafka
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.infrastructure.push(broker);
        Ok(())
    }

    async fn start_apache(&mut self, brokers: u8) -> Result<(), Failure> {
        say(format_args!("starting Apache Kafka, brokers: {brokers}"));
        let folder = self.state.join("kafka");
        let starting = tokio::task::spawn_blocking(move || Cluster::start(&folder, brokers.into()));
        let cluster = starting.await;
        let cluster =
            cluster.map_err(|e| Failure::new(format!("brokers did not start: {e}")))??;
        self.kafka = cluster.bootstrap();
        self.cluster = Some(cluster);
        Ok(())
    }
}
