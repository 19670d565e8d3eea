//! hickory against a DNS server of our own on loopback.

use super::*;
use crate::discovery::dns::stub::{Reply, Zone, serve};
use hickory_resolver::proto::rr::Name;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME};
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::net::UdpSocket;

async fn resolver() -> (Hickory, Zone) {
    let zone = Zone::default();
    let servers = vec![serve(&zone).await];
    let dns = Dns {
        servers,
        timeout: Duration::from_secs(1),
        ..Dns::default()
    };
    (Hickory::new(&dns), zone)
}

fn v4(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(10, 0, 0, last)))
}

fn v6(last: u16) -> RData {
    RData::AAAA(AAAA(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last)))
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(
        priority,
        weight,
        port,
        Name::from_ascii(target).unwrap(),
    ))
}

fn show(result: Result<Answer, Failure>) -> String {
    match result {
        Ok(mut answer) => {
            answer
                .records
                .sort_by_key(|record| (record.ip, record.port));
            let record = |record: &Record| match record.port {
                0 => record.ip.to_string(),
                port => format!("{}:{port}*{}", record.ip, record.weight),
            };
            let records: Vec<_> = answer.records.iter().map(record).collect();
            let missing = answer
                .missing
                .map_or(String::new(), |missing| format!(" missing {missing:?}"));
            format!(
                "{} ttl {}{missing}",
                records.join(" "),
                answer.ttl.as_secs()
            )
        }
        Err(Failure::NoSuchName(ttl)) => format!("no such name {ttl:?}"),
        Err(Failure::NoRecords(ttl)) => format!("no records {ttl:?}"),
        Err(Failure::Broken(why)) => format!("broken: {why}"),
    }
}

async fn addresses(hickory: &Hickory, host: &str) -> String {
    show(hickory.ask(&Question::Addresses(host.into())).await)
}

async fn services(hickory: &Hickory, name: &str) -> String {
    show(hickory.ask(&Question::Services(name.into())).await)
}

#[tokio::test]
async fn addresses_of_both_families_make_one_answer() {
    use RecordType as R;
    let (hickory, zone) = resolver().await;
    zone.set(
        "both.test.example",
        R::A,
        Reply::Records(vec![v4(2), v4(1)], 30),
    );
    zone.set(
        "both.test.example",
        R::AAAA,
        Reply::Records(vec![v6(1)], 20),
    );
    zone.set("four.test.example", R::A, Reply::Records(vec![v4(1)], 0));
    zone.set("six.test.example", R::AAAA, Reply::Records(vec![v6(1)], 9));
    zone.set("gone6.test.example", R::A, Reply::Records(vec![v4(1)], 9));
    zone.set("gone6.test.example", R::AAAA, Reply::NxDomain(Some(9)));
    zone.set("sick6.test.example", R::A, Reply::Records(vec![v4(1)], 9));
    zone.set("sick6.test.example", R::AAAA, Reply::ServFail);
    zone.set("mute4.test.example", R::A, Reply::Silence);
    zone.set(
        "mute4.test.example",
        R::AAAA,
        Reply::Records(vec![v6(1)], 9),
    );
    zone.set(
        "odd.test.example",
        R::A,
        Reply::Records(
            vec![
                v4(1),
                RData::A(A::new(0, 0, 0, 0)),
                RData::A(A::new(224, 0, 0, 1)),
                RData::A(A::new(255, 255, 255, 255)),
            ],
            9,
        ),
    );
    zone.set(
        "zero.test.example",
        R::A,
        Reply::Records(vec![RData::A(A::new(0, 0, 0, 0))], 9),
    );
    let table = [
        ("both.test.example", "10.0.0.1 10.0.0.2 fd00::1 ttl 20"),
        ("BOTH.test.example", "10.0.0.1 10.0.0.2 fd00::1 ttl 20"),
        ("four.test.example", "10.0.0.1 ttl 0"),
        ("six.test.example", "fd00::1 ttl 9"),
        ("gone6.test.example", "10.0.0.1 ttl 9"),
        ("sick6.test.example", "10.0.0.1 ttl 9 missing V6"),
        ("mute4.test.example", "fd00::1 ttl 9 missing V4"),
        ("odd.test.example", "10.0.0.1 ttl 9"),
        ("zero.test.example", "no records Some(9s)"),
        ("10.0.0.7", "10.0.0.7 ttl 4294967295"),
        ("localhost", "127.0.0.1 ttl 4294967295"),
    ];
    for (host, expect) in table {
        assert_eq!(addresses(&hickory, host).await, expect, "{host}");
    }
}

#[tokio::test]
async fn every_failure_is_told_from_the_others() {
    use RecordType as R;
    let (hickory, zone) = resolver().await;
    for (host, reply) in [
        ("gone.test.example", Reply::NxDomain(Some(17))),
        ("bare.test.example", Reply::NxDomain(None)),
        ("empty.test.example", Reply::Empty),
        ("sick.test.example", Reply::ServFail),
        ("shut.test.example", Reply::Refused),
        ("mute.test.example", Reply::Silence),
        ("mad.test.example", Reply::Garbage),
    ] {
        zone.set(host, R::A, reply.clone());
        zone.set(host, R::AAAA, reply);
    }
    let table = [
        ("gone.test.example", "no such name Some(17s)"),
        ("bare.test.example", "no such name None"),
        ("empty.test.example", "no records None"),
        ("sick.test.example", "broken: "),
        ("shut.test.example", "broken: "),
        ("mute.test.example", "broken: "),
        ("mad.test.example", "broken: "),
    ];
    for (host, expect) in table {
        let started = std::time::Instant::now();
        let answer = addresses(&hickory, host).await;
        assert!(answer.starts_with(expect), "{host}: {answer}");
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "{host} took {:?}",
            started.elapsed()
        );
    }
    // One family broken and the other without records: a failure, since the name may well exist.
    zone.set("half.test.example", R::A, Reply::ServFail);
    assert!(
        addresses(&hickory, "half.test.example")
            .await
            .starts_with("broken: ")
    );
    assert!(
        addresses(&hickory, &"a".repeat(300))
            .await
            .starts_with("broken: "),
        "no name for DNS"
    );
}

#[tokio::test]
async fn answers_change_and_large_ones_come_over_tcp() {
    use RecordType as R;
    let (hickory, zone) = resolver().await;
    for last in 1..=3 {
        zone.set("a.test.example", R::A, Reply::Records(vec![v4(last)], 300));
        assert_eq!(
            addresses(&hickory, "a.test.example").await,
            format!("10.0.0.{last} ttl 300"),
            "nothing is cached"
        );
    }
    let many: Vec<RData> = (0..1500_u16)
        .map(|n| RData::A(A::new(10, 1, (n >> 8) as u8, n as u8)))
        .collect();
    zone.set("many.test.example", R::A, Reply::Large(many));
    let answer = hickory
        .ask(&Question::Addresses("many.test.example".into()))
        .await
        .unwrap();
    assert_eq!(answer.records.len(), 1500);

    let alias = RData::CNAME(CNAME(Name::from_ascii("target.test.example.").unwrap()));
    zone.set("alias.test.example", R::A, Reply::Records(vec![alias], 4));
    zone.set(
        "target.test.example",
        R::A,
        Reply::Records(vec![v4(8)], 300),
    );
    assert_eq!(
        addresses(&hickory, "alias.test.example").await,
        "10.0.0.8 ttl 4",
        "an alias has a TTL of its own"
    );
}

#[tokio::test]
async fn services_take_the_lowest_priority_and_share_by_weight() {
    use RecordType as R;
    let (hickory, zone) = resolver().await;
    for last in 1..=4 {
        zone.set(
            &format!("t{last}.test.example"),
            R::A,
            Reply::Records(vec![v4(last)], 60),
        );
    }
    zone.set(
        "twice.test.example",
        R::A,
        Reply::Records(vec![v4(5), v4(6)], 5),
    );
    zone.set("gone.test.example", R::A, Reply::NxDomain(None));
    zone.set("sick.test.example", R::A, Reply::ServFail);
    let (t1, t2, twice) = (
        "t1.test.example.",
        "t2.test.example.",
        "twice.test.example.",
    );
    let table: Vec<(&str, Vec<RData>, &str)> = vec![
        (
            "even",
            vec![srv(1, 0, 80, t1), srv(1, 0, 81, t2)],
            "10.0.0.1:80*1 10.0.0.2:81*1 ttl 30",
        ),
        (
            "priority",
            vec![srv(2, 9, 80, t1), srv(1, 9, 81, t2)],
            "10.0.0.2:81*9 ttl 30",
        ),
        (
            "weights",
            vec![srv(1, 30, 80, t1), srv(1, 0, 81, t2)],
            "10.0.0.1:80*30 10.0.0.2:81*0.01 ttl 30",
        ),
        (
            "shared",
            vec![srv(1, 30, 80, twice)],
            "10.0.0.5:80*15 10.0.0.6:80*15 ttl 5",
        ),
        (
            "ports",
            vec![srv(1, 1, 80, t1), srv(1, 1, 81, t1)],
            "10.0.0.1:80*1 10.0.0.1:81*1 ttl 30",
        ),
        (
            "one-gone",
            vec![srv(1, 1, 80, t1), srv(1, 1, 80, "gone.test.example.")],
            "10.0.0.1:80*1 ttl 30",
        ),
        (
            "one-sick",
            vec![srv(1, 1, 80, t1), srv(1, 1, 80, "sick.test.example.")],
            "10.0.0.1:80*1 ttl 30 missing Some",
        ),
        (
            "all-gone",
            vec![srv(1, 1, 80, "gone.test.example.")],
            "no records Some(30s)",
        ),
        (
            "all-sick",
            vec![srv(1, 1, 80, "sick.test.example.")],
            "broken: ",
        ),
        ("closed", vec![srv(0, 0, 0, ".")], "no records Some(30s)"),
    ];
    for (name, records, expect) in table {
        let name = format!("_{name}._tcp.test.example");
        zone.set(&name, R::SRV, Reply::Records(records, 30));
        let answer = services(&hickory, &name).await;
        assert!(answer.starts_with(expect), "{name}: {answer}");
    }
    zone.set("_gone._tcp.test.example", R::SRV, Reply::NxDomain(Some(3)));
    assert_eq!(
        services(&hickory, "_gone._tcp.test.example").await,
        "no such name Some(3s)"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure_within_the_time_for_a_question() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = vec![socket.local_addr().unwrap()];
    drop(socket);
    let hickory = Hickory::new(&Dns {
        servers,
        timeout: Duration::from_millis(500),
        ..Dns::default()
    });
    let started = std::time::Instant::now();
    let answer = addresses(&hickory, "a.test.example").await;
    assert!(answer.starts_with("broken: "), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn another_server_answers_when_one_fails() {
    let good = Zone::default();
    good.set(
        "a.test.example",
        RecordType::A,
        Reply::Records(vec![v4(1)], 9),
    );
    for reply in [
        Reply::ServFail,
        Reply::Refused,
        Reply::Silence,
        Reply::Garbage,
    ] {
        let sick = Zone::default();
        sick.set("a.test.example", RecordType::A, reply.clone());
        sick.set("a.test.example", RecordType::AAAA, reply.clone());
        for order in [[&sick, &good], [&good, &sick]] {
            let servers = vec![serve(order[0]).await, serve(order[1]).await];
            let dns = Dns {
                servers,
                timeout: Duration::from_secs(1),
                ..Dns::default()
            };
            let hickory = Hickory::new(&dns);
            for _ in 0..5 {
                let answer = addresses(&hickory, "a.test.example").await;
                assert!(answer.starts_with("10.0.0.1 ttl 9"), "{answer}");
            }
        }
    }
}
