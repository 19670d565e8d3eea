//! TLS as configuration: which files, and what is asked of the other side.
//!
//! The core reads the files and carries their bytes; what the bytes mean is for whoever links a TLS library
//! (see [`crate::spec::Source::inspect`]). So a changed file is a changed configuration.

use crate::name::Path as Name;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A PEM file as it was when the configuration was read.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsFile {
    /// Where it was read.
    pub path: PathBuf,
    /// What it held.
    pub pem: Arc<[u8]>,
}

impl fmt::Debug for TlsFile {
    /// Without the content, which may be a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TlsFile({}, {} bytes)",
            self.path.display(),
            self.pem.len()
        )
    }
}

/// A certificate chain, leaf first, and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The chain.
    pub cert: TlsFile,
    /// The key of its first certificate.
    pub key: TlsFile,
}

/// The oldest version that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2, with forward-secret AEAD suites only (Mozilla's "intermediate").
    #[default]
    V12,
    /// TLS 1.3 (Mozilla's "modern").
    V13,
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Never empty; the first is shown to callers whose server name none covers.
    pub certificates: Vec<KeyPair>,
    /// Whether callers show a certificate; `None`: they are not asked.
    pub client_auth: Option<ClientAuth>,
    /// The oldest version.
    pub min_version: TlsVersion,
    /// Protocols offered by ALPN, best first; empty: ALPN is not answered.
    pub alpn: Vec<&'static str>,
}

/// Certificates of callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// Who may have issued them.
    pub ca: TlsFile,
    /// Whether a caller without one is refused.
    pub required: bool,
}

/// TLS towards endpoints. There is no way to leave their certificate unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name that the certificate must cover, sent as SNI; `None`: the endpoint's own address.
    pub server_name: Option<String>,
    /// Who may have issued it; `None`: the system's authorities.
    pub ca: Option<TlsFile>,
    /// What is shown to servers that ask for a certificate.
    pub identity: Option<KeyPair>,
    /// The oldest version.
    pub min_version: TlsVersion,
}

/// TLS towards all replica sets at and below a bound name.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsScope {
    /// Such as `/#/static/accounts` or `/#/dns`.
    pub prefix: Name,
    /// What holds there.
    pub tls: Arc<UpstreamTls>,
}
