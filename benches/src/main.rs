//! `heddle-bench`: the parts of a benchmark that run as processes of their own.

use clap::{Parser, Subcommand};
use heddle_bench::load::{Load, Pace, Protocol, Stop, Tally, Template};
use heddle_bench::{backend, forwarder, load, runtime};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Parts of a benchmark.
#[derive(Debug, Parser)]
#[command(name = "heddle-bench")]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// A server with a fixed answer, on one thread.
    Backend {
        /// Listens here for HTTP/1.1; may be repeated.
        #[arg(long)]
        http1: Vec<SocketAddr>,
        /// Listens here for HTTP/2 with prior knowledge; may be repeated.
        #[arg(long)]
        http2: Vec<SocketAddr>,
        /// Bytes of the answer's body.
        #[arg(long, default_value_t = 128)]
        body: usize,
    },
    /// A proxy with nothing in it, on one thread.
    Forwarder {
        /// Forwards HTTP/1.1 from here.
        #[arg(long)]
        http1: Option<SocketAddr>,
        /// To these, in turn.
        #[arg(long, requires = "http1")]
        http1_upstream: Vec<SocketAddr>,
        /// Forwards HTTP/2 from here.
        #[arg(long)]
        http2: Option<SocketAddr>,
        /// To these, in turn.
        #[arg(long, requires = "http2")]
        http2_upstream: Vec<SocketAddr>,
    },
    /// Sends load and prints what came back.
    Load {
        /// Where to.
        target: SocketAddr,
        /// The authority of the requests.
        #[arg(long, default_value = "backend")]
        host: String,
        /// The path of the requests.
        #[arg(long, default_value = "/")]
        path: String,
        /// Speaks HTTP/2 with prior knowledge.
        #[arg(long)]
        http2: bool,
        /// Connections.
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Requests in flight per connection (HTTP/2).
        #[arg(long, default_value_t = 1)]
        streams: usize,
        /// Requests per second (open loop); without it each connection sends when it was answered (closed loop).
        #[arg(long)]
        rate: Option<f64>,
        /// Share of the gap between two requests by which each may start later.
        #[arg(long, default_value_t = 0.0)]
        jitter: f64,
        /// For how long.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().part {
        Part::Backend { http1, http2, body } => serve_backend(&http1, &http2, body),
        Part::Forwarder {
            http1,
            http1_upstream,
            http2,
            http2_upstream,
        } => forward(&[
            (Protocol::Http1, http1, http1_upstream),
            (Protocol::Http2, http2, http2_upstream),
        ]),
        Part::Load {
            target,
            host,
            path,
            http2,
            connections,
            streams,
            rate,
            jitter,
            seconds,
        } => {
            let protocol = if http2 {
                Protocol::Http2
            } else {
                Protocol::Http1
            };
            let load = Load {
                connections,
                streams,
                answered_by: Some(backend::ANSWERED_BY),
                ..Load::new(target, protocol)
            };
            let duration = Duration::from_secs_f64(seconds);
            let pace = match rate {
                Some(rate) => Pace::Open {
                    rate,
                    jitter,
                    duration: Some(duration),
                    stop: Stop::default(),
                },
                None => Pace::Closed { duration },
            };
            send(&load, pace, &Template::get(&host, &path))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("heddle-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_backend(http1: &[SocketAddr], http2: &[SocketAddr], body: usize) -> std::io::Result<()> {
    let body = bytes::Bytes::from(vec![b'x'; body]);
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime()?, async {
        let mut servers = tokio::task::JoinSet::new();
        for (protocol, addresses) in [(Protocol::Http1, http1), (Protocol::Http2, http2)] {
            for address in addresses {
                let listener = TcpListener::bind(address).await?;
                servers.spawn_local(backend::serve(listener, protocol, body.clone()));
            }
        }
        first_end(servers).await
    })
}

fn forward(parts: &[(Protocol, Option<SocketAddr>, Vec<SocketAddr>)]) -> std::io::Result<()> {
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime()?, async {
        let mut servers = tokio::task::JoinSet::new();
        for (protocol, listen, upstreams) in parts {
            let Some(address) = listen else { continue };
            if upstreams.is_empty() {
                return Err(std::io::Error::other(
                    "nothing to forward to: give the upstream addresses",
                ));
            }
            let (listener, protocol, upstreams) = (
                TcpListener::bind(address).await?,
                *protocol,
                upstreams.clone(),
            );
            servers
                .spawn_local(async move { forwarder::serve(listener, protocol, &upstreams).await });
        }
        first_end(servers).await
    })
}

async fn first_end(mut servers: tokio::task::JoinSet<std::io::Result<()>>) -> std::io::Result<()> {
    match servers.join_next().await {
        Some(Ok(ended)) => ended,
        Some(Err(error)) => Err(std::io::Error::other(error)),
        None => Err(std::io::Error::other(
            "nothing to listen on: give an address",
        )),
    }
}

fn send(load: &Load, pace: Pace, template: &Template) -> std::io::Result<()> {
    let mut tally = Tally::default();
    let template = template.clone();
    let summary = load::run(
        load,
        pace,
        move |_| template.clone(),
        |sample| tally.record(sample),
    )?;
    println!(
        "{} requests, {:.0} a second, {} failed; p50 {:?}, p90 {:?}, p99 {:?}, p99.9 {:?}; {} connects",
        tally.requests(),
        summary.rate(),
        tally.failed(),
        tally.quantile(0.5),
        tally.quantile(0.9),
        tally.quantile(0.99),
        tally.quantile(0.999),
        summary.connects,
    );
    println!(
        "outcomes {:?}, answered by {:?}",
        tally.outcomes, tally.answered
    );
    if !summary.kept_rate() {
        println!(
            "the generator did not keep its rate: {} sent late, {} not sent",
            summary.delayed, summary.unsent
        );
    }
    Ok(())
}
