//! A DNS server on loopback that does as it is told, for tests.

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::SOA;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

/// What the server does with one question.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Answers with these records, all of this TTL.
    Records(Vec<RData>, u32),
    /// The name does not exist; with this negative TTL if any.
    NxDomain(Option<u32>),
    /// The name exists without such records.
    Empty,
    ServFail,
    Refused,
    /// Says nothing.
    Silence,
    /// Sends bytes that are no message.
    Garbage,
    /// Cut short over UDP, whole over TCP.
    Large(Vec<RData>),
}

/// What the server knows.
#[derive(Clone, Default)]
pub(crate) struct Zone {
    replies: Arc<Mutex<HashMap<(String, RecordType), Reply>>>,
    questions: Arc<AtomicUsize>,
}

impl Zone {
    /// What to do from now on; what is never set is an existing name without records.
    pub(crate) fn set(&self, name: &str, kind: RecordType, reply: Reply) {
        self.replies
            .lock()
            .unwrap()
            .insert((format!("{name}."), kind), reply);
    }

    /// How many questions came.
    pub(crate) fn questions(&self) -> usize {
        self.questions.load(Ordering::Relaxed)
    }

    /// The bytes of the answer; `None` for silence.
    fn answer(&self, bytes: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let request = Message::from_vec(bytes).ok()?;
        let query = request.queries.first()?.clone();
        self.questions.fetch_add(1, Ordering::Relaxed);
        let key = (
            query.name().to_ascii().to_ascii_lowercase(),
            query.query_type(),
        );
        let reply = self
            .replies
            .lock()
            .unwrap()
            .get(&key)
            .cloned()
            .unwrap_or(Reply::Empty);
        let mut message = Message::response(request.metadata.id, request.metadata.op_code);
        message.metadata.recursion_desired = true;
        message.metadata.recursion_available = true;
        let name = query.name().clone();
        message.add_query(query);
        let record = |data: RData, ttl| Record::from_rdata(name.clone(), ttl, data);
        match reply {
            Reply::Records(data, ttl) => {
                message.add_answers(data.into_iter().map(|data| record(data, ttl)));
            }
            Reply::NxDomain(ttl) => {
                message.metadata.response_code = ResponseCode::NXDomain;
                if let Some(ttl) = ttl {
                    let soa = SOA::new(Name::root(), Name::root(), 1, 60, 60, 60, ttl);
                    message.add_authority(record(RData::SOA(soa), ttl));
                }
            }
            Reply::Empty => {}
            Reply::ServFail => message.metadata.response_code = ResponseCode::ServFail,
            Reply::Refused => message.metadata.response_code = ResponseCode::Refused,
            Reply::Silence => return None,
            Reply::Garbage => return Some(vec![0xff; 7]),
            Reply::Large(data) if tcp => {
                message.add_answers(data.into_iter().map(|data| record(data, 60)));
            }
            Reply::Large(_) => message.metadata.truncation = true,
        }
        Some(message.to_vec().unwrap())
    }
}

/// A server of `zone` over UDP and TCP on one port; it ends with the test's runtime.
pub(crate) async fn serve(zone: &Zone) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let over_udp = zone.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer).await {
            if let Some(answer) = over_udp.answer(&buffer[..length], false) {
                udp.send_to(&answer, peer).await.unwrap();
            }
        }
    });
    let over_tcp = zone.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let zone = over_tcp.clone();
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut bytes = vec![0; usize::from(length)];
                    stream.read_exact(&mut bytes).await.unwrap();
                    let Some(answer) = zone.answer(&bytes, true) else {
                        return;
                    };
                    let mut framed = u16::try_from(answer.len()).unwrap().to_be_bytes().to_vec();
                    framed.extend(answer);
                    stream.write_all(&framed).await.unwrap();
                }
            });
        }
    });
    address
}
