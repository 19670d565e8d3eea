//! A minimal proxy on pingora: one thread, upstreams taken in turn, nothing else.
//!
//! `pingora-contender HTTP1 UPSTREAM,… HTTP2 UPSTREAM,…` forwards HTTP/1.1 from the first address and
//! h2c from the second, each in its own protocol.

use async_trait::async_trait;
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

struct InTurn {
    upstreams: Vec<SocketAddr>,
    next: AtomicUsize,
    http2: bool,
}

#[async_trait]
impl ProxyHttp for InTurn {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        (): &mut (),
    ) -> pingora_core::Result<Box<HttpPeer>> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.upstreams.len();
        let mut peer = HttpPeer::new(self.upstreams[next], false, String::new());
        if self.http2 {
            peer.options.set_http_version(2, 2);
        }
        Ok(Box::new(peer))
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--version"] {
        println!("pingora-proxy 0.8, one thread");
        return;
    }
    let [http1, http1_upstreams, http2, http2_upstreams] = arguments.as_slice() else {
        eprintln!("usage: pingora-contender HTTP1 UPSTREAM,... HTTP2 UPSTREAM,...");
        std::process::exit(2);
    };
    let conf = ServerConf {
        threads: 1,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    for (listen, upstreams, is_http2) in
        [(http1, http1_upstreams, false), (http2, http2_upstreams, true)]
    {
        let upstreams = upstreams
            .split(',')
            .map(|address| address.parse().expect("addresses are IP:PORT"))
            .collect();
        let logic = InTurn {
            upstreams,
            next: AtomicUsize::new(0),
            http2: is_http2,
        };
        let mut service = http_proxy_service(&server.configuration, logic);
        if is_http2 && let Some(app) = service.app_logic_mut() {
            let mut options = HttpServerOptions::default();
            options.h2c = true;
            app.server_options = Some(options);
        }
        service.add_tcp(listen);
        server.add_service(service);
    }
    server.run_forever();
}
