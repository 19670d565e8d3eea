//! Free ports on loopback.

use crate::{Failure, say};
use std::net::{Ipv4Addr, TcpListener};

/// Ports of replicas are taken from here on, below those that systems give to outgoing connections (Linux: from 32768):
/// a replica that starts again must find its port free.
const FIRST: u16 = 20_000;
const SPAN: u16 = 12_000;

/// Gives out each port once.
#[derive(Debug)]
pub(super) struct Ports {
    next: u16,
    given: Vec<u16>,
}

impl Ports {
    /// Begins at a place of this process's own, so that two banks rarely meet.
    pub(super) fn new() -> Self {
        let place = std::process::id() % u32::from(SPAN / 100);
        Self {
            next: FIRST + u16::try_from(place).unwrap_or(0) * 100,
            given: Vec::new(),
        }
    }

    /// A free port.
    ///
    /// # Errors
    ///
    /// None is left.
    pub(super) fn any(&mut self) -> Result<u16, Failure> {
        for _ in 0..SPAN {
            let port = self.next;
            self.next = if self.next + 1 >= FIRST + SPAN {
                FIRST
            } else {
                self.next + 1
            };
            if self.take(port) {
                return Ok(port);
            }
        }
        Err(Failure::new(format!(
            "no free port on 127.0.0.1 from {FIRST} to {}",
            FIRST + SPAN
        )))
    }

    /// The wanted port, or another, which is told; 0 stands for any.
    ///
    /// # Errors
    ///
    /// None is left.
    pub(super) fn wanted(&mut self, port: u16, what: &str) -> Result<u16, Failure> {
        if port == 0 {
            return self.any();
        }
        if self.take(port) {
            return Ok(port);
        }
        let other = self.any()?;
        say(format_args!("port {port} is in use: {what} takes {other}"));
        Ok(other)
    }

    fn take(&mut self, port: u16) -> bool {
        let free =
            !self.given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free {
            self.given.push(port);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_port_is_one_that_can_be_called() {
        let mut ports = Ports::new();
        let given: Vec<u16> = (0..3).map(|_| ports.wanted(0, "a test").unwrap()).collect();
        for (index, port) in given.iter().enumerate() {
            assert!(*port >= FIRST, "{given:?}");
            assert!(!given[..index].contains(port), "{given:?}");
        }
    }

    #[test]
    fn a_port_in_use_is_replaced() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(Ports::new().wanted(port, "a test").unwrap(), port);
    }
}
