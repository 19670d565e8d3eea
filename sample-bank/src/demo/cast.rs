//! Pure. Who plays in the bank: services, versions, languages, and what each needs to run.

/// A program that a language needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Runtime {
    /// This program itself.
    Rust,
    Python,
    Go,
    Node,
    Java,
}

impl Runtime {
    /// What must be in `PATH`, and how Debian calls the package.
    pub(super) fn needs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Rust => &[],
            Self::Python => &[("python3", "python3")],
            Self::Go => &[("go", "golang-go")],
            Self::Node => &[("node", "nodejs")],
            Self::Java => &[
                ("java", "default-jre-headless"),
                ("javac", "default-jdk-headless"),
            ],
        }
    }

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::Node => "Node",
            Self::Java => "Java",
        }
    }
}

/// One version of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) service: &'static str,
    pub(super) version: &'static str,
    pub(super) runtime: Runtime,
    /// How many copies start.
    pub(super) replicas: usize,
}

impl Role {
    /// The name of its replica set.
    pub(super) fn set(self) -> String {
        format!("{}-{}", self.service, self.version)
    }
}

const fn role(
    service: &'static str,
    version: &'static str,
    runtime: Runtime,
    replicas: usize,
) -> Role {
    Role {
        service,
        version,
        runtime,
        replicas,
    }
}

/// The whole cast, in the order in which it starts: nobody before those whom it asks.
pub(super) const CAST: [Role; 13] = [
    role("lock", "v1", Runtime::Rust, 2),
    role("queue", "v1", Runtime::Rust, 2),
    role("ledger", "v1", Runtime::Rust, 2),
    role("ledger", "v2", Runtime::Rust, 1),
    role("accounts", "v1", Runtime::Rust, 2),
    role("cards", "v1", Runtime::Rust, 2),
    role("gateway", "v1", Runtime::Rust, 2),
    role("merchants", "v1", Runtime::Python, 2),
    role("merchants", "v2", Runtime::Go, 1),
    role("feed", "v1", Runtime::Node, 2),
    role("feed", "v2", Runtime::Java, 1),
    role("notifications", "v1", Runtime::Go, 2),
    role("notifications", "v2", Runtime::Node, 1),
];

/// The subscribers: whose events come from where.
pub(super) const SUBSCRIPTIONS: [(&str, &str); 3] = [
    ("merchants", "ledger.postings"),
    ("feed", "feed.items"),
    ("notifications", "feed.items"),
];

/// What can be played with the runtimes that are here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Casting {
    pub(super) roles: Vec<Role>,
    /// Left out, each with the reason for a person.
    pub(super) left_out: Vec<String>,
    /// Services that only have version 2: it takes all traffic.
    pub(super) only_v2: Vec<&'static str>,
    /// Services that have no version at all.
    pub(super) nobody: Vec<&'static str>,
}

/// Chooses roles by what `has` finds in `PATH`.
pub(super) fn casting(has: impl Fn(&str) -> bool) -> Casting {
    let mut roles = Vec::new();
    let mut left_out = Vec::new();
    for role in CAST {
        let missing = role.runtime.needs().iter().find(|(tool, _)| !has(tool));
        match missing {
            None => roles.push(role),
            Some((tool, package)) => left_out.push(format!(
                "{} {} is left out: it is written in {}, and `{tool}` is not in PATH (Debian: apt-get install {package})",
                role.service,
                role.version,
                role.runtime.name(),
            )),
        }
    }
    let plays = |service: &str, version: &str| {
        let mut all = roles.iter();
        all.any(|role: &Role| role.service == service && role.version == version)
    };
    let subscribers = SUBSCRIPTIONS.map(|(service, _)| service);
    let without = |v2: bool| -> Vec<&'static str> {
        let all = subscribers.into_iter();
        all.filter(|service| !plays(service, "v1") && plays(service, "v2") == v2)
            .collect()
    };
    let (only_v2, nobody) = (without(true), without(false));
    // A lone version 2 does the work of two replicas.
    for role in &mut roles {
        if only_v2.contains(&role.service) {
            role.replicas = 2;
        }
    }
    Casting {
        roles,
        left_out,
        only_v2,
        nobody,
    }
}

/// The part of `BANK_FAIL_POINTS` that is for a service: services refuse names that they do not have.
pub(super) fn fail_points(all: &str, service: &str) -> String {
    let relevant = |point: &&str| {
        let owner = point.trim().split('.').next().unwrap_or_default();
        owner == service || (owner == "relay" && service == "ledger")
    };
    all.split(',')
        .filter(relevant)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_plays_where_everything_is_installed() {
        let casting = casting(|_| true);
        assert_eq!(casting.roles, CAST);
        assert!(casting.left_out.is_empty() && casting.only_v2.is_empty());
    }

    #[test]
    fn what_has_no_runtime_is_left_out_by_name() {
        let without_go = casting(|tool| tool != "go");
        assert_eq!(without_go.left_out.len(), 2);
        assert!(without_go.left_out[1].contains("notifications v1"));
        assert!(without_go.left_out[1].contains("golang-go"));
        assert_eq!(without_go.only_v2, ["notifications"]);
        let taking_over = without_go
            .roles
            .iter()
            .find(|r| r.set() == "notifications-v2");
        assert_eq!(taking_over.map(|role| role.replicas), Some(2));

        let bare = casting(|_| false);
        assert_eq!(bare.nobody, ["merchants", "feed", "notifications"]);
        assert!(bare.roles.iter().all(|role| role.runtime == Runtime::Rust));
    }

    #[test]
    fn a_service_hears_of_its_own_fail_points_only() {
        let all = "ledger.committed=1/9,relay.published=1/7, feed.kept=1/5";
        for (service, wanted) in [
            ("ledger", "ledger.committed=1/9,relay.published=1/7"),
            ("feed", " feed.kept=1/5"),
            ("cards", ""),
        ] {
            assert_eq!(fail_points(all, service), wanted);
        }
    }
}
