//! Subscribers that refuse an event, or everything, on the embedded broker.

use super::embedded::Small;
use super::world::{Load, Queue, client, eventually, get, run};
use serde_json::json;

pub(crate) fn poison() {
    run(async {
        let small = Small::start().await;
        small.subscriber.refuse("k0-3", 422);
        small.subscriber.refuse("k1-5", 500);
        small
            .queue
            .subscribe("feed", "feed.items", &small.subscriber)
            .await;
        let load = Load::new("feed.items", 6, 8);
        small.publish(&load).await;
        // Those of k0 from 3 on and of k1 from 5 on stay behind; all else arrives, and the topic is worked off.
        let arrive = load.total() - 6 - 4;
        eventually("others arrive", async || small.subscriber.count() == arrive).await;
        small.queue.caught_up("feed").await;
        assert_eq!(small.subscriber.refusals("k0-3"), 1, "422 is final");
        assert_eq!(
            small.subscriber.refusals("k1-5"),
            4,
            "500 is tried as often as asked for"
        );
        let status = small.queue.status("feed").await;
        assert_eq!(
            (&status["parked"], &status["waiting"]),
            (&json!(2), &json!(8))
        );
        let letters = small.queue.letters("feed").await;
        let find = |event: &str| {
            letters
                .iter()
                .find(|letter| letter["event"] == event)
                .unwrap()
        };
        assert_eq!(find("k0-3")["state"], "parked");
        assert_eq!(find("k0-3")["reason"], "422: not this one");
        assert_eq!(find("k1-5")["tries"], 4);
        assert_eq!(find("k0-4")["state"], "waiting");
        let id = |event: &str| find(event)["id"].as_str().unwrap().to_owned();
        let letter = |id: &str| {
            small
                .queue
                .url(&format!("/subscriptions/feed/dead-letters/{id}"))
        };
        assert_eq!(
            get(&letter(&id("k0-3"))).await.unwrap()["value"],
            json!({"n": 3})
        );

        let retry = async |id: &str| {
            client()
                .post(format!("{}/retry", letter(id)))
                .send()
                .await
                .unwrap()
                .status()
        };
        assert_eq!(retry(&id("k0-4")).await, 409, "it waits for k0-3");
        assert_eq!(retry(&id("k0-3")).await, 202);
        eventually("it is refused again", async || {
            small.subscriber.refusals("k0-3") == 2
        })
        .await;
        eventually("it is parked again", async || {
            small.queue.status("feed").await["parked"] == 2
        })
        .await;
        // Mended. Another owner takes over meanwhile: it knows what is kept.
        small.subscriber.accept("k0-3");
        small.subscriber.accept("k1-5");
        let next = Queue::start(&small.brokers, small.folder.path()).await;
        assert_eq!(retry(&id("k0-3")).await, 202);
        assert_eq!(retry(&id("k1-5")).await, 202);
        load.judge(&small.subscriber).await;
        eventually("none is kept", async || {
            next.letters("feed").await.is_empty()
        })
        .await;
    });
}

pub(crate) fn dropped() {
    run(async {
        let small = Small::start().await;
        small.subscriber.refuse("k0-2", 400);
        small
            .queue
            .subscribe("feed", "feed.items", &small.subscriber)
            .await;
        small.publish(&Load::new("feed.items", 1, 5)).await;
        eventually("it is parked", async || {
            small.queue.letters("feed").await.len() == 4
        })
        .await;
        let letters = small.queue.letters("feed").await;
        let id = letters[0]["id"].as_str().unwrap();
        let url = small
            .queue
            .url(&format!("/subscriptions/feed/dead-letters/{id}"));
        assert_eq!(client().delete(&url).send().await.unwrap().status(), 202);
        eventually("what waited follows", async || {
            small.subscriber.count() == 4
        })
        .await;
        assert_eq!(small.subscriber.effects()["k0"], [1, 3, 4, 5]);
        eventually("none is kept", async || {
            small.queue.letters("feed").await.is_empty()
        })
        .await;
        assert_eq!(client().delete(&url).send().await.unwrap().status(), 404);
    });
}

pub(crate) fn absent() {
    run(async {
        let small = Small::start().await;
        small.subscriber.answer_all(Some(503));
        small
            .queue
            .subscribe("feed", "feed.items", &small.subscriber)
            .await;
        let load = Load::new("feed.items", 5, 4);
        small.publish(&load).await; // publishers wait for no subscriber
        eventually("it is tried again and again", async || {
            small.subscriber.refusals("k0-1") > 6
        })
        .await;
        let status = small.queue.status("feed").await;
        assert_eq!(
            (&status["lag"], &status["parked"]),
            (&json!(load.total()), &json!(0))
        );
        assert!(status["oldest_age_ms"].as_i64().unwrap() > 0, "{status}");
        small.subscriber.answer_all(None);
        load.judge(&small.subscriber).await;
        small.queue.caught_up("feed").await;
    });
}
