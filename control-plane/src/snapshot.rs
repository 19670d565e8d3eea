//! Pure. What is served at one moment: immutable, and equal on every replica that reads the same.
//!
//! A version is a hash of content, never a counter. So a client that fails over to another replica is told nothing that
//! it knows already. Rules and endpoints are two halves with an `Arc` each: endpoints change a hundred times as often.

use heddle_core::sticky;
use heddle_xds::protobuf::Any;
use heddle_xds::{CLUSTER, DOCUMENT, ENDPOINTS, LISTENER, ROUTES};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The resource types that are served, in the order in which a client must hear of a change so that nothing that it
/// uses names something that it does not have (make before break).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoints,
    /// LDS.
    Listener,
    /// RDS.
    Routes,
    /// Our own: rule documents.
    Document,
}

impl Kind {
    /// All, in order.
    pub const ALL: [Self; 5] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Listener,
        Self::Routes,
        Self::Document,
    ];

    /// The kind of a type URL.
    pub fn of_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.url() == url)
    }

    /// The type URL.
    pub fn url(self) -> &'static str {
        match self {
            Self::Cluster => CLUSTER,
            Self::Endpoints => ENDPOINTS,
            Self::Listener => LISTENER,
            Self::Routes => ROUTES,
            Self::Document => DOCUMENT,
        }
    }

    /// A short name for people and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cluster => "cds",
            Self::Endpoints => "eds",
            Self::Listener => "lds",
            Self::Routes => "rds",
            Self::Document => "documents",
        }
    }

    /// Whether a state-of-the-world answer is the whole truth, so that what it lacks is deleted (LDS and CDS).
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }

    /// Whether all of it may be asked for at once.
    pub fn has_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener | Self::Document)
    }
}

/// One resource, encoded once for all clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Hash of the content.
    pub version: String,
    /// The content.
    pub any: Any,
    /// Whether who asks for everything gets it: what a client must name to use is not.
    pub listed: bool,
}

impl Resource {
    /// A resource that whoever asks for everything gets.
    pub fn new(any: Any) -> Self {
        Self {
            version: hash([any.value.as_slice()].into_iter()),
            any,
            listed: true,
        }
    }

    /// A resource that only those get who name it.
    pub fn unlisted(any: Any) -> Self {
        Self {
            listed: false,
            ..Self::new(any)
        }
    }
}

/// All resources of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Set {
    /// Hash of all names and versions.
    pub version: String,
    /// By name.
    pub resources: BTreeMap<String, Arc<Resource>>,
}

impl Set {
    /// From resources by name; the version follows from them.
    pub fn new(resources: BTreeMap<String, Arc<Resource>>) -> Self {
        let parts = resources
            .iter()
            .flat_map(|(name, resource)| [name.as_bytes(), resource.version.as_bytes()]);
        Self {
            version: hash(parts),
            resources,
        }
    }
}

impl FromIterator<(String, Resource)> for Set {
    fn from_iter<I: IntoIterator<Item = (String, Resource)>>(resources: I) -> Self {
        let shared = |(name, resource)| (name, Arc::new(resource));
        Self::new(resources.into_iter().map(shared).collect())
    }
}

/// A hash of parts in order, as text.
pub fn hash<'p>(parts: impl Iterator<Item = &'p [u8]>) -> String {
    let parts: Vec<&[u8]> = parts.collect();
    format!("{:016x}", sticky::hash(&parts))
}

/// What changes seldom.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// CDS.
    pub clusters: Set,
    /// LDS.
    pub listeners: Set,
    /// RDS.
    pub routes: Set,
    /// Documents.
    pub documents: Set,
}

/// Everything that is served at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// What changes seldom.
    pub rules: Arc<Rules>,
    /// EDS.
    pub endpoints: Arc<Set>,
}

impl Snapshot {
    /// The resources of a kind.
    pub fn set(&self, kind: Kind) -> &Set {
        match kind {
            Kind::Cluster => &self.rules.clusters,
            Kind::Endpoints => &self.endpoints,
            Kind::Listener => &self.rules.listeners,
            Kind::Routes => &self.rules.routes,
            Kind::Document => &self.rules.documents,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(content: &str) -> Resource {
        Resource::new(Any {
            type_url: CLUSTER.into(),
            value: content.into(),
        })
    }

    #[test]
    fn versions_follow_from_content_alone() {
        let set = |entries: &[(&str, &str)]| -> Set {
            entries
                .iter()
                .map(|(name, content)| ((*name).to_owned(), resource(content)))
                .collect()
        };
        let one = set(&[("a", "1"), ("b", "2")]);
        assert_eq!(one, set(&[("b", "2"), ("a", "1")]), "whatever the order");
        for other in [
            set(&[("a", "1")]),
            set(&[("a", "1"), ("b", "3")]),
            set(&[("a", "1"), ("c", "2")]),
            set(&[("a", "2"), ("b", "1")]),
            set(&[]),
        ] {
            assert_ne!(one.version, other.version, "{other:?}");
        }
        assert_eq!(
            resource("1").version,
            Resource::unlisted(resource("1").any).version
        );
    }

    #[test]
    fn kinds_are_found_by_their_urls() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_url(kind.url()), Some(kind));
        }
        assert_eq!(Kind::of_url("type.googleapis.com/other"), None);
    }
}
