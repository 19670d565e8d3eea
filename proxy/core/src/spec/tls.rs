//! TLS: decoding it, reading its files, and telling what is wrong with them.
//!
//! Pure: the files come from the [`Source`], and so does the judgement of what they hold.

use super::codes;
use super::fields::Fields;
use super::report::Report;
use super::table::tls::{CLIENT_AUTH, KEY_PAIR};
use super::yaml::{Node, Place};
use super::{MAX_FILE_BYTES, Source};
use crate::config::{
    ClientAuth, ClusterSource, KeyPair, ListenerTls, TlsFile, TlsVersion, UpstreamTls,
    WrittenEndpoint,
};
use std::path::{Path, PathBuf};

/// What a [`Source`] is asked to judge.
#[derive(Debug, Clone, Copy)]
pub enum Material<'m> {
    /// A certificate chain and its key.
    KeyPair {
        /// PEM of the chain.
        cert: &'m [u8],
        /// PEM of the key.
        key: &'m [u8],
    },
    /// Certificates of authorities, as PEM.
    Authorities(&'m [u8]),
}

/// What is wrong with [`Material`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Whether it is about the key and not the certificate.
    pub of_key: bool,
    /// Whether it cannot be used at all; otherwise it is, or soon will be, outside its time.
    pub unusable: bool,
    /// For a person: `the certificate expired 3 days ago`.
    pub what: String,
}

/// Reads the files that TLS settings name.
pub(super) struct Reader<'r> {
    source: &'r dyn Source,
    files: &'r mut Vec<PathBuf>,
    folder: PathBuf,
}

impl<'r> Reader<'r> {
    /// Paths are relative to `folder`; what is read is added to `files`.
    pub(super) fn new(
        source: &'r dyn Source,
        files: &'r mut Vec<PathBuf>,
        folder: impl Into<PathBuf>,
    ) -> Self {
        Self {
            source,
            files,
            folder: folder.into(),
        }
    }

    fn file(&mut self, node: &Node, report: &mut Report) -> Option<TlsFile> {
        let path = self
            .folder
            .join(node.text().filter(|text| !text.is_empty())?);
        if !self.files.contains(&path) {
            self.files.push(path.clone());
        }
        let told = match self.source.read(&path) {
            Ok(pem) if pem.len() <= MAX_FILE_BYTES => {
                return Some(TlsFile {
                    path,
                    pem: pem.into(),
                });
            }
            Ok(_) => "it is too large".to_owned(),
            Err(error) => error.to_string(),
        };
        report.add(
            &codes::UNREADABLE,
            node.place,
            format!("`{}` cannot be read: {told}", shown(&path)),
            "without it there is no TLS, and plaintext in its place would be worse than none",
            "look at its path and its permissions; paths are relative to the file that names them",
        );
        None
    }

    fn judge(&self, material: Material<'_>, places: [(Place, &Path); 2], report: &mut Report) {
        for flaw in self.source.inspect(&material) {
            let (place, path) = places[usize::from(flaw.of_key)];
            let what = format!("`{}`: {}", shown(path), flaw.what);
            if flaw.unusable {
                report.add(
                    &codes::BAD_CERTIFICATE,
                    place,
                    what,
                    "no connection could be secured with it",
                    "write PEM files that belong together, the leaf certificate first; a running proxy keeps the last good ones",
                );
            } else {
                report.add(
                    &codes::CERTIFICATE_EXPIRES,
                    place,
                    what,
                    "whoever checks it refuses the connection once it is outside its time",
                    "renew it; the new file is taken up while running",
                );
            }
        }
    }

    fn pair(&mut self, fields: Fields<'_>, report: &mut Report) -> Option<KeyPair> {
        let (cert_node, key_node) = (fields.get("cert"), fields.get("key"));
        let cert = cert_node.and_then(|node| self.file(node, report));
        let key = key_node.and_then(|node| self.file(node, report));
        let pair = KeyPair {
            cert: cert?,
            key: key?,
        };
        let material = Material::KeyPair {
            cert: &pair.cert.pem,
            key: &pair.key.pem,
        };
        let places = [
            (cert_node?.place, &*pair.cert.path),
            (key_node?.place, &*pair.key.path),
        ];
        self.judge(material, places, report);
        Some(pair)
    }

    fn authorities(&mut self, node: &Node, report: &mut Report) -> Option<TlsFile> {
        let file = self.file(node, report)?;
        let place = (node.place, &*file.path);
        self.judge(Material::Authorities(&file.pem), [place, place], report);
        Some(file)
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn min_version(fields: Fields<'_>) -> TlsVersion {
    match fields.text("minVersion") {
        Some("1.3") => TlsVersion::V13,
        _ => TlsVersion::V12,
    }
}

/// `listeners[].tls`; `None` after a finding. `opaque`: the listener carries no HTTP.
pub(super) fn listener(
    fields: Fields<'_>,
    opaque: bool,
    reader: &mut Reader<'_>,
    report: &mut Report,
) -> Option<ListenerTls> {
    let nodes = fields.items("certificates").iter();
    let certificates: Vec<_> = nodes
        .filter_map(|node| reader.pair(Fields::new(node, &KEY_PAIR), report))
        .collect();
    let client_auth = fields.child("clientAuth", &CLIENT_AUTH).map(|auth| {
        let required = auth.text("mode") != Some("optional");
        let ca = auth.get("ca")?;
        let ca = reader.authorities(ca, report)?;
        Some(ClientAuth { ca, required })
    });
    let alpn = match fields.get("alpn") {
        None if opaque => Vec::new(),
        None => vec!["h2", "http/1.1"],
        Some(list) => {
            let words = list.items().iter().filter_map(Node::text);
            words
                .filter_map(|word| ["h2", "http/1.1"].into_iter().find(|known| *known == word))
                .collect()
        }
    };
    let min_version = min_version(fields);
    (!certificates.is_empty()).then_some(ListenerTls {
        certificates,
        // One that could not be read was told; there will be no configuration.
        client_auth: client_auth.flatten(),
        min_version,
        alpn,
    })
}

/// `tls` of a replica set; `server_name` stands in when none is written.
pub(super) fn upstream(
    fields: Fields<'_>,
    server_name: Option<String>,
    reader: &mut Reader<'_>,
    report: &mut Report,
) -> UpstreamTls {
    let identity = match (fields.get("cert"), fields.get("key")) {
        (Some(_), Some(_)) => reader.pair(fields, report),
        (None, None) => None,
        (written, other) => {
            let missing = if written.is_some() { "key" } else { "cert" };
            let place = written
                .or(other)
                .map_or(fields.node.place, |node| node.place);
            report.add(
                &codes::MISSING_KEY,
                place,
                format!("`{missing}` is missing"),
                "a certificate is shown by whoever holds its key, so the two go together",
                format!("add `{missing}:`, or remove the other"),
            );
            None
        }
    };
    let ca = fields.get("ca").filter(|ca| ca.text() != Some("system"));
    UpstreamTls {
        server_name: fields.owned("serverName").or(server_name),
        ca: ca.and_then(|ca| reader.authorities(ca, report)),
        identity,
        min_version: min_version(fields),
    }
}

/// The host name that all endpoints of a set share. An error when some have one and others another.
pub(super) fn shared_host(source: &ClusterSource) -> Result<Option<String>, ()> {
    let endpoints = match source {
        ClusterSource::Dns { host, .. } => return Ok(Some(host.clone())),
        ClusterSource::Endpoints(endpoints) => endpoints,
    };
    let mut hosts = endpoints.iter().map(|endpoint| match endpoint {
        WrittenEndpoint::Host { host, .. } => Some(host),
        WrittenEndpoint::Address(_) => None,
    });
    let first = hosts.next().flatten();
    if hosts.all(|host| host == first) {
        Ok(first.cloned())
    } else {
        Err(())
    }
}
