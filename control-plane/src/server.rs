//! xDS over gRPC: a stream for each client, with a [`Session`] that decides.
//!
//! A stream takes the newest snapshot when it is ready for one, so whatever happened while a slow client did not read is
//! never queued: at most one answer waits to be written.

use crate::clients::{Client, Clients, Seat, cut, refusals};
use crate::metrics::{self, Metrics};
use crate::session::{Abuse, Flavor, Response, Session};
use crate::snapshot::{Kind, Snapshot};
use heddle_core::Nanos;
use heddle_core::random::mix64;
use heddle_xds::core::Node;
use heddle_xds::discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use heddle_xds::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use heddle_xds::tonic::transport::Server;
use heddle_xds::tonic::transport::server::TcpIncoming;
use heddle_xds::tonic::{self, Request, Status, Streaming};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// A stream is ended after this, so that clients spread over replicas again; a share of it more or less, so that they
/// do not come back together.
const AGE: Duration = Duration::from_secs(30 * 60);
/// That share: one in so many.
const AGE_SPREAD: u64 = 10;
/// A client that does not answer pings is gone.
const PING: Duration = Duration::from_secs(30);
/// Within this.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What all streams share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) metrics: Metrics,
    pub(crate) epoch: Instant,
}

impl Shared {
    pub(crate) fn now(&self) -> Nanos {
        Nanos::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }
}

/// Serves until `stop`.
///
/// # Errors
/// When the transport fails as a whole.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .add_service(AggregatedDiscoveryServiceServer::new(Ads(shared)))
        .serve_with_incoming_shutdown(incoming, stop)
        .await
}

#[derive(Debug)]
struct Ads(Arc<Shared>);

type Answers<T> = Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.open::<World>(request)
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.open::<Delta>(request)
    }
}

/// The two ways of the protocol.
trait Way {
    const FLAVOR: Flavor;
    type Asked: Send + 'static;
    type Answer: Send + 'static;
    fn take(session: &mut Session, asked: Self::Asked, now: Nanos) -> Result<(), Abuse>;
    fn node(asked: &Self::Asked) -> Option<&Node>;
    fn answer(response: Response) -> Option<(String, Self::Answer)>;
}

struct World;

impl Way for World {
    const FLAVOR: Flavor = Flavor::World;
    type Asked = DiscoveryRequest;
    type Answer = DiscoveryResponse;

    fn take(session: &mut Session, asked: DiscoveryRequest, now: Nanos) -> Result<(), Abuse> {
        session.world(asked, now)
    }

    fn node(asked: &DiscoveryRequest) -> Option<&Node> {
        asked.node.as_ref()
    }

    fn answer(response: Response) -> Option<(String, DiscoveryResponse)> {
        match response {
            Response::World(answer) => Some((answer.type_url.clone(), answer)),
            Response::Delta(_) => None,
        }
    }
}

struct Delta;

impl Way for Delta {
    const FLAVOR: Flavor = Flavor::Delta;
    type Asked = DeltaDiscoveryRequest;
    type Answer = DeltaDiscoveryResponse;

    fn take(session: &mut Session, asked: DeltaDiscoveryRequest, now: Nanos) -> Result<(), Abuse> {
        session.delta(asked, now)
    }

    fn node(asked: &DeltaDiscoveryRequest) -> Option<&Node> {
        asked.node.as_ref()
    }

    fn answer(response: Response) -> Option<(String, DeltaDiscoveryResponse)> {
        match response {
            Response::Delta(answer) => Some((answer.type_url.clone(), answer)),
            Response::World(_) => None,
        }
    }
}

impl Ads {
    fn open<W: Way + 'static>(
        &self,
        request: Request<Streaming<W::Asked>>,
    ) -> Result<tonic::Response<Answers<W::Answer>>, Status> {
        let peer = request
            .remote_addr()
            .map_or_else(|| "?".to_owned(), |peer| peer.to_string());
        let client = Client {
            id: String::new(),
            agent: String::new(),
            peer,
            flavor: W::FLAVOR,
            since: Instant::now(),
            synced: false,
            standing: Vec::new(),
        };
        let Some(seat) = self.0.clients.seat(client) else {
            self.0.metrics.turned_away.inc();
            return Err(Status::resource_exhausted(
                "this control plane serves as many clients as it may; ask another replica",
            ));
        };
        let (answers, mut written) = mpsc::channel(1);
        let stream = Stream::<W> {
            shared: Arc::clone(&self.0),
            seat,
            asked: request.into_inner(),
            answers,
        };
        tokio::spawn(stream.run());
        let written = futures_util::stream::poll_fn(move |context| written.poll_recv(context));
        Ok(tonic::Response::new(Box::pin(written)))
    }
}

/// One client's stream.
struct Stream<W: Way> {
    shared: Arc<Shared>,
    seat: Seat,
    asked: Streaming<W::Asked>,
    answers: mpsc::Sender<Result<W::Answer, Status>>,
}

impl<W: Way> Stream<W> {
    async fn run(mut self) {
        let open = self
            .shared
            .metrics
            .clients
            .with_label_values(&[metrics::flavor(W::FLAVOR)]);
        open.inc();
        self.talk().await;
        open.dec();
    }

    /// Until either side has had enough.
    async fn talk(&mut self) {
        let mut snapshots = self.shared.snapshots.subscribe();
        let mut session = Session::new(W::FLAVOR);
        let age = tokio::time::sleep(self.age());
        tokio::pin!(age);
        loop {
            let snapshot = snapshots.borrow_and_update().clone();
            while let Some(response) = session.next(&snapshot, self.shared.now()) {
                let Some((url, answer)) = W::answer(response) else {
                    return;
                };
                if let Some(kind) = Kind::of_url(&url) {
                    metrics::of_kind(&self.shared.metrics.responses, kind).inc();
                }
                if self.answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
            self.show(&session, &snapshot);
            let wake = session
                .wake()
                .map(|at| self.shared.epoch + Duration::from_nanos(at));
            tokio::select! {
                asked = self.asked.message() => match asked {
                    Ok(Some(asked)) => {
                        if let Err(Abuse(why)) = self.take(&mut session, asked) {
                            self.shared.metrics.turned_away.inc();
                            self.answers.send(Err(Status::resource_exhausted(why))).await.ok();
                            return;
                        }
                    }
                    Ok(None) | Err(_) => return,
                },
                changed = snapshots.changed() => if changed.is_err() { return },
                () = at(wake) => {}
                () = self.answers.closed() => return,
                () = &mut age => return,
            }
        }
    }

    fn take(&self, session: &mut Session, asked: W::Asked) -> Result<(), Abuse> {
        if let Some(node) = W::node(&asked) {
            self.seat.update(|client| {
                client.id = cut(&node.id);
                client.agent = cut(&node.user_agent_name);
            });
        }
        W::take(session, asked, self.shared.now())
    }

    /// Shows how things stand, and tells of refusals that are new.
    fn show(&self, session: &Session, snapshot: &Snapshot) {
        let (standing, synced) = (session.standing(), session.is_synced(snapshot));
        self.seat.update(|client| {
            for (kind, why) in refusals(&client.standing, &standing) {
                metrics::of_kind(&self.shared.metrics.refusals, kind).inc();
                tracing::warn!(
                    client = client.id,
                    peer = client.peer,
                    kind = kind.label(),
                    why,
                    "a client refused what it was sent"
                );
            }
            client.standing = standing;
            client.synced = synced;
        });
    }

    fn age(&self) -> Duration {
        let spread = AGE.as_nanos() as u64 / AGE_SPREAD;
        let offset = mix64(self.shared.now()) % (2 * spread);
        AGE - Duration::from_nanos(spread) + Duration::from_nanos(offset)
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
