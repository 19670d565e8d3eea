//! Clients over TLS, with a certificate of an authority that they are told to trust.

use crate::Row;
use crate::grpc;
use crate::place::{NAME, direct, without_proxy};
use crate::steps;
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::{Need, clients};
use heddle_e2e::process::succeed;
use heddle_e2e::proxy::{Proxy, Setup};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const ROWS: &[Row] = &[
    Row {
        client: "Go net/http",
        way: "over TLS, HTTP/1.1",
        shows: steps::SHOWS,
        needs: &[Need::Go],
        run: || take_steps("tls-1", "HTTP/1.1"),
    },
    Row {
        client: "Go net/http",
        way: "over TLS, HTTP/2 by ALPN",
        shows: steps::SHOWS,
        needs: &[Need::Go],
        run: || take_steps("tls-2", "HTTP/2.0"),
    },
    Row {
        client: "grpc-go",
        way: "over TLS",
        shows: grpc::CASES,
        needs: &[Need::GrpcGo, Need::Grpcio],
        run: || {
            let mut command = Need::GrpcGo.command();
            command.arg("grpc");
            call(command, "SSL_CERT_FILE");
        },
    },
    Row {
        client: "grpcio",
        way: "over TLS",
        shows: grpc::CASES,
        needs: &[Need::Grpcio],
        run: || {
            let mut command = Need::Grpcio.command();
            command.arg(clients("python").join("grpc_client.py"));
            call(command, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH");
        },
    },
];

/// A proxy that ends TLS for whatever the rows ask for, and whom to trust for that.
struct Secured {
    proxy: Proxy,
    folder: TempDir,
}

impl Secured {
    fn before(backend: SocketAddr) -> Self {
        let folder =
            TempDir::with_prefix("heddle-tls-").expect("the system has a temporary folder");
        let write = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).expect("the folder is ours");
        };
        let key = KeyPair::generate().expect("keys can be made");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Named otherwise than the certificate: BoringSSL takes it for one that signed itself.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        write(
            "ca.pem",
            params.self_signed(&key).expect("a sound authority").pem(),
        );
        let issuer = Issuer::new(params, key);
        let names = ["127.0.0.1", NAME, "nobody"].map(str::to_owned);
        let key = KeyPair::generate().expect("keys can be made");
        let params = CertificateParams::new(names.to_vec()).expect("sound names");
        let certificate = params.signed_by(&key, &issuer).expect("a sound request");
        write("cert.pem", certificate.pem());
        write("key.pem", key.serialize_pem());
        let place = folder.path().display();
        let tls =
            format!("tls: {{certificates: [{{cert: {place}/cert.pem, key: {place}/key.pem}}]}}");
        let setup = Setup::new()
            .listener("outbound", &tls)
            .replicas(NAME, &[backend]);
        Self {
            proxy: Proxy::start(&setup),
            folder,
        }
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

fn take_steps(how: &str, version: &str) {
    if direct() {
        return;
    }
    let echo = Echo::start(NAME);
    let secured = Secured::before(echo.address());
    let mut command = Need::Go.command();
    without_proxy(&mut command);
    command.env("SSL_CERT_FILE", secured.authority());
    let address = secured.proxy.outbound().to_string();
    steps::check(
        &succeed(command.args(["http", how, &address, NAME]), LIMIT),
        version,
    );
    assert_eq!(echo.requests(), 26, "each request arrived once");
}

fn call(mut command: Command, trust: &str) {
    if direct() {
        return;
    }
    let (_server, address) = grpc::serve();
    let secured = Secured::before(address);
    without_proxy(&mut command);
    command.env(trust, secured.authority());
    let target = secured.proxy.outbound().to_string();
    grpc::check_all(&succeed(command.args(["tls", &target, NAME]), LIMIT), false);
}
