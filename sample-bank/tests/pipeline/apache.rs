//! On three brokers of Apache Kafka.

use super::boundaries::die_at_boundaries;
use super::subscriber::Subscriber;
use super::world::{Load, Queue, eventually, run, scale};
use heddle_bank::brokers::Cluster;
use std::time::Duration;
use tempfile::TempDir;

const BROKERS: usize = 3;

pub(crate) fn moves() {
    run(async {
        let folder = TempDir::new().unwrap();
        let mut cluster = Cluster::start(&folder.path().join("kafka"), BROKERS).unwrap();
        let brokers = cluster.bootstrap();
        let mut first = Queue::start(&brokers, folder.path()).await;
        let second = Queue::start(&brokers, folder.path()).await;
        let subscriber = Subscriber::start().await;
        subscriber.refuse("k2-9", 422);
        first.subscribe("feed", "feed.items", &subscriber).await;
        let load = Load {
            pause: Duration::from_millis(150),
            ..Load::new("feed.items", 8, 250 * scale())
        };
        let (running, targets) = (
            load.clone(),
            vec![first.address.clone(), second.address.clone()],
        );
        let publishing =
            tokio::spawn(async move { running.publish(move || targets.clone()).await });
        eventually("it runs", async || subscriber.count() > 50).await;

        cluster.kill(2);
        let before = subscriber.count();
        eventually("it goes on without one", async || {
            subscriber.count() > before + 50
        })
        .await;
        cluster.restart(2).unwrap();

        // A fourth joins, and every partition moves to it and one other, while events come in.
        let cluster = tokio::task::spawn_blocking(move || {
            let fourth = cluster.join().unwrap();
            let plan: Vec<_> = (0..6)
                .map(|p| (p, vec![fourth, 1 + usize::try_from(p).unwrap() % BROKERS]))
                .collect();
            cluster.reassign("feed.items", &plan).unwrap();
            cluster
        })
        .await
        .unwrap();
        assert!(
            !publishing.is_finished(),
            "the partitions moved after the load, which proves nothing"
        );
        let moved = subscriber.count();
        eventually("it goes on from there", async || {
            subscriber.count() > moved + 20
        })
        .await;
        publishing.await.unwrap();
        eventually("the poison event is parked", async || {
            subscriber.refusals("k2-9") > 0
        })
        .await;
        subscriber.accept("k2-9");
        first.caught_up("feed").await;
        let letters = first.letters("feed").await;
        let parked = letters
            .iter()
            .find(|letter| letter["event"] == "k2-9")
            .unwrap();
        let id = parked["id"].as_str().unwrap();
        let url = second.url(&format!("/subscriptions/feed/dead-letters/{id}/retry"));
        assert_eq!(
            super::world::client()
                .post(url)
                .send()
                .await
                .unwrap()
                .status(),
            202
        );
        load.judge(&subscriber).await;
        assert_eq!(first.stop(), Some(0), "{}", first.log());
        drop(cluster);
    });
}

pub(crate) fn away() {
    run(async {
        let folder = TempDir::new().unwrap();
        let mut cluster = Cluster::start(&folder.path().join("kafka"), BROKERS).unwrap();
        let queue = Queue::start(&cluster.bootstrap(), folder.path()).await;
        let subscriber = Subscriber::start().await;
        queue.subscribe("feed", "feed.items", &subscriber).await;
        let load = Load {
            pause: Duration::from_millis(50),
            ..Load::new("feed.items", 6, 40 * scale())
        };
        let (running, address) = (load.clone(), queue.address.clone());
        let publishing =
            tokio::spawn(async move { running.publish(move || vec![address.clone()]).await });
        eventually("it runs", async || subscriber.count() > 30).await;
        for broker in 1..=BROKERS {
            cluster.kill(broker);
        }
        // Long enough that a publication is refused and the group's session is over.
        tokio::time::sleep(Duration::from_secs(12)).await;
        for broker in 1..=BROKERS {
            cluster.restart(broker).unwrap();
        }
        publishing.await.unwrap();
        load.judge(&subscriber).await;
        queue.caught_up("feed").await;
    });
}

pub(crate) fn boundaries() {
    run(async {
        let folder = TempDir::new().unwrap();
        let cluster = Cluster::start(&folder.path().join("kafka"), BROKERS).unwrap();
        die_at_boundaries(&cluster.bootstrap(), folder.path(), 3).await;
    });
}
