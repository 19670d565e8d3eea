//! The mesh's files: a proxy for the host, or one beside each replica, and the rules.

use super::cast::{Casting, Role};
use crate::Failure;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

macro_rules! rule {
    ($service:literal) => {
        (
            $service,
            include_str!(concat!("../../mesh/rules/", $service, ".yaml")),
        )
    };
}

const RULES: [(&str, &str); 9] = [
    rule!("accounts"),
    rule!("cards"),
    rule!("feed"),
    rule!("gateway"),
    rule!("ledger"),
    rule!("lock"),
    rule!("merchants"),
    rule!("notifications"),
    rule!("queue"),
];

macro_rules! attempt {
    ($name:literal) => {
        ($name, include_str!(concat!("../../mesh/try/", $name)))
    };
}

/// What the guides try, so that they need nothing but the state folder.
const TRY: [(&str, &str); 5] = [
    attempt!("as-customer.sh"),
    attempt!("feed-canary.yaml"),
    attempt!("feed-mirror.yaml"),
    attempt!("feed-slow.yaml"),
    attempt!("slow.sh"),
];

/// Addresses that people and services use, all on loopback.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doors {
    /// The bank for its customers.
    pub(super) public: u16,
    /// Where names are called: `http_proxy`.
    pub(super) outbound: u16,
    /// The proxy's pages.
    pub(super) admin: u16,
}

/// One copy of a role.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) role: Role,
    /// `feed-v1-2`.
    pub(super) name: String,
    /// Where it listens.
    pub(super) port: u16,
    /// Where the mesh listens for it.
    pub(super) door: u16,
    /// The pages of the proxy beside it; 0 where the host has one for all.
    pub(super) admin: u16,
}

/// The folder of the mesh.
#[derive(Debug)]
pub(super) struct Mesh(PathBuf);

impl Mesh {
    /// Writes the rules into `state/mesh/rules`, and beside them what the guides try. A service that only has version 2
    /// gets all its traffic there.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(super) fn write(state: &Path, casting: &Casting) -> Result<Self, Failure> {
        let mesh = Self(state.join("mesh"));
        for (service, text) in RULES {
            let version = if casting.only_v2.contains(&service) {
                "v2"
            } else {
                "v1"
            };
            let text = text.replace(&format!("{service}-v1"), &format!("{service}-{version}"));
            mesh.file(&format!("rules/{service}.yaml"), &text)?;
        }
        for (name, text) in TRY {
            let file = mesh.file(&format!("try/{name}"), text)?;
            if name.ends_with(".sh") {
                fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
                    .map_err(|e| Failure::new(format!("cannot write {}: {e}", file.display())))?;
            }
        }
        fs::create_dir_all(mesh.announced()).map_err(|e| {
            Failure::new(format!("cannot make {}: {e}", mesh.announced().display()))
        })?;
        Ok(mesh)
    }

    /// The folder where replicas with a proxy beside them find each other.
    pub(super) fn announced(&self) -> PathBuf {
        self.0.join("announced")
    }

    /// The file of the host's proxy, with a listener in front of each replica of `places`.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn host(
        &self,
        doors: Doors,
        places: &[Place],
        roles: &[Role],
    ) -> Result<PathBuf, Failure> {
        self.file("proxy.yaml", &host_file(doors, places, roles))
    }

    /// The file of the proxy beside one replica.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn beside(&self, place: &Place, outbound: u16) -> Result<PathBuf, Failure> {
        self.file(&format!("{}.yaml", place.name), &side_file(place, outbound))
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let file = self.0.join(name);
        fs::create_dir_all(file.parent().unwrap_or(&self.0))
            .and_then(|()| fs::write(&file, text))
            .map_err(|e| Failure::new(format!("cannot write {}: {e}", file.display())))?;
        Ok(file)
    }
}

fn listener(place: &Place) -> String {
    format!(
        "  - {{name: {}, listen: 127.0.0.1:{}, mode: inbound, forwardTo: 127.0.0.1:{}, overrides: accept}}\n",
        place.name, place.door, place.port
    )
}

fn host_file(doors: Doors, places: &[Place], roles: &[Role]) -> String {
    let Doors {
        public,
        outbound,
        admin,
    } = doors;
    let mut text = format!(
        "# Written by `heddle-bank demo`. The rules beside it may be changed while it runs.\n\
         admin: {{listen: 127.0.0.1:{admin}}}\n\
         listeners:\n\
         \x20 # The public door: whatever a customer sends of overrides is removed here.\n\
         \x20 - {{name: door, listen: 127.0.0.1:{public}, identify: [{{static: gateway}}]}}\n\
         \x20 # Where services call each other. Only this host reaches it, so overrides are accepted.\n\
         \x20 - {{name: outbound, listen: 127.0.0.1:{outbound}, overrides: accept}}\n"
    );
    if places.is_empty() {
        text.push_str("discovery:\n  files: {dir: ./announced}\n");
    } else {
        text.push_str("  # In front of each replica: here a request's context is kept for the calls that it causes.\n");
        places
            .iter()
            .for_each(|place| text.push_str(&listener(place)));
        text.push_str("discovery:\n  static:\n");
        for role in roles {
            let of_role = places.iter().filter(|place| place.role.set() == role.set());
            let addresses: Vec<_> = of_role
                .map(|p| format!("\"127.0.0.1:{}\"", p.door))
                .collect();
            // Writing to a String does not fail.
            let _ = writeln!(text, "    {}: [{}]", role.set(), addresses.join(", "));
        }
    }
    text.push_str("rules: [./rules/*.yaml]\n");
    text
}

fn side_file(place: &Place, outbound: u16) -> String {
    let admin = place.admin;
    format!(
        "# Written by `heddle-bank demo --topology sidecar`: the proxy beside {}.\n\
         admin: {{listen: 127.0.0.1:{admin}}}\n\
         listeners:\n\
         \x20 - {{name: outbound, listen: 127.0.0.1:{outbound}, overrides: accept}}\n\
         {}discovery:\n  files: {{dir: ./announced}}\n\
         rules: [./rules/*.yaml]\n",
        place.name,
        listener(place)
    )
}

#[cfg(test)]
mod tests {
    use super::super::cast::casting;
    use super::*;

    #[test]
    fn every_role_has_a_set_and_every_replica_a_door() {
        let casting = casting(|_| true);
        let places: Vec<_> = casting
            .roles
            .iter()
            .zip(21_000..)
            .map(|(role, port)| Place {
                role: *role,
                name: format!("{}-1", role.set()),
                port,
                door: port + 100,
                admin: 0,
            })
            .collect();
        let doors = Doors {
            public: 1,
            outbound: 2,
            admin: 3,
        };
        let text = host_file(doors, &places, &casting.roles);
        for place in &places {
            assert!(text.contains(&format!(
                "    {}: [\"127.0.0.1:{}\"]",
                place.role.set(),
                place.door
            )));
            assert!(text.contains(&format!("forwardTo: 127.0.0.1:{}", place.port)));
        }
        assert!(
            !text
                .lines()
                .any(|line| line.contains("door") && line.contains("accept"))
        );
    }

    #[test]
    fn a_lone_version_2_takes_the_traffic() {
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        Mesh::write(folder.path(), &casting(|tool| tool != "node")).expect("it is writable");
        let rule = |name: &str| fs::read_to_string(folder.path().join("mesh/rules").join(name));
        assert!(rule("feed.yaml").expect("written").contains("to: feed-v2"));
        assert!(
            rule("merchants.yaml")
                .expect("written")
                .contains("to: merchants-v1")
        );
    }
}
