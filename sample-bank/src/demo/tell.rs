//! What the demo tells people: where everything is, and what to try.

use super::Topology;
use super::stage::Stage;
use crate::load::people::People;
use crate::say;
use std::path::Path;

/// Accounts of others that the page suggests for transfers.
const FRIENDS: usize = 2;

/// Prints it.
pub(super) fn addresses(stage: &Stage, people: &People) {
    let doors = stage.doors;
    let state = stage.state.display();
    let guest = people.customers.first();
    let page = format!("http://127.0.0.1:{}/", doors.public);
    let link = guest.map_or_else(
        || page.clone(),
        |guest| {
            let friends = people
                .customers
                .iter()
                .skip(1)
                .take(FRIENDS)
                .map(|friend| &friend.accounts[0].id);
            let friends: String = friends.map(|friend| format!("&friend={friend}")).collect();
            format!(
                "{page}#customer={}&secret={}{friends}",
                guest.id, guest.secret
            )
        },
    );
    let (all, proxy) = stage.memory();
    let proxies = match stage.topology {
        Topology::Host => "one proxy for the host",
        Topology::Sidecar => "a proxy beside every replica",
    };
    say(format_args!(
        "\nThe bank is open: {} replicas of {} services, {proxies}, {} MiB (the largest proxy {} MiB).\n\n\
         \x20 the bank's page      {link}\n\
         \x20 the mesh's page      http://127.0.0.1:{}/\n\
         \x20 call a service       curl -x http://127.0.0.1:{} http://ledger/totals\n\
         \x20 state, rules, logs   {state}\n",
        stage.replicas.len(),
        stage.services().len(),
        all >> 20,
        proxy >> 20,
        doors.admin,
        doors.outbound,
    ));
    say(format_args!(
        "Try, in another terminal (docs/bank.md has more):\n\n  {}\n\n\
         \x20 put it under load    heddle-bank load --rate 100 --for 30s\n\
         \x20 canary a service     cp $BANK_STATE/mesh/try/feed-canary.yaml $BANK_STATE/mesh/rules/feed.yaml\n\
         \x20 slow a replica       $BANK_STATE/mesh/try/slow.sh {}\n\
         \x20 kill a replica       kill -9 {}\n\
         \x20 check the books      heddle-bank audit\n",
        exports(stage),
        process(stage, "accounts"),
        process(stage, "ledger"),
    ));
    say("Ctrl-C ends everything.");
}

/// What the commands below and those of the guides need to know.
fn exports(stage: &Stage) -> String {
    let programs = std::env::current_exe().ok();
    let programs = programs.as_deref().and_then(Path::parent);
    let path = programs.map_or_else(String::new, |folder| {
        format!("PATH=\"{}:$PATH\" ", folder.display())
    });
    let queue = stage
        .replicas
        .iter()
        .find(|(place, _)| place.role.service == "queue");
    let queue = queue.map_or_else(String::new, |(place, _)| {
        format!(" BANK_QUEUE=http://127.0.0.1:{}", place.port)
    });
    format!(
        "export {path}BANK_STATE=\"{}\"{queue}",
        stage.state.display()
    )
}

/// The process of a service's first replica, and who it is.
fn process(stage: &Stage, service: &str) -> String {
    let mut replicas = stage.replicas.iter();
    let replica = replicas.find(|(place, _)| place.role.service == service);
    replica.map_or_else(String::new, |(place, replica)| {
        // Beside a proxy the service is the proxy's child.
        let id = match stage.topology {
            Topology::Host => replica.id(),
            Topology::Sidecar => replica.child().unwrap_or_default(),
        };
        format!("{id:<8} # {}", place.name)
    })
}
