//! Messages of our own. Written by hand: three of them are not worth a compiler of protocol buffers in the build.

use crate::protobuf::Any;
use prost::{Message, Name};

/// A rule document, as a person wrote it. A resource is named `<kind>/<namespace>/<name>`.
///
/// The receiver reads the text as it reads a file of its own, so that the language has one reader.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Document {
    /// `Route`, `Dtab` or `Fault`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// `metadata.namespace`.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// `metadata.name`.
    #[prost(string, tag = "3")]
    pub name: String,
    /// The document, YAML.
    #[prost(string, tag = "4")]
    pub text: String,
}

impl Document {
    /// `<kind>/<namespace>/<name>`.
    pub fn resource_name(&self) -> String {
        format!("{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

impl Name for Document {
    const NAME: &'static str = "Document";
    const PACKAGE: &'static str = "heddle.v1";

    fn full_name() -> String {
        "heddle.v1.Document".into()
    }

    fn type_url() -> String {
        crate::DOCUMENT.into()
    }
}

/// What a proxy keeps of its control plane across its own restart.
#[derive(Clone, PartialEq, Message)]
pub struct Kept {
    /// In order of type and name.
    #[prost(message, repeated, tag = "1")]
    pub resources: Vec<KeptResource>,
}

/// One resource that was accepted.
#[derive(Clone, PartialEq, Message)]
pub struct KeptResource {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Itself.
    #[prost(message, optional, tag = "3")]
    pub resource: Option<Any>,
    /// When it was last in use, in seconds of Unix time.
    #[prost(uint64, tag = "4")]
    pub used: u64,
}
