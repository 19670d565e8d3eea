//! Pure. Figures as a sorted table of a given width.

use super::figures::{Figures, Replica, Service};
use std::cmp::Ordering;

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum View {
    /// A line for each logical name.
    Services,
    /// A line for each endpoint.
    Replicas,
}

/// A column: the word to sort by, its head, its width, and the terminal's width from which on it is shown.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) key: &'static str,
    pub(super) head: &'static str,
    width: usize,
    from: usize,
}

const fn column(key: &'static str, head: &'static str, width: usize, from: usize) -> Column {
    Column {
        key,
        head,
        width,
        from,
    }
}

/// The first takes what the others leave.
const SERVICES: &[Column] = &[
    column("name", "NAME", 0, 0),
    column("rate", "REQ/S", 9, 0),
    column("success", "SUCCESS", 9, 0),
    column("p50", "P50", 8, 70),
    column("p95", "P95", 8, 60),
    column("p99", "P99", 8, 0),
    column("flight", "FLIGHT", 7, 75),
    column("retries", "RETRY/S", 8, 80),
    column("budget", "BUDGET", 8, 96),
    column("requests", "REQUESTS", 11, 108),
];

const REPLICAS: &[Column] = &[
    column("name", "ENDPOINT", 0, 0),
    column("status", "STATUS", 12, 0),
    column("ewma", "EWMA", 9, 0),
    column("rate", "REQ/S", 8, 0),
    column("flight", "FLIGHT", 7, 70),
    column("failures", "FAILURES", 9, 60),
    column("connections", "CONNS", 6, 80),
    column("requests", "REQUESTS", 11, 100),
];

impl View {
    /// Its columns.
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Services => SERVICES,
            Self::Replicas => REPLICAS,
        }
    }

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Services => Self::Replicas,
            Self::Replicas => Self::Services,
        }
    }

    /// The column of that word.
    pub(super) fn column(self, key: &str) -> Option<usize> {
        self.columns().iter().position(|column| column.key == key)
    }
}

/// By which column, and which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) column: usize,
    pub(super) descending: bool,
}

impl Order {
    /// Names from a to z, everything else from the most.
    pub(super) fn by(column: usize) -> Self {
        Self {
            column,
            descending: column > 0,
        }
    }
}

/// How a row looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    /// Something fails.
    Warn,
    /// Out, or failing mostly.
    Bad,
}

struct Cell {
    text: String,
    value: Option<f64>,
}

struct Row {
    cells: Vec<Cell>,
    look: Look,
}

/// The head and the rows as lines of at most `width` characters, sorted.
pub(super) fn lines(
    figures: &Figures,
    view: View,
    order: Order,
    width: usize,
) -> (String, Vec<(String, Look)>) {
    let mut rows: Vec<Row> = match view {
        View::Services => figures.services.iter().map(service).collect(),
        View::Replicas => figures.replicas.iter().map(replica).collect(),
    };
    rows.sort_by(|a, b| compare(a, b, order));
    let columns = view.columns();
    let head = line(columns, width, |index| {
        let mark = match (index == order.column, order.descending) {
            (false, _) => "",
            (true, true) => "v",
            (true, false) => "^",
        };
        format!("{}{mark}", columns[index].head)
    });
    let rows = rows
        .iter()
        .map(|row| {
            let text = line(columns, width, |index| row.cells[index].text.clone());
            (text, row.look)
        })
        .collect();
    (head, rows)
}

fn compare(a: &Row, b: &Row, order: Order) -> Ordering {
    let (x, y) = (&a.cells[order.column], &b.cells[order.column]);
    let by = match (x.value, y.value) {
        (None, None) => x.text.cmp(&y.text),
        (x, y) => x
            .unwrap_or(f64::NEG_INFINITY)
            .total_cmp(&y.unwrap_or(f64::NEG_INFINITY)),
    };
    let by = if order.descending { by.reverse() } else { by };
    by.then_with(|| a.cells[0].text.cmp(&b.cells[0].text))
}

fn line(columns: &[Column], width: usize, text: impl Fn(usize) -> String) -> String {
    let shown = |column: &Column| column.width > 0 && column.from <= width;
    let taken: usize = columns
        .iter()
        .filter(|column| shown(column))
        .map(|column| column.width)
        .sum();
    let first = width.saturating_sub(taken).max(8);
    let name = text(0);
    let name = match name.strip_prefix("/svc/") {
        Some(_) => both_ends(&name, first),
        None => end(&name, first),
    };
    let mut line = format!("{name:first$}");
    for (index, column) in columns.iter().enumerate().filter(|(_, c)| shown(c)) {
        let width = column.width;
        let cell = text(index);
        line.push_str(&format!("{:>width$}", end(&cell, width - 1)));
    }
    line.trim_end().chars().take(width).collect()
}

/// Two thirds of `width` characters from the front, and the rest from the end: services differ in their first label
/// mostly, which is the service's own, and rarely in the domain behind it.
fn both_ends(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let front = width * 2 / 3;
    let back = width.saturating_sub(front + 1);
    let (first, last) = (text.chars().take(front), text.chars().skip(length - back));
    first.chain(std::iter::once('…')).chain(last).collect()
}

/// The last `width` characters, which tell replicas apart better than the first.
fn end(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = text.chars().skip(length - width.saturating_sub(1));
    std::iter::once('…').chain(kept).collect()
}

fn service(service: &Service) -> Row {
    let [p50, p95, p99] = service.percentiles.map(time);
    let look = match service.success {
        Some(share) if share < 0.9 => Look::Bad,
        Some(share) if share < 1.0 => Look::Warn,
        _ => Look::Plain,
    };
    let name = match service.listener.as_str() {
        "outbound" => service.name.clone(),
        listener => format!("{} @{listener}", service.name),
    };
    Row {
        cells: vec![
            words(name),
            rate(service.rate),
            Cell {
                text: service.success.map_or_else(none, percent),
                value: service.success,
            },
            p50,
            p95,
            p99,
            whole(service.in_flight),
            rate(service.retry_rate),
            whole(service.budget),
            whole(service.requests),
        ],
        look,
    }
}

fn replica(replica: &Replica) -> Row {
    let set = replica.set.strip_prefix("/#/").unwrap_or(&replica.set);
    let look = match replica.status.as_str() {
        "open" => Look::Plain,
        "ejected" => Look::Bad,
        _ => Look::Warn,
    };
    let status = match replica.ejected_seconds {
        Some(left) => format!("ejected {left:.0}s"),
        None => replica.status.clone(),
    };
    Row {
        cells: vec![
            words(format!("{set} {}", replica.address)),
            words(status),
            time(replica.ewma_seconds),
            rate(replica.rate),
            whole(replica.in_flight),
            whole(replica.failures),
            whole(replica.connections),
            whole(replica.requests),
        ],
        look,
    }
}

fn none() -> String {
    "-".to_owned()
}

fn words(text: String) -> Cell {
    Cell { text, value: None }
}

fn whole(count: u64) -> Cell {
    Cell {
        text: count.to_string(),
        value: Some(count as f64),
    }
}

fn rate(value: Option<f64>) -> Cell {
    let text = value.map_or_else(none, |value| {
        if value >= 100.0 {
            format!("{value:.0}")
        } else {
            format!("{value:.1}")
        }
    });
    Cell { text, value }
}

fn time(value: Option<f64>) -> Cell {
    let text = value.map_or_else(none, |seconds| match seconds * 1e3 {
        ms if ms >= 10_000.0 => format!("{seconds:.1}s"),
        ms if ms >= 100.0 => format!("{ms:.0}ms"),
        ms if ms >= 1.0 => format!("{ms:.1}ms"),
        ms => format!("{ms:.2}ms"),
    });
    Cell { text, value }
}

/// Never rounded up to a whole: one failure in a million is not 100 %.
fn percent(share: f64) -> String {
    if share >= 1.0 {
        return "100%".to_owned();
    }
    format!("{:.2}%", (share * 10_000.0).floor() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let service = |name: &str, rate, success| Service {
            name: name.to_owned(),
            listener: "outbound".to_owned(),
            rate,
            success,
            percentiles: [Some(0.0004), Some(0.0123), Some(12.5)],
            in_flight: 3,
            retry_rate: Some(0.25),
            budget: 100,
            requests: 12_345_678,
        };
        Figures {
            services: vec![
                service("/svc/b", Some(20.0), Some(0.999_999)),
                service("/svc/a", Some(1234.5), Some(1.0)),
                service(&format!("/svc/{}", "long".repeat(30)), None, None),
            ],
            replicas: vec![Replica {
                set: "/#/static/accounts".to_owned(),
                address: "127.0.0.1:9001".to_owned(),
                status: "ejected".to_owned(),
                ejected_seconds: Some(11.6),
                ewma_seconds: Some(0.25),
                in_flight: 0,
                rate: Some(0.5),
                failures: 7,
                connections: 1,
                requests: 100,
            }],
            ..Figures::default()
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for view in [View::Services, View::Replicas] {
            for width in [20, 40, 60, 80, 100, 200] {
                let (head, rows) = lines(&figures(), view, Order::by(0), width);
                for line in rows.iter().map(|(line, _)| line).chain([&head]) {
                    assert!(line.chars().count() <= width, "{width}: {line}");
                }
            }
        }
    }

    #[test]
    fn eighty_columns_hold_what_matters() {
        let (head, rows) = lines(&figures(), View::Services, Order::by(1), 80);
        for word in [
            "NAME", "REQ/Sv", "SUCCESS", "P50", "P95", "P99", "FLIGHT", "RETRY/S",
        ] {
            assert!(head.contains(word), "{head}");
        }
        let names: Vec<_> = rows.iter().map(|(line, _)| &line[..6]).collect();
        assert_eq!(names[..2], ["/svc/a", "/svc/b"], "the busiest first");
        assert!(rows[1].0.contains("99.99%"), "{}", rows[1].0);
        assert!(rows[0].0.contains("12.3ms"), "{}", rows[0].0);
        assert_eq!(rows[1].1, Look::Warn);
        let (head, rows) = lines(&figures(), View::Replicas, Order::by(0), 80);
        assert!(head.contains("CONNS"), "{head}");
        let endpoint = "accounts 127.0.0.1:9001 ejected 12s";
        assert!(rows[0].0.contains(endpoint), "{}", rows[0].0);
        assert!(rows[0].0.contains("ejected 12s"), "{}", rows[0].0);
    }

    #[test]
    fn long_names_stay_apart() {
        let name = "/svc/accounts-of-all-customers.payments.svc.cluster.local";
        assert_eq!(both_ends(name, 23), "/svc/accounts-o…r.local");
        assert_eq!(both_ends("/svc/a", 23), "/svc/a");
        for width in 1..30 {
            assert_eq!(both_ends(name, width).chars().count(), width);
        }
        assert_eq!(end("accounts 127.0.0.1:9001", 10), "….0.1:9001");
    }

    #[test]
    fn every_column_sorts_both_ways() {
        for column in 0..SERVICES.len() {
            let order = Order::by(column);
            let down = lines(&figures(), View::Services, order, 80).1;
            assert_eq!(down.len(), 3);
        }
        let up = Order {
            column: 1,
            descending: false,
        };
        let rows = lines(&figures(), View::Services, up, 80).1;
        assert!(rows[1].0.starts_with("/svc/b") && rows[2].0.starts_with("/svc/a"));
    }
}
