//! TLS towards endpoints.

use super::{material, protocols, provider, reason, versions};
use heddle_core::config::{TlsScope, UpstreamTls};
use heddle_core::name::Path;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What is to be spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    Http1,
    Http2,
    /// Opaque bytes: no ALPN.
    Opaque,
}

/// TLS as one scope of replica sets begins it.
#[derive(Debug)]
pub(crate) struct Origination {
    spec: Arc<UpstreamTls>,
    server_name: Option<ServerName<'static>>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    opaque: Arc<ClientConfig>,
}

/// Why a handshake with an endpoint failed.
#[derive(Debug)]
pub(crate) struct Failed {
    /// For the metric.
    pub(crate) word: &'static str,
    /// For people.
    pub(crate) sentence: String,
}

impl Origination {
    fn new(spec: &Arc<UpstreamTls>) -> Result<Self, String> {
        let roots = match &spec.ca {
            Some(file) => material::roots(&file.pem)
                .map_err(|what| format!("{}: {what}", file.path.display()))?,
            None => system_roots()?,
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(spec.min_version))
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let config = match &spec.identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let loaded = material::load(pair)?;
                let resolver = rustls::sign::SingleCertAndKey::from(loaded.key);
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        let name = spec.server_name.clone().map(ServerName::try_from);
        let server_name = name
            .transpose()
            .map_err(|error| format!("`serverName` is no name: {error}"))?;
        let with = |names: &[&str]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols(names);
            Arc::new(config)
        };
        Ok(Self {
            spec: spec.clone(),
            server_name,
            http1: with(&["http/1.1"]),
            http2: with(&["h2"]),
            opaque: with(&[]),
        })
    }

    /// The handshake with an endpoint; its time is the caller's to bound.
    pub(crate) async fn shake(
        &self,
        stream: TcpStream,
        address: IpAddr,
        inside: Upstream,
    ) -> Result<TlsStream<TcpStream>, Failed> {
        let name = self
            .server_name
            .clone()
            .unwrap_or_else(|| ServerName::IpAddress(address.into()));
        let config = match inside {
            Upstream::Http1 => &self.http1,
            Upstream::Http2 => &self.http2,
            Upstream::Opaque => &self.opaque,
        };
        let connector = TlsConnector::from(config.clone());
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| Failed {
                word: reason::word(&error),
                sentence: reason::sentence(&error),
            })?;
        let chosen = stream.get_ref().1.alpn_protocol();
        if inside == Upstream::Http2 && chosen != Some(b"h2") {
            // Speaking HTTP/2 to a server that did not choose it would look like a broken server.
            return Err(Failed {
                word: "no-common-protocol",
                sentence: "the server does not offer h2 by ALPN; say `protocol: http1`".to_owned(),
            });
        }
        Ok(stream)
    }
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry odd old certificates; those that can be used are enough.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(
            "the system has no certificates of authorities (on Debian: package ca-certificates); write `ca:`"
                .to_owned(),
        );
    }
    Ok(roots)
}

/// All scopes of a configuration, the longest prefix first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Originations(Vec<(Path, Arc<Origination>)>);

impl Originations {
    /// Makes ready what was configured; what stays as it was keeps its sessions.
    pub(crate) fn new(scopes: &[TlsScope], before: &Self) -> Result<Self, String> {
        let make = |scope: &TlsScope| {
            let kept = before
                .0
                .iter()
                .find(|(prefix, made)| *prefix == scope.prefix && made.spec == scope.tls);
            let made = match kept {
                Some((_, made)) => made.clone(),
                None => Arc::new(
                    Origination::new(&scope.tls)
                        .map_err(|what| format!("TLS towards {}: {what}", scope.prefix))?,
                ),
            };
            Ok((scope.prefix.clone(), made))
        };
        scopes.iter().map(make).collect::<Result<_, _>>().map(Self)
    }

    /// What holds for a replica set; `None`: plaintext.
    pub(crate) fn of(&self, id: &Path) -> Option<Arc<Origination>> {
        let scope = self.0.iter().find(|(prefix, _)| id.starts_with(prefix));
        scope.map(|(_, made)| made.clone())
    }
}
