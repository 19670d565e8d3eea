//! Starting the proxy on ports that are free.

use super::Args;
use heddle_core::spec::beside::Beside;
use heddle_proxy::process::{Hold, Options, Proxy};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Where requests for the program are accepted unless told otherwise: linkerd's port.
const INBOUND: u16 = 4143;
/// Where its own calls are.
const OUTBOUND: u16 = 4140;
/// Where the admin server is.
const ADMIN: u16 = 9990;
/// Starts in which another process takes a port between the choice and the bind.
const TRIES: usize = 5;

/// What is known of where the program listens.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// It answers on `::1`, and not on 127.0.0.1.
    pub(super) on_ipv6: AtomicBool,
    /// The listener in front of it is ours to change, and none of the file's.
    pub(super) ours: AtomicBool,
}

/// Starts the proxy. Without a file, a default port that is taken gives way to a free one.
pub(super) async fn start(
    args: &Args,
    hold: &Arc<Hold>,
    found: &Arc<Found>,
) -> Result<Proxy, String> {
    if let Some(folder) = &args.announce {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    }
    let mut last = String::new();
    for _ in 0..TRIES {
        let options = options(args, hold, found.clone());
        match Proxy::start(&options).await {
            Ok(proxy) => return Ok(proxy),
            Err(why) if args.config.is_none() && why.contains("in use") => last = why,
            Err(why) => return Err(why),
        }
    }
    Err(last)
}

fn options(args: &Args, hold: &Arc<Hold>, found: Arc<Found>) -> Options {
    let without_file = |port| args.config.is_none().then(|| free_or(port));
    let beside = Beside {
        service: args.port.map(|port| {
            (
                args.service.clone().unwrap_or_else(|| "inbound".to_owned()),
                port,
            )
        }),
        inbound: Some(args.listen.unwrap_or_else(|| free_or(INBOUND))),
        on_ipv6: false,
        admin: without_file(ADMIN),
        outbound: without_file(OUTBOUND),
        files: args.announce.clone(),
    };
    Options {
        config: args.config.clone(),
        workers: args.workers.map(usize::from),
        adapt: Some(Arc::new(move |config| {
            found.ours.store(beside.adds_inbound(&config), Relaxed);
            let on_ipv6 = found.on_ipv6.load(Relaxed);
            let beside = beside.clone();
            Beside { on_ipv6, ..beside }.add_to(config)
        })),
        hold: Some(hold.clone()),
    }
}

/// The port on loopback, or port 0 (any) when another process has it.
fn free_or(port: u16) -> SocketAddr {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        }
        // Any other reason is told when the proxy binds it.
        _ => address,
    }
}
