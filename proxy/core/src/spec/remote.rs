//! Documents that a proxy has from its control plane, added to those that its own file names.
//!
//! Pure. They were judged one by one where they came from and again on arrival; what a proxy's own file says wins.

use super::codes;
use super::document::{Collected, Written};
use super::report::{Report, Spot};
use super::set::{Meaning, Sound};
use super::yaml::Place;
use crate::config::{Fault, Route};
use std::collections::HashSet;

/// Adds what does not contradict the proxy's own documents; the rest is left out with a warning.
pub(super) fn add(remote: Vec<Sound>, collected: &mut Collected, report: &mut Report) {
    let own: HashSet<_> = collected
        .names
        .iter()
        .map(|name| name.value.clone())
        .collect();
    let services = collected
        .routes
        .iter()
        .map(|r| (r.value.namespace.clone(), r.value.service.clone()));
    let services: HashSet<_> = services.collect();
    for sound in remote {
        report.enter(format!("control plane: {}", sound.id));
        let id = sound.id.clone();
        let name = (id.kind, id.namespace, id.name);
        let taken = match &sound.meaning {
            Meaning::Route(route) => {
                services.contains(&(route.namespace.clone(), route.service.clone()))
            }
            _ => false,
        };
        if taken || own.contains(&name) {
            report.add(
                &codes::SHADOWED,
                Place::START,
                format!("`{}` of the control plane does not apply", sound.id),
                "this proxy's own file has a document for the same, and its own counts",
                "remove one of the two",
            );
            continue;
        }
        let spot = report.spot(Place::START);
        collected.names.push(Written {
            value: name.clone(),
            spot,
        });
        keep(sound.meaning, name, spot, collected);
    }
}

fn keep(meaning: Meaning, name: (String, String, String), spot: Spot, collected: &mut Collected) {
    match meaning {
        Meaning::Route(route) => collected.routes.push(Written {
            value: Route::clone(&route),
            spot,
        }),
        Meaning::Dtab(dtab) => collected.dtabs.push(Written {
            value: (name.1, name.2, dtab),
            spot,
        }),
        Meaning::Fault(fault) => collected.faults.push(Written {
            value: Fault::clone(&fault),
            spot,
        }),
        // Replica sets have a path of their own: they change too often to be rules.
        Meaning::Cluster(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::set::judge;
    use super::super::{Source, load};
    use super::*;
    use std::io;
    use std::path::Path;

    struct Mesh(&'static str, &'static str);

    impl Source for Mesh {
        fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
            Ok(self.0.into())
        }
        fn list(&self, _: &Path) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }
        fn env(&self, _: &str) -> Option<String> {
            None
        }
        fn remote(&self, _: &crate::config::ControlPlane) -> Vec<Sound> {
            judge(&[("mesh".into(), self.1.into())]).sound
        }
    }

    const MESH: &str = "apiVersion: heddle.dev/v1alpha1
kind: Route
metadata: {name: a}
spec: {service: a, rules: [{to: far}]}
---
apiVersion: heddle.dev/v1alpha1
kind: Route
metadata: {name: b}
spec: {service: b, rules: [{to: far}]}
---
apiVersion: heddle.dev/v1alpha1
kind: Dtab
metadata: {name: d}
spec: {dtab: '/svc/c => /svc/a'}
";

    #[test]
    fn the_proxys_own_file_wins_and_what_only_the_control_plane_knows_is_no_mistake() {
        let own = "discovery: {control-plane: {address: 'http://127.0.0.1:1'}}
rules:
  - apiVersion: heddle.dev/v1alpha1
    kind: Route
    metadata: {name: own}
    spec: {service: a, rules: [{to: near}]}
";
        let loaded = load(Some(Path::new("p.yaml")), &Mesh(own, MESH));
        let told: Vec<_> = loaded
            .findings
            .iter()
            .map(|f| (f.code, f.file.as_str()))
            .collect();
        assert_eq!(told, [("HED407", "control plane: Route/default/a")]);
        let config = loaded.config.unwrap();
        let to = |service: &str| {
            config.routes[&("default".to_owned(), service.to_owned())].rules[0].to[0]
                .name
                .clone()
        };
        assert_eq!((to("a").as_str(), to("b").as_str()), ("near", "far"));
        assert_eq!(config.dtab.to_string(), "/svc/c=>/svc/a");
    }

    #[test]
    fn without_a_control_plane_nothing_is_asked_of_one() {
        let loaded = load(Some(Path::new("p.yaml")), &Mesh("{}", MESH));
        assert!(loaded.config.unwrap().routes.is_empty());
    }
}
