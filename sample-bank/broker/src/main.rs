//! `heddle-bank-broker`: one broker of Kafka's protocol on SQLite, for the bank's demo and tests.
//!
//! It listens on loopback only and knows no authentication. What was acknowledged survives a killed process; after a loss
//! of power the last moments may be missing, since SQLite runs with `synchronous=normal` here. Whoever needs more runs
//! Apache Kafka (`sample-bank/kafka/`).

mod groups;

use clap::Parser;
use groups::Groups;
use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tansu_broker::{NODE_ID, broker::Broker, coordinator::group::administrator::Controller};
use tansu_storage::StorageContainer;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use url::Url;

/// Never `memory://`: that storage skips records when a consumer resumes in the midst of a batch.
const STORAGE: &str = "sqlite://broker.db";
/// What the records are kept under.
const CLUSTER: &str = "heddle-bank";
/// How often a starting broker is asked whether it accepts connections.
const POLL: Duration = Duration::from_millis(20);

/// The embedded broker of Heddle's reference bank.
#[derive(Debug, Parser)]
#[command(name = "heddle-bank-broker", version)]
struct Arguments {
    /// Loopback address and port to listen on; port 0 takes a free one. The line `listening on` names it
    #[arg(long, value_name = "127.0.0.1:PORT")]
    listen: SocketAddr,
    /// The folder that keeps the records; made when missing
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    end_on_panic();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("heddle-bank-broker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A panic of the storage leaves a broker that listens and does nothing. It had better end: whoever watches it starts it
/// again, and what was acknowledged is in its file.
fn end_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if !arguments.listen.ip().is_loopback() {
        return Err(format!(
            "{} is not a loopback address. This broker has no authentication: listen on 127.0.0.1",
            arguments.listen
        )
        .into());
    }
    let address = free(arguments.listen)?;
    std::fs::create_dir_all(&arguments.dir)
        .map_err(|e| format!("cannot make the folder {}: {e}", arguments.dir.display()))?;
    // The storage's address is relative to the current folder.
    std::env::set_current_dir(&arguments.dir)
        .map_err(|e| format!("cannot enter {}: {e}", arguments.dir.display()))?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(serve(address))
}

/// The address with its port, a free one for port 0. Bound and let go, so that an address in use is told here.
fn free(address: SocketAddr) -> Result<SocketAddr, String> {
    std::net::TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|e| format!("cannot listen on {address}: {e}"))
}

async fn serve(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = Url::parse(&format!("tcp://{address}"))?;
    let storage = StorageContainer::builder()
        .cluster_id(CLUSTER)
        .node_id(NODE_ID)
        .advertised_listener(listener.clone())
        .schema_registry(None)
        .lake_house(None)
        .storage(Url::parse(STORAGE)?)
        .cancellation(CancellationToken::new())
        .silent(true)
        .build()
        .await?;
    let groups = Groups::new(Controller::with_storage(storage.clone())?);
    let mut broker = Broker::new(
        NODE_ID,
        CLUSTER,
        listener.clone(),
        listener,
        storage,
        groups,
        uuid::Uuid::new_v4(),
    );
    let mut serving = tokio::spawn(async move { broker.serve(tokio::time::Instant::now()).await });
    let ready = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(POLL).await;
        }
        // Whoever started it may not listen any more.
        let _ = writeln!(std::io::stdout(), "listening on {address}");
    };
    tokio::select! {
        ended = &mut serving => return Ok(ended??),
        () = ready => {}
    }
    tokio::select! {
        ended = serving => Ok(ended??),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
