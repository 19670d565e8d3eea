use super::dns::question::{Answer, Failure, Question, Record};
use super::*;
use futures_util::future::BoxFuture;
use heddle_core::config::{ClusterSource, UpstreamProtocol, WrittenEndpoint};
use heddle_core::endpoint::Endpoint;
use heddle_core::name::{Lookup, Namer as _};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn cluster(name: &str, ports: &[u16]) -> Cluster {
    let endpoints = ports
        .iter()
        .map(|port| Endpoint::new(([127, 0, 0, 1], *port).into()));
    Cluster {
        name: name.into(),
        source: ClusterSource::Endpoints(endpoints.map(WrittenEndpoint::Address).collect()),
        protocol: UpstreamProtocol::Same,
        tls: None,
    }
}

fn apply(discovery: &Discovery, clusters: &[Cluster]) {
    discovery.apply(
        clusters.iter(),
        &Dns::default(),
        Duration::from_secs(600),
        None,
    );
}

fn ports(set: &ReplicaSet) -> Vec<u16> {
    match &*set.addr() {
        Addr::Bound(endpoints) => endpoints
            .iter()
            .map(|endpoint| endpoint.address.port())
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn static_names_bind_at_once_and_keep_their_object() {
    let discovery = Discovery::new(Metrics::new(100));
    let lookup = |text: &str| discovery.namer().lookup(&path(text));
    assert_eq!(lookup("/#/static/a"), Lookup::NEG);
    let first = discovery.generation();
    apply(&discovery, &[cluster("a", &[1, 2]), cluster("empty", &[])]);
    assert_ne!(discovery.generation(), first);
    assert_eq!(
        lookup("/#/static/a/rest/of"),
        Lookup::bound(&path("/#/static/a/rest/of"), 3)
    );
    assert_eq!(
        lookup("/#/static/empty"),
        Lookup::bound(&path("/#/static/empty"), 3)
    );
    for unknown in [
        "/#/static",
        "/#/static/b",
        "/#/nobody/a",
        "/svc/a",
        "/#",
        "/",
    ] {
        assert_eq!(lookup(unknown), Lookup::NEG, "{unknown}");
    }
    let a = discovery.replica_set(&path("/#/static/a")).unwrap();
    assert_eq!(ports(&a), [1, 2]);
    assert_eq!(
        ports(&discovery.replica_set(&path("/#/static/empty")).unwrap()),
        [0_u16; 0]
    );

    let (generation, version) = (discovery.generation(), a.version());
    apply(&discovery, &[cluster("a", &[1, 3]), cluster("empty", &[])]);
    assert_eq!(
        discovery.generation(),
        generation,
        "what names bind to has not changed"
    );
    assert_ne!(a.version(), version);
    assert_eq!(ports(&a), [1, 3]);

    apply(&discovery, &[]);
    assert_ne!(discovery.generation(), generation);
    assert_eq!(lookup("/#/static/a"), Lookup::NEG);
    assert_eq!(ports(&a), [1, 3], "who still uses it can end what it does");
    apply(&discovery, &[cluster("a", &[9])]);
    assert_eq!(
        ports(&a),
        [9],
        "the object is the same when its name returns"
    );
    assert!(Arc::ptr_eq(
        &a,
        &discovery.replica_set(&path("/#/static/a")).unwrap()
    ));
}

/// A resolver whose answers are set by the test; it takes 10 ms of paused time for each.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Scripted>>);

#[derive(Default)]
struct Scripted {
    answers: std::collections::HashMap<Question, Result<Answer, Failure>>,
    asked: Vec<Question>,
    in_flight: usize,
    most_in_flight: usize,
}

impl Script {
    fn set(&self, host: &str, result: Result<Answer, Failure>) {
        self.0
            .lock()
            .unwrap()
            .answers
            .insert(Question::Addresses(host.into()), result);
    }

    fn good(&self, host: &str, last_bytes: &[u8], ttl: u64) {
        let record = |last: &u8| Record {
            ip: [10, 0, 0, *last].into(),
            port: 0,
            weight: 1.0,
        };
        let records = last_bytes.iter().map(record).collect();
        self.set(
            host,
            Ok(Answer {
                records,
                ttl: Duration::from_secs(ttl),
                missing: None,
            }),
        );
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut self.0.lock().unwrap().asked).len()
    }
}

impl Resolve for Script {
    fn ask(&self, question: &Question) -> BoxFuture<'static, Result<Answer, Failure>> {
        let (script, question) = (self.clone(), question.clone());
        let mut scripted = self.0.lock().unwrap();
        scripted.asked.push(question.clone());
        scripted.in_flight += 1;
        scripted.most_in_flight = scripted.most_in_flight.max(scripted.in_flight);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let mut scripted = script.0.lock().unwrap();
            scripted.in_flight -= 1;
            scripted
                .answers
                .get(&question)
                .cloned()
                .unwrap_or(Err(Failure::NoSuchName(None)))
        })
    }
}

/// A running discovery whose DNS is a script; time is paused.
fn running() -> (Arc<Discovery>, Script) {
    running_with(NAMES_MAX)
}

fn running_with(names_max: usize) -> (Arc<Discovery>, Script) {
    let script = Script::default();
    let discovery = Discovery::with_resolver(Box::new(script.clone()), names_max);
    tokio::spawn(Arc::clone(&discovery).run(std::future::pending()));
    (discovery, script)
}

/// Binds a name as a worker does: again at every generation, until it no longer waits.
async fn bind(discovery: &Discovery, name: &str) -> Lookup {
    loop {
        let seen = discovery.generation();
        match discovery.namer().lookup(&path(name)) {
            Lookup::Pending => discovery.changed(seen).await,
            known => return known,
        }
    }
}

fn last_bytes(set: &ReplicaSet) -> Vec<u8> {
    match &*set.addr() {
        Addr::Bound(endpoints) => endpoints
            .iter()
            .map(|endpoint| match endpoint.address.ip() {
                std::net::IpAddr::V4(ip) => ip.octets()[3],
                std::net::IpAddr::V6(_) => 0,
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn a_dns_name_waits_for_its_first_answer_then_refreshes_by_its_ttl() {
    let (discovery, script) = running();
    script.good("a.example", &[1, 2], 5);
    let name = "/#/dns/a.example/80/rest";
    assert_eq!(discovery.namer().lookup(&path(name)), Lookup::Pending);
    assert_eq!(bind(&discovery, name).await, Lookup::bound(&path(name), 4));
    let set = discovery.replica_set(&path("/#/dns/A.Example/80")).unwrap();
    assert_eq!((last_bytes(&set), script.asked()), (vec![1, 2], 1));

    for _ in 0..1000 {
        assert_eq!(bind(&discovery, name).await, Lookup::bound(&path(name), 4));
    }
    seconds(4).await;
    assert_eq!(script.asked(), 0, "no question per look-up");
    seconds(60).await;
    assert!((11..=12).contains(&script.asked()), "one question a TTL");

    let (generation, version) = (discovery.generation(), set.version());
    script.good("a.example", &[2, 3], 5);
    set.changed(version).await;
    assert_eq!(last_bytes(&set), [2, 3]);
    assert_eq!(
        discovery.generation(),
        generation,
        "other endpoints bind no name differently"
    );
}

#[tokio::test(start_paused = true)]
async fn a_resolved_name_survives_every_fault_and_an_unresolved_one_is_negative() {
    let (discovery, script) = running();
    let broken = || Err(Failure::Broken("SERVFAIL".into()));
    let name = "/#/dns/a.example/80";
    script.good("a.example", &[1], 2);
    assert_eq!(bind(&discovery, name).await, Lookup::bound(&path(name), 4));
    let set = discovery.replica_set(&path(name)).unwrap();
    for fault in [
        broken(),
        Err(Failure::NoSuchName(None)),
        Err(Failure::NoRecords(None)),
    ] {
        script.set("a.example", fault);
        seconds(120).await;
        assert_eq!(bind(&discovery, name).await, Lookup::bound(&path(name), 4));
        assert_eq!(last_bytes(&set), [1]);
    }
    let age = discovery.names.load().table.sets[&path(name)].age(discovery.asking.now());
    assert!(
        age.unwrap() > Duration::from_secs(350),
        "nothing confirmed it meanwhile"
    );

    for (host, fault) in [
        ("none.example", Err(Failure::NoSuchName(None))),
        ("sick.example", broken()),
    ] {
        script.set(host, fault);
        let name = format!("/#/dns/{host}/80");
        assert_eq!(bind(&discovery, &name).await, Lookup::NEG, "{host}");
        script.good(host, &[9], 5);
        let seen = discovery.generation();
        discovery.changed(seen).await;
        assert_eq!(
            bind(&discovery, &name).await,
            Lookup::bound(&path(&name), 4),
            "{host} has come up"
        );
    }
    for impossible in [
        "/#/dns/a.example/http",
        "/#/dns/a..b/80",
        "/#/dns/a.example",
        "/#/dns-srv",
    ] {
        assert_eq!(
            discovery.namer().lookup(&path(impossible)),
            Lookup::NEG,
            "{impossible}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn literal_addresses_need_no_question_and_inet_names_wait_in_their_set() {
    let (discovery, script) = running();
    for (id, expect) in [
        ("/$/inet/10.0.0.7/80", 7),
        ("/$/inet/8080", 1),
        ("/#/dns/10.0.0.5/1", 5),
    ] {
        let set = discovery.replica_set(&path(id)).unwrap();
        assert_eq!(last_bytes(&set), [expect], "{id}");
        assert!(Arc::ptr_eq(
            &set,
            &discovery.replica_set(&path(id)).unwrap()
        ));
    }
    for name in [
        "/#/dns/localhost/80/rest",
        "/#/dns/10.0.0.6/80/rest",
        "/#/dns/10.0.0.5/1/rest",
    ] {
        let bound = Lookup::bound(&path(name), 4);
        assert_eq!(
            discovery.namer().lookup(&path(name)),
            bound,
            "{name} never waits"
        );
    }
    assert_eq!(script.asked(), 0);
    script.good("a.example", &[1], 5);
    let set = discovery
        .replica_set(&path("/$/inet/a.example/80"))
        .unwrap();
    assert_eq!(*set.addr(), Addr::Pending);
    set.changed(set.version()).await;
    assert_eq!(last_bytes(&set), [1]);
    let none = discovery
        .replica_set(&path("/$/inet/none.example/80"))
        .unwrap();
    none.changed(none.version()).await;
    assert_eq!(*none.addr(), Addr::Neg);
    let odd = discovery
        .replica_set(&path("/$/inet/a.example/99999"))
        .unwrap();
    assert!(matches!(&*odd.addr(), Addr::Failed(why) if why.contains("99999")));
    assert!(discovery.replica_set(&path("/#/static/nobody")).is_none());
    assert!(discovery.replica_set(&path("/svc/a")).is_none());
}

#[tokio::test(start_paused = true)]
async fn fixedinet_is_asked_until_it_has_an_answer_and_never_again() {
    let (discovery, script) = running();
    let set = discovery
        .replica_set(&path("/$/fixedinet/a.example/80"))
        .unwrap();
    seconds(10).await;
    script.good("a.example", &[1], 2);
    set.changed(set.version()).await;
    assert_eq!(last_bytes(&set), [1]);
    script.good("a.example", &[2], 2);
    script.asked();
    seconds(60).await;
    assert_eq!((last_bytes(&set), script.asked()), (vec![1], 0));
}

#[tokio::test(start_paused = true)]
async fn a_mass_loss_is_held_for_ten_seconds_or_until_the_lost_refuse() {
    let (discovery, script) = running();
    let name = path("/#/dns/a.example/80");
    script.good("a.example", &[1, 2, 3, 4, 5, 6], 1);
    bind(&discovery, &name.to_string()).await;
    let set = discovery.replica_set(&name).unwrap();
    script.good("a.example", &[1], 1);
    seconds(9).await;
    assert_eq!(last_bytes(&set).len(), 6);
    seconds(3).await;
    assert_eq!(last_bytes(&set), [1], "it stayed that way, so it is true");

    script.good("a.example", &[1, 2, 3, 4, 5, 6], 1);
    seconds(2).await;
    script.good("a.example", &[1, 2], 1);
    seconds(2).await;
    assert_eq!(last_bytes(&set).len(), 6);
    set.refused(([10, 0, 0, 3], 80).into());
    set.refused(([10, 0, 0, 1], 80).into());
    seconds(1).await;
    assert_eq!(last_bytes(&set).len(), 6, "one of four lost ones");
    set.refused(([10, 0, 0, 6], 80).into());
    seconds(1).await;
    assert_eq!(last_bytes(&set), [1, 2]);
    assert_eq!(discovery.metrics.discovery().guard_holds.get(), 2);
    assert_eq!(discovery.metrics.discovery().guard_releases.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn unused_names_are_dropped_and_used_ones_are_not() {
    let (discovery, script) = running();
    script.good("used.example", &[1], 5);
    script.good("idle.example", &[1], 5);
    for host in ["used", "idle", "none"] {
        bind(&discovery, &format!("/#/dns/{host}.example/80")).await;
    }
    let used = discovery
        .replica_set(&path("/#/dns/used.example/80"))
        .unwrap();
    assert_eq!(discovery.metrics.discovery().dns_names.get(), 3);
    seconds(70).await;
    assert_eq!(
        discovery.metrics.discovery().dns_names.get(),
        2,
        "what does not exist is forgotten first"
    );
    let seen = discovery.generation();
    seconds(600).await;
    assert_eq!(discovery.metrics.discovery().dns_names.get(), 1);
    assert_ne!(
        discovery.generation(),
        seen,
        "who has bound it must ask again"
    );
    assert!(Arc::ptr_eq(
        &used,
        &discovery
            .replica_set(&path("/#/dns/used.example/80"))
            .unwrap()
    ));
    assert_eq!(
        discovery.namer().lookup(&path("/#/dns/idle.example/80")),
        Lookup::Pending
    );
    drop(used);
    seconds(700).await;
    assert_eq!(discovery.metrics.discovery().dns_names.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn names_and_questions_are_bounded_and_the_unused_make_room() {
    const MAX: usize = 100;
    let (discovery, script) = running_with(MAX);
    let names: Vec<String> = (0..MAX + 20)
        .map(|n| format!("/#/dns/h{n}.example/80"))
        .collect();
    for n in 0..names.len() {
        script.good(&format!("h{n}.example"), &[1], 300);
    }
    let (first, rest) = names.split_at(MAX);
    for name in first {
        assert_eq!(discovery.namer().lookup(&path(name)), Lookup::Pending);
    }
    let mut held = Vec::new();
    for name in first {
        assert_eq!(bind(&discovery, name).await, Lookup::bound(&path(name), 4));
        held.push(discovery.replica_set(&path(name)).unwrap());
    }
    let new = path(&rest[0]);
    let refused = discovery.replica_set(&new).unwrap();
    assert!(matches!(&*refused.addr(), Addr::Failed(why) if why.contains("in use")));
    assert!(matches!(discovery.namer().lookup(&new), Lookup::Failed(_)));
    let literal = discovery.replica_set(&path("/$/inet/10.0.0.9/80")).unwrap();
    assert_eq!(
        last_bytes(&literal),
        [9],
        "a literal address serves even so"
    );

    drop(held);
    seconds(6).await;
    assert_eq!(
        discovery.namer().lookup(&new),
        Lookup::Pending,
        "there is room again, and a look-up finds it"
    );
    for name in rest {
        assert!(discovery.replica_set(&path(name)).is_some());
        assert_eq!(
            bind(&discovery, name).await,
            Lookup::bound(&path(name), 4),
            "{name} takes a place"
        );
    }
    assert_eq!(discovery.metrics.discovery().dns_names.get(), MAX as i64);
    assert_eq!(script.0.lock().unwrap().most_in_flight, run::ASKING_MAX);
}

#[tokio::test(start_paused = true)]
async fn an_overflow_of_asks_loses_nobody() {
    let (discovery, script) = running();
    for _ in 0..2 * ASKS_MAX {
        assert_eq!(
            discovery.namer().lookup(&path("/#/dns/none.example/80")),
            Lookup::Pending
        );
    }
    script.good("a.example", &[1], 300);
    let name = "/#/dns/a.example/80";
    let bound = tokio::time::timeout(Duration::from_secs(1), bind(&discovery, name)).await;
    assert_eq!(bound.unwrap(), Lookup::bound(&path(name), 4));
    assert!(discovery.metrics.render().contains("discovery-asks"));
}

#[tokio::test(start_paused = true)]
async fn written_host_names_are_resolved_and_replaced_only_when_the_new_ones_are_known() {
    let (discovery, script) = running();
    let hosts = |names: &[&str]| Cluster {
        name: "a".into(),
        source: ClusterSource::Endpoints(
            names
                .iter()
                .map(|host| WrittenEndpoint::Host {
                    host: (*host).into(),
                    port: 80,
                    weight: 2.0,
                    locality: Default::default(),
                })
                .collect(),
        ),
        protocol: UpstreamProtocol::Http2,
        tls: None,
    };
    script.good("one.example", &[1, 2], 5);
    apply(&discovery, &[hosts(&["one.example"])]);
    let name = path("/#/static/a");
    assert_eq!(
        discovery.namer().lookup(&name),
        Lookup::bound(&name, 3),
        "bound, though its endpoints are not known"
    );
    let set = discovery.replica_set(&name).unwrap();
    assert_eq!((*set.addr()).clone(), Addr::Pending);
    assert_eq!(set.protocol(), UpstreamProtocol::Http2);
    set.changed(set.version()).await;
    assert_eq!(last_bytes(&set), [1, 2]);

    script.good("two.example", &[3], 5);
    apply(&discovery, &[hosts(&["two.example"])]);
    assert_eq!(last_bytes(&set), [1, 2]);
    set.changed(set.version()).await;
    assert_eq!(last_bytes(&set), [3]);
    script.asked();
    seconds(60).await;
    assert!(
        (11..=13).contains(&script.asked()),
        "what is no longer written is no longer asked"
    );

    apply(&discovery, &[hosts(&["none.example"])]);
    seconds(10).await;
    assert_eq!(
        last_bytes(&set),
        [3],
        "a typing error in a name does not take the set away"
    );
}

#[tokio::test]
async fn files_are_followed_and_configuration_moves_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    std::fs::create_dir_all(one.join("bank")).unwrap();
    std::fs::create_dir(&two).unwrap();
    std::fs::write(one.join("bank/ledger"), "127.0.0.1 1").unwrap();
    std::fs::write(one.join("broken"), "oops").unwrap();
    std::fs::write(two.join("other"), "127.0.0.1 9").unwrap();
    let (discovery, _script) = running();
    let configure = |folder: Option<&PathBuf>| {
        discovery.apply(
            [].iter(),
            &Dns::default(),
            Duration::from_secs(600),
            folder.cloned(),
        );
    };
    configure(Some(&one));
    let lookup = |text: &str| discovery.namer().lookup(&path(text));
    let name = "/#/files/bank/ledger/rest";
    assert_eq!(
        lookup(name),
        Lookup::bound(&path(name), 4),
        "the folder is read before configure returns"
    );
    for neg in [
        "/#/files",
        "/#/files/bank",
        "/#/files/ledger",
        "/#/files/nobody",
    ] {
        assert_eq!(lookup(neg), Lookup::NEG, "{neg}");
    }
    let set = discovery
        .replica_set(&path("/#/files/bank/ledger"))
        .unwrap();
    let broken = discovery.replica_set(&path("/#/files/broken")).unwrap();
    assert!(matches!(&*broken.addr(), Addr::Failed(why) if why.contains("line 1")));
    assert_eq!(discovery.file_errors().len(), 1);

    let within = Duration::from_secs(5);
    let changed = |set: Arc<ReplicaSet>| async move {
        tokio::time::timeout(within, set.changed(set.version()))
            .await
            .expect("a change of a file applies");
        set
    };
    let writer = tokio::spawn(changed(Arc::clone(&set)));
    tokio::task::yield_now().await;
    std::fs::write(one.join("bank/ledger"), "127.0.0.1 1\n127.0.0.1 2").unwrap();
    assert_eq!(ports(&writer.await.unwrap()), [1, 2]);

    let writer = tokio::spawn(changed(Arc::clone(&broken)));
    tokio::task::yield_now().await;
    std::fs::write(one.join("new"), "127.0.0.1 5").unwrap();
    std::fs::rename(one.join("new"), one.join("broken")).unwrap();
    assert_eq!(ports(&writer.await.unwrap()), [5]);
    assert_eq!(discovery.file_errors().len(), 0);

    let emptied = std::time::Instant::now();
    let writer = tokio::spawn(changed(Arc::clone(&set)));
    tokio::task::yield_now().await;
    std::fs::write(one.join("bank/ledger"), "").unwrap();
    assert_eq!(ports(&writer.await.unwrap()), [0_u16; 0]);
    assert!(
        emptied.elapsed() >= Duration::from_secs(1),
        "an empty file counts after a second"
    );

    configure(Some(&two));
    assert_eq!(
        (lookup(name), lookup("/#/files/other")),
        (Lookup::NEG, Lookup::bound(&path("/#/files/other"), 3))
    );
    let seen = discovery.generation();
    std::fs::remove_file(two.join("other")).unwrap();
    tokio::time::timeout(within, discovery.changed(seen))
        .await
        .expect("a removal applies");
    assert_eq!(lookup("/#/files/other"), Lookup::NEG);
    configure(None);
    assert_eq!(lookup("/#/files/other"), Lookup::NEG);
}

#[tokio::test]
async fn a_real_server_may_fail_in_every_way_without_a_question_per_request() {
    use dns::stub::{Reply, Zone, serve};
    use hickory_resolver::proto::rr::rdata::A;
    use hickory_resolver::proto::rr::{RData, RecordType};
    let zone = Zone::default();
    let answer = |last: &[u8]| {
        let data = last.iter().map(|last| RData::A(A::new(10, 0, 0, *last)));
        zone.set(
            "a.test.example",
            RecordType::A,
            Reply::Records(data.collect(), 0),
        );
    };
    let dns = Dns {
        servers: vec![serve(&zone).await],
        min_ttl: Duration::from_millis(100),
        timeout: Duration::from_millis(200),
        ..Dns::default()
    };
    let discovery = Discovery::new(Metrics::new(100));
    tokio::spawn(Arc::clone(&discovery).run(std::future::pending()));
    discovery.apply([].iter(), &dns, Duration::from_secs(600), None);
    answer(&[1]);
    let name = "/#/dns/a.test.example/80";
    let within = Duration::from_secs(10);
    let bound = Lookup::bound(&path(name), 4);
    assert_eq!(
        tokio::time::timeout(within, bind(&discovery, name))
            .await
            .unwrap(),
        bound
    );
    let set = discovery.replica_set(&path(name)).unwrap();
    for fault in [
        Reply::ServFail,
        Reply::Silence,
        Reply::NxDomain(Some(0)),
        Reply::Empty,
        Reply::Garbage,
    ] {
        let (before, started) = (zone.questions(), std::time::Instant::now());
        zone.set("a.test.example", RecordType::A, fault);
        while zone.questions() < before + 4 {
            assert!(started.elapsed() < within, "questions go on");
            for _ in 0..100 {
                assert_eq!(discovery.namer().lookup(&path(name)), bound);
            }
            assert_eq!(last_bytes(&set), [1]);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let asked = zone.questions();
    assert!(asked < 200, "{asked} questions for thousands of look-ups");
    for last in [[2, 3], [3, 4]] {
        let seen = set.version();
        answer(&last);
        tokio::time::timeout(within, set.changed(seen))
            .await
            .expect("the new answer arrives");
        assert_eq!(last_bytes(&set), last);
    }
}
