//! What the demo tells people: where everything is, and what to try.

use super::Topology;
use super::stage::Stage;
use crate::load::people::People;

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
    println!(
        "\nThe bank is open: {} replicas of {} services, {proxies}, {} MiB (the proxy {} MiB).\n\n\
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
    );
    println!(
        "Try, in another terminal (docs/bank.md has more):\n\n\
         \x20 put it under load    heddle-bank load --state {state} --rate 100 --for 30s\n\
         \x20 check the books      heddle-bank audit --state {state}\n\
         \x20 a canary of feed     cp sample-bank/mesh/try/feed-canary.yaml {state}/mesh/rules/feed.yaml\n"
    );
    if let Some((place, replica)) = stage
        .replicas
        .iter()
        .find(|(place, _)| place.role.service == "ledger")
    {
        println!(
            "\x20 kill a replica       kill -9 {}    # {}; it is started again\n",
            replica.id(),
            place.name
        );
    }
    println!("Ctrl-C ends everything.");
}
