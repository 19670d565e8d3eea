//! A proxy in front of a service that follows a script.

use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Guest, Scripted, eventually};
use heddle_e2e::wire::{Message, Wire};

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nhost: bad\r\n\r\n";

pub(crate) struct Place {
    pub(crate) server: Scripted,
    pub(crate) proxy: Proxy,
}

impl Place {
    /// Its service speaks `protocol`, is asked once and never ejected, so that each case is tried.
    pub(crate) fn new(protocol: &str, script: impl Fn(Guest) + Send + Sync + 'static) -> Self {
        let server = Scripted::start(script);
        let route = "{service: bad, accrual: {consecutiveFailures: off, successRate: off}, retries: {max: 0}, \
                     rules: [{to: bad}]}";
        let proxy = Proxy::start(
            &Setup::new()
                .replicas_speaking("bad", &[server.address()], protocol)
                .document("Route", "bad", route),
        );
        Self { server, proxy }
    }

    /// Answers each connection's only request with these bytes, and closes.
    pub(crate) fn saying(cases: Vec<Vec<u8>>) -> Self {
        Self::new("http1", move |mut guest| {
            if guest.request_head().is_some() {
                let answer = &cases[guest.number % cases.len()];
                guest.wire.try_send(answer);
                guest.wire.finish();
                guest.wire.read_to_end();
            }
        })
    }

    /// One request on a connection of its own, and its answer.
    pub(crate) fn ask(&self, request: &str) -> Message {
        self.ask_for_all(request).1
    }

    /// The statuses of interim answers to a request, and its answer.
    pub(crate) fn ask_for_all(&self, request: &str) -> (Vec<u16>, Message) {
        let mut wire = Wire::connect(self.proxy.outbound());
        wire.send(request);
        let mut interim = Vec::new();
        loop {
            let message = wire.read_message(request.split(' ').next().unwrap_or("GET"));
            if !(100..200).contains(&message.status()) {
                return (interim, message);
            }
            interim.push(message.status());
        }
    }

    /// Waits until a request finds so many connections behind it and none open.
    pub(crate) fn end_connections(&self, number: usize) {
        eventually("the connection before is closed", || {
            let metrics = self.proxy.ask_admin("/metrics");
            let text = String::from_utf8_lossy(&metrics.body).into_owned();
            let open = text
                .lines()
                .find(|line| line.starts_with("heddle_upstream_connections_open{"));
            number == 0 || open.is_some_and(|line| line.ends_with(" 0"))
        });
        assert_eq!(self.server.connections(), number);
    }

    /// How many answers were refused for this reason.
    pub(crate) fn malformed(&self, reason: &str) -> u64 {
        let metrics = self.proxy.ask_admin("/metrics");
        let label = format!("reason=\"{reason}\"");
        String::from_utf8_lossy(&metrics.body)
            .lines()
            .filter(|line| {
                line.starts_with("heddle_upstream_malformed_total{") && line.contains(&label)
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}

/// Whether an answer is the proxy's own: 502, since the service broke the protocol.
pub(crate) fn is_refused(answer: &Message) -> bool {
    let why = answer.head.get("heddle-err").unwrap_or_default();
    answer.status() == 502 && why.starts_with("protocol;")
}
