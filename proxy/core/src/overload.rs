//! Pure. How the proxy shares out what the system gives it, before the system says no.
//!
//! Descriptors and memory are lent by the kernel, and running out of them strikes at random: the accept that
//! fails may as well be the connect of a request half done, or the admin server's. So the proxy stops taking
//! new work some way before, in an order of its own choice: new clients first, then new requests.

/// Descriptors that are never lent to traffic: 64 connections of the admin server, DNS, files, logs.
pub const RESERVE: usize = 96;
/// Most descriptors that are kept back from clients for connections to endpoints.
pub const UPSTREAM: usize = 1024;

/// How many sockets traffic may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Sockets to clients and to endpoints together.
    pub traffic: usize,
    /// Beyond so many of both, no further client is accepted: what is left is for the requests of those that are
    /// there.
    pub clients: usize,
}

/// Shares out `limit` descriptors, of which `others` are held by what is no traffic: listening sockets, runtimes,
/// the log. A quarter of what is left, within bounds, is kept for the proxy itself, and of the rest a quarter for
/// endpoints.
///
/// ```
/// use heddle_core::overload::shares;
/// let few = shares(256, 40);
/// assert_eq!((few.traffic, few.clients), (162, 122));
/// let many = shares(524_288, 100);
/// assert_eq!((many.traffic, many.clients), (524_092, 523_068));
/// ```
pub fn shares(limit: usize, others: usize) -> Shares {
    let left = limit.saturating_sub(others);
    let traffic = left - RESERVE.min(left / 4);
    Shares {
        traffic,
        clients: traffic - UPSTREAM.min(traffic / 4),
    }
}

/// How close memory is to its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pressure {
    /// There is enough.
    #[default]
    Low = 0,
    /// From [`HIGH`] on: idle connections are closed early, and stalled ones.
    High = 1,
    /// From [`FULL`] on: new connections and new requests are refused as well.
    Full = 2,
}

impl Pressure {
    /// From its number; what is beyond counts as full.
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Low,
            1 => Self::High,
            _ => Self::Full,
        }
    }
}

/// The percentage of the limit at which memory counts as high.
pub const HIGH: u64 = 80;
/// The percentage of the limit at which it counts as full. Envoy's example begins at 92 and 95; a connection costs
/// us less than its samples of 250 ms are apart, but the limit may be as small as 32 MiB.
pub const FULL: u64 = 88;
/// A level is left so many percent below where it begins, so that it does not flutter.
pub const HYSTERESIS: u64 = 3;

/// The pressure at `resident` of `limit` bytes, after `before`.
///
/// ```
/// use heddle_core::overload::{Pressure, pressure};
/// assert_eq!(pressure(79, 100, Pressure::Low), Pressure::Low);
/// assert_eq!(pressure(81, 100, Pressure::Low), Pressure::High);
/// assert_eq!(pressure(79, 100, Pressure::High), Pressure::High); // not yet
/// assert_eq!(pressure(88, 100, Pressure::High), Pressure::Full);
/// ```
pub fn pressure(resident: u64, limit: u64, before: Pressure) -> Pressure {
    let reached = |percent: u64, level: Pressure| {
        let percent = if before >= level {
            percent - HYSTERESIS
        } else {
            percent
        };
        // In this order, so that nothing overflows below 2^57 bytes.
        u128::from(resident) * 100 >= u128::from(limit) * u128::from(percent)
    };
    if reached(FULL, Pressure::Full) {
        Pressure::Full
    } else if reached(HIGH, Pressure::High) {
        Pressure::High
    } else {
        Pressure::Low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_limit_and_leave_something_for_each() {
        for (limit, others) in [
            (0, 0),
            (10, 40),
            (64, 40),
            (256, 45),
            (1024, 60),
            (20_000, 80),
        ] {
            let Shares { traffic, clients } = shares(limit, others);
            assert!(traffic + others.min(limit) <= limit, "{limit}, {others}");
            assert!(clients <= traffic);
            if limit >= others + 16 {
                assert!(clients > 0 && traffic > clients, "{limit}, {others}");
                assert!(
                    limit - others > traffic,
                    "{limit}: nothing for the admin server"
                );
            }
        }
    }

    #[test]
    fn pressure_rises_at_once_and_falls_late() {
        let mut level = Pressure::Low;
        for (resident, expected) in [
            (0, Pressure::Low),
            (79, Pressure::Low),
            (80, Pressure::High),
            (78, Pressure::High),
            (76, Pressure::Low),
            (95, Pressure::Full),
            (86, Pressure::Full),
            (84, Pressure::High),
            (200, Pressure::Full),
            (10, Pressure::Low),
        ] {
            level = pressure(resident, 100, level);
            assert_eq!(level, expected, "at {resident}");
        }
        assert_eq!(pressure(u64::MAX, u64::MAX, Pressure::Low), Pressure::Full);
    }
}
