//! Errors of the system that say what this host lacks, and nothing of the endpoint.

use rustix::io::Errno;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

/// What is lacking for a connection to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// File descriptors, of the process or of the system.
    Descriptors,
    /// Ports of this host towards this address.
    Ports,
    /// Memory of the kernel.
    Memory,
}

impl Lack {
    /// The label of `heddle_upstream_refused_total`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::Ports => "ports",
            Self::Memory => "memory",
        }
    }

    /// Whether another endpoint may have what this one lacks.
    pub(crate) fn is_of_address(self) -> bool {
        self == Self::Ports
    }

    /// For people.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Descriptors => {
                "this proxy has no file descriptor left for it. Raise the limit (`ulimit -n`, LimitNOFILE=)"
            }
            Self::Ports => {
                "this host has no local port left for it. Widen net.ipv4.ip_local_port_range, or let connections live longer"
            }
            Self::Memory => "the kernel has no memory left for it",
        }
    }
}

/// What `error`, of a socket that was to be connected to `address`, lacks; `None`: it is the endpoint's.
///
/// `EADDRNOTAVAIL` is the lack of a port, but for IPv6: where this host has no address of it that could speak to that one,
/// the error is the same, and an endpoint that can never be reached must be ejected.
pub(crate) fn lack_of(error: &io::Error, address: SocketAddr) -> Option<Lack> {
    sort(error, address, has_source)
}

/// Whether this host has an address of its own from which `address` can be spoken to. Ports of UDP are others than those
/// of TCP, and nothing is sent.
fn has_source(address: SocketAddr) -> bool {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0));
    socket.is_ok_and(|socket| socket.connect(address).is_ok())
}

fn sort(
    error: &io::Error,
    address: SocketAddr,
    has_source: impl Fn(SocketAddr) -> bool,
) -> Option<Lack> {
    match Errno::from_io_error(error)? {
        Errno::MFILE | Errno::NFILE => Some(Lack::Descriptors),
        Errno::ADDRNOTAVAIL if address.is_ipv4() || has_source(address) => Some(Lack::Ports),
        Errno::AGAIN | Errno::ADDRINUSE => Some(Lack::Ports),
        Errno::NOBUFS | Errno::NOMEM => Some(Lack::Memory),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_host_lacks_is_told_from_what_the_endpoint_does() {
        let (four, six) = ("10.0.0.1:80", "[::1]:80");
        for (errno, address, source, expected) in [
            (Errno::MFILE, four, true, Some(Lack::Descriptors)),
            (Errno::NFILE, four, true, Some(Lack::Descriptors)),
            (Errno::ADDRNOTAVAIL, four, false, Some(Lack::Ports)),
            (Errno::ADDRNOTAVAIL, six, true, Some(Lack::Ports)),
            (Errno::ADDRNOTAVAIL, six, false, None),
            (Errno::NOBUFS, six, true, Some(Lack::Memory)),
            (Errno::CONNREFUSED, four, true, None),
            (Errno::HOSTUNREACH, four, true, None),
            (Errno::TIMEDOUT, four, true, None),
        ] {
            let address = address.parse().expect("an address");
            let found = sort(&errno.into(), address, |_| source);
            assert_eq!(found, expected, "{errno:?}");
        }
        assert_eq!(
            lack_of(
                &io::ErrorKind::Other.into(),
                four.parse().expect("an address")
            ),
            None
        );
    }
}
