//! TLS of a listener: the handshake, and what is known after it.

use super::material::{self, Loaded};
use super::names::{Names, PeerIdentity};
use super::{protocols, provider, reason, versions};
use crate::access::{self, Told};
use crate::http::refused_bytes;
use crate::metrics::ListenerMetrics;
use crate::router::Conn;
use heddle_core::config::{ClientAuth, ListenerTls};
use heddle_core::detect::Detected;
use heddle_core::guard::Refusal;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Time for a handshake: what a request's head has by default. Round trips over a bad mobile network take
/// two or three seconds.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way on a listener, over all workers. One holds some 30 KiB and up to a millisecond of
/// a core, so this is about a second of work that is waited for.
const MAX_HANDSHAKES: usize = 1024;

/// A listener's certificates and settings, shared by the workers.
#[derive(Debug)]
pub(crate) struct Termination {
    spec: ListenerTls,
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    under_way: AtomicUsize,
}

/// What a handshake has settled.
#[derive(Debug)]
pub(crate) struct Secured {
    /// The protocol by ALPN.
    pub(crate) protocol: Option<Detected>,
    /// The server name that the caller asked for, and the certificate that it was shown.
    server_name: Option<String>,
    shown: Option<Arc<Certificates>>,
    /// Whom the caller's certificate names.
    pub(crate) peer: Option<PeerIdentity>,
}

impl Secured {
    /// Whether a request for `host` came to the wrong connection: its server name was another, and the
    /// certificate that was shown for that does not cover it either (RFC 9110 section 15.5.20).
    pub(crate) fn is_misdirected(&self, host: &str) -> bool {
        let (Some(name), Some(certificates)) = (&self.server_name, &self.shown) else {
            return false;
        };
        let host = host.trim_end_matches('.');
        !name.eq_ignore_ascii_case(host) && !certificates.names_for(name).cover(host)
    }
}

impl Termination {
    /// Makes ready what was configured; an error names the file.
    pub(crate) fn new(spec: &ListenerTls) -> Result<Self, String> {
        let loaded: Result<Vec<_>, _> = spec.certificates.iter().map(material::load).collect();
        let certificates = Arc::new(Certificates::new(loaded?));
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(spec.min_version))
            .map_err(|error| error.to_string())?;
        let builder = match &spec.client_auth {
            None => builder.with_no_client_auth(),
            Some(auth) => builder.with_client_cert_verifier(verifier(auth)?),
        };
        let mut config = builder.with_cert_resolver(certificates.clone());
        config.alpn_protocols = protocols(&spec.alpn);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if spec.client_auth.is_some() {
            // A resumed session is not verified anew: its certificate may have expired since, or its issuer
            // been taken away. Callers that show certificates keep their connections; they can afford a
            // full handshake.
            config.send_tls13_tickets = 0;
        } else {
            // Keys of this listener and this configuration alone, rotated every six hours: a ticket is
            // good for nothing elsewhere.
            config.ticketer = Ticketer::new().map_err(|error| error.to_string())?;
        }
        Ok(Self {
            spec: spec.clone(),
            config: Arc::new(config),
            certificates,
            under_way: AtomicUsize::new(0),
        })
    }

    /// Whether it was made of this.
    pub(crate) fn is_of(&self, spec: &ListenerTls) -> bool {
        self.spec == *spec
    }

    /// The files of the certificates, each with the end of its leaf in seconds since 1970.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (String, i64)> {
        let files = self.spec.certificates.iter();
        files
            .zip(&self.certificates.loaded)
            .map(|(pair, loaded)| (pair.cert.path.display().to_string(), loaded.not_after))
    }
}

fn verifier(
    auth: &ClientAuth,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let named = |what| format!("{}: {what}", auth.ca.path.display());
    let roots = material::roots(&auth.ca.pem).map_err(named)?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = if auth.required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder.build().map_err(|error| named(error.to_string()))
}

/// The handshake on a connection that was just accepted. `None`: it failed, which has been counted and,
/// where the caller can understand it, told.
pub(crate) async fn shake(
    stream: TcpStream,
    termination: &Arc<Termination>,
    metrics: &ListenerMetrics,
) -> Result<(TlsStream<TcpStream>, Secured), NotShaken> {
    let _under_way = match UnderWay::begin(termination) {
        Ok(under_way) => under_way,
        Err(()) => {
            metrics.tls_failures.inc("too-many-handshakes");
            return Err(NotShaken::Silently);
        }
    };
    let done = timeout(HANDSHAKE_TIMEOUT, within(stream, termination)).await;
    let stream = match done {
        Ok(Ok(stream)) => stream,
        Ok(Err(Broken::Plaintext(stream))) => {
            metrics.tls_failures.inc(WANTS_TLS.reason);
            return Err(NotShaken::Plaintext(stream));
        }
        Ok(Err(Broken::By(word))) => {
            metrics.tls_failures.inc(word);
            return Err(NotShaken::Silently);
        }
        Err(_) => {
            metrics.tls_failures.inc("timeout");
            return Err(NotShaken::Silently);
        }
    };
    metrics.tls_handshakes.inc();
    let secured = secured(&stream, termination);
    if let Some(peer) = secured.peer.as_ref().and_then(PeerIdentity::name) {
        tracing::debug!(peer, "a caller showed its certificate");
    }
    Ok((stream, secured))
}

/// Why a connection goes no further than its handshake.
#[derive(Debug)]
pub(crate) enum NotShaken {
    /// The caller speaks plaintext, and can be told so.
    Plaintext(TcpStream),
    /// There is no way to tell it anything.
    Silently,
}

/// Why a handshake ended.
enum Broken {
    Plaintext(TcpStream),
    By(&'static str),
}

async fn within(
    stream: TcpStream,
    termination: &Termination,
) -> Result<TlsStream<TcpStream>, Broken> {
    let mut first = [0; 1];
    match stream.peek(&mut first).await {
        Ok(0) | Err(_) => return Err(Broken::By("closed")),
        // A method: no TLS record begins with a letter.
        Ok(_) if first[0].is_ascii_alphabetic() => return Err(Broken::Plaintext(stream)),
        Ok(_) => {}
    }
    let acceptor = TlsAcceptor::from(termination.config.clone());
    let accepted = acceptor.accept(stream).into_fallible().await;
    accepted.map_err(|(error, _)| {
        tracing::debug!(why = reason::sentence(&error), "TLS handshake failed");
        Broken::By(reason::word(&error))
    })
}

const WANTS_TLS: Refusal = Refusal {
    status: 400,
    reason: "plaintext-http",
    text: "this port speaks TLS, and the request came without: write https://",
};

/// Answers a caller that speaks plaintext here. Nothing of its request is read, let alone served.
pub(crate) async fn say_wants_tls(conn: &Conn, mut stream: TcpStream) {
    let (answer, bytes) = refused_bytes(WANTS_TLS);
    access::tell_on(conn, Told::answered(WANTS_TLS, bytes));
    let said = timeout(HANDSHAKE_TIMEOUT, async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        take_off(&mut stream).await
    });
    // The caller may be gone, or not listen; there is nobody else to tell.
    said.await.ok();
}

/// Reads what was sent, within a bound.
async fn take_off(stream: &mut TcpStream) -> io::Result<()> {
    // What it sent is taken off the socket, or closing would reset the connection before it reads the answer.
    let mut rest = [0; 4096];
    for _ in 0..MAX_PLAINTEXT_READS {
        if stream.read(&mut rest).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// How much of a plaintext request is read and thrown away: 64 KiB, as much as a head may have.
const MAX_PLAINTEXT_READS: usize = 16;

fn secured(stream: &TlsStream<TcpStream>, termination: &Arc<Termination>) -> Secured {
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    let server_name = session.server_name().map(str::to_owned);
    Secured {
        protocol: session.alpn_protocol().map(|protocol| match protocol {
            b"h2" => Detected::Http2,
            _ => Detected::Http1,
        }),
        shown: server_name
            .is_some()
            .then(|| termination.certificates.clone()),
        server_name,
        peer: leaf.map(|leaf| PeerIdentity(Names::of(leaf))),
    }
}

/// Counts a handshake under way.
struct UnderWay<'t>(&'t AtomicUsize);

impl<'t> UnderWay<'t> {
    fn begin(termination: &'t Termination) -> Result<Self, ()> {
        let counted = Self(&termination.under_way);
        if termination.under_way.fetch_add(1, Relaxed) >= MAX_HANDSHAKES {
            return Err(());
        }
        Ok(counted)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A listener's certificates by the names that they are for.
#[derive(Debug)]
struct Certificates {
    loaded: Vec<Loaded>,
    /// Indices by name, wildcards under `*.parent`; several when keys are of different kinds.
    by_name: HashMap<String, Vec<usize>>,
}

impl Certificates {
    fn new(loaded: Vec<Loaded>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, pair) in loaded.iter().enumerate() {
            for name in &pair.names.dns {
                by_name.entry(name.clone()).or_default().push(index);
            }
        }
        Self { loaded, by_name }
    }

    /// Those for a server name: exact before wildcard, the first of all when there is none. A caller that
    /// knows its name sees by the certificate that it is wrong here, as with other servers.
    fn candidates(&self, name: Option<&str>) -> &[usize] {
        let Some(name) = name.map(str::to_ascii_lowercase) else {
            return &[0];
        };
        let name = name.trim_end_matches('.');
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        self.by_name
            .get(name)
            .or_else(wildcard)
            .map_or(&[0], Vec::as_slice)
    }

    fn names_for(&self, name: &str) -> &Names {
        &self.loaded[self.candidates(Some(name))[0]].names
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let usable = |index: &&usize| {
            let key = &self.loaded[**index].key.key;
            key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let index = candidates.iter().find(usable).or(candidates.first())?;
        Some(self.loaded[*index].key.clone())
    }
}
