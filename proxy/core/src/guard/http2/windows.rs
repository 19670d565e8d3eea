//! Streams whose caller does not read: windows that stay shut (RFC 9113 section 6.9).
//!
//! A server may send as much as its caller has room for, on a stream and on the connection. A caller that opens no
//! room keeps what is to be sent in memory for as long as it likes (CVE-2019-9517, CVE-2026-47774), so the time of
//! that is bounded. A window that is open says nothing: then it is the proxy, or the service, that has nothing to
//! send.

use crate::Nanos;

/// The window of a stream and of a connection at the beginning (RFC 9113 section 6.5.2).
const INITIAL: i64 = 65_535;
/// Room that a caller must give, once it has given none, before its time begins anew: otherwise a byte in a
/// while would keep a stream for ever.
const PROOF: u32 = 1024;

/// Room for what is sent.
#[derive(Debug, Clone, Copy)]
struct Window {
    left: i64,
    /// Since when there is none; 0: there is some.
    shut: Nanos,
    /// Room given since then.
    given: u32,
}

impl Window {
    fn new(left: i64, now: Nanos) -> Self {
        let mut window = Self {
            left,
            shut: 0,
            given: 0,
        };
        window.take(0, now);
        window
    }

    /// Whether that shuts it.
    fn take(&mut self, bytes: usize, now: Nanos) -> bool {
        self.left -= i64::try_from(bytes).unwrap_or(i64::MAX);
        let shuts = self.left <= 0 && self.shut == 0;
        if shuts {
            self.shut = now.max(1);
            self.given = 0;
        }
        shuts
    }

    fn give(&mut self, bytes: u32) {
        self.left += i64::from(bytes);
        if self.shut == 0 {
            return;
        }
        self.given = self.given.saturating_add(bytes);
        if self.left > 0 && self.given >= PROOF {
            self.shut = 0;
        }
    }

    fn is_shut_since(&self, before: Nanos) -> bool {
        self.left <= 0 && self.shut != 0 && self.shut <= before
    }
}

/// What has been shut for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stalled {
    /// These streams.
    Streams(Vec<u32>),
    /// The connection as a whole.
    Connection,
}

/// The windows of one connection, for what is sent to the caller.
#[derive(Debug)]
pub(super) struct Windows {
    initial: i64,
    connection: Window,
    /// Streams that have not been answered to their end, in the order of their numbers.
    streams: Vec<(u32, Window)>,
    /// Not later than the first of them was shut; 0: none is.
    first: Nanos,
}

/// Streams that are watched; twice as many as a listener may allow. Those beyond are refused by the parser.
const WATCHED: usize = 20_000;

impl Windows {
    pub(super) fn new() -> Self {
        Self {
            initial: INITIAL,
            connection: Window::new(INITIAL, 0),
            streams: Vec::new(),
            first: 0,
        }
    }

    /// A stream begins; their numbers grow.
    pub(super) fn open(&mut self, stream: u32, now: Nanos) {
        if self.streams.len() >= WATCHED {
            return;
        }
        let window = Window::new(self.initial, now);
        if window.shut != 0 {
            self.note(now);
        }
        self.streams.push((stream, window));
    }

    fn note(&mut self, now: Nanos) {
        if self.first == 0 {
            self.first = now.max(1);
        }
    }

    /// A stream is over, as far as what is sent is concerned.
    pub(super) fn close(&mut self, stream: u32) {
        if let Ok(index) = self.find(stream) {
            self.streams.remove(index);
        }
    }

    /// The caller says how large windows of streams begin; those that are open change by the difference.
    pub(super) fn begin_with(&mut self, initial: u32, now: Nanos) {
        let change = i64::from(initial) - self.initial;
        self.initial = i64::from(initial);
        let mut shuts = false;
        for (_, window) in &mut self.streams {
            match u32::try_from(change) {
                Ok(more) => window.give(more),
                Err(_) => {
                    window.left += change;
                    shuts |= window.take(0, now);
                }
            }
        }
        if shuts {
            self.note(now);
        }
    }

    /// The caller gives room on a stream, or with 0 on the connection.
    pub(super) fn give(&mut self, stream: u32, bytes: u32) {
        if stream == 0 {
            self.connection.give(bytes);
        } else if let Ok(index) = self.find(stream) {
            self.streams[index].1.give(bytes);
        }
    }

    /// So many bytes of DATA are sent on a stream.
    pub(super) fn take(&mut self, stream: u32, bytes: usize, now: Nanos) {
        let mut shuts = self.connection.take(bytes, now);
        if let Ok(index) = self.find(stream) {
            shuts |= self.streams[index].1.take(bytes, now);
        }
        if shuts {
            self.note(now);
        }
    }

    /// What has been shut since `before` or longer. Streams are taken off: whoever asks ends them.
    pub(super) fn stalled(&mut self, before: Nanos) -> Option<Stalled> {
        let mut stalled = Vec::new();
        self.streams.retain(|(stream, window)| {
            let shut = window.is_shut_since(before);
            if shut {
                stalled.push(*stream);
            }
            !shut
        });
        self.first = self.shut_since().unwrap_or(0);
        if !stalled.is_empty() {
            // Those that are reset may have what the others lack: the connection is looked at again later.
            return Some(Stalled::Streams(stalled));
        }
        (!self.streams.is_empty() && self.connection.is_shut_since(before))
            .then_some(Stalled::Connection)
    }

    /// Not later than the first of them was shut; 0: none is. To be asked often.
    pub(super) fn first_shut(&self) -> Nanos {
        self.first
    }

    /// Since when the first of them is shut, if one is.
    fn shut_since(&self) -> Option<Nanos> {
        let connection = std::iter::once(&self.connection).filter(|_| !self.streams.is_empty());
        let streams = self.streams.iter().map(|(_, window)| window);
        streams
            .chain(connection)
            .filter(|window| window.left <= 0)
            .map(|window| window.shut)
            .min()
    }

    fn find(&self, stream: u32) -> Result<usize, usize> {
        // The one that was opened last is asked for most.
        match self.streams.last() {
            Some((last, _)) if *last == stream => Ok(self.streams.len() - 1),
            _ => self
                .streams
                .binary_search_by_key(&stream, |(stream, _)| *stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn streams(stalled: Option<Stalled>) -> Vec<u32> {
        match stalled {
            Some(Stalled::Streams(streams)) => streams,
            None => Vec::new(),
            Some(Stalled::Connection) => panic!("the connection"),
        }
    }

    /// A connection whose own window never shuts.
    fn windows() -> Windows {
        let mut windows = Windows::new();
        windows.give(0, 1 << 30);
        windows
    }

    #[test]
    fn only_a_shut_window_is_a_stall() {
        let mut windows = windows();
        windows.open(1, SECOND);
        windows.open(3, SECOND);
        windows.take(1, 65_534, 2 * SECOND);
        assert_eq!(windows.shut_since(), None, "quiet, and open by a byte");
        windows.take(3, 65_535, 3 * SECOND);
        assert_eq!(windows.shut_since(), Some(3 * SECOND));
        assert!(streams(windows.stalled(2 * SECOND)).is_empty());
        assert_eq!(streams(windows.stalled(3 * SECOND)), [3]);
        assert!(streams(windows.stalled(9 * SECOND)).is_empty(), "told once");
        windows.close(1);
        assert_eq!(windows.shut_since(), None);
    }

    #[test]
    fn room_given_begins_the_time_anew_but_not_a_byte_of_it() {
        for (given, expected) in [
            (1, [1].as_slice()),
            (1023, &[1]),
            (1024, &[]),
            (30_000, &[]),
        ] {
            let mut windows = windows();
            windows.open(1, SECOND);
            windows.take(1, 65_535, SECOND);
            windows.give(1, given);
            windows.take(1, given as usize, 50 * SECOND);
            assert_eq!(streams(windows.stalled(2 * SECOND)), expected, "{given}");
        }
        // Many small gifts are a proof as well.
        let mut windows = windows();
        windows.open(1, SECOND);
        windows.take(1, 65_535, SECOND);
        for second in 2..13 {
            windows.give(1, 100);
            windows.take(1, 100, second * SECOND);
        }
        assert!(streams(windows.stalled(2 * SECOND)).is_empty());
    }

    #[test]
    fn streams_may_begin_shut_and_settings_open_or_shut_them() {
        let mut windows = windows();
        windows.begin_with(0, SECOND);
        windows.open(1, 2 * SECOND);
        assert_eq!(windows.shut_since(), Some(2 * SECOND));
        windows.begin_with(65_535, 3 * SECOND);
        assert_eq!(windows.shut_since(), None);
        windows.take(1, 65_535, 4 * SECOND);
        windows.begin_with(10, 5 * SECOND);
        assert_eq!(windows.shut_since(), Some(4 * SECOND));
        windows.give(1, 65_000);
        assert_eq!(windows.shut_since(), Some(4 * SECOND), "still below zero");
        windows.give(1, 1_000);
        assert_eq!(windows.shut_since(), None);
    }

    #[test]
    fn a_connection_without_room_is_stalled_as_a_whole_while_it_has_streams() {
        let mut windows = Windows::new();
        windows.begin_with(1 << 20, 0);
        windows.open(1, SECOND);
        windows.take(1, 65_535, SECOND);
        assert_eq!(windows.stalled(SECOND), Some(Stalled::Connection));
        windows.close(1);
        assert_eq!(windows.stalled(SECOND), None);
        assert_eq!(windows.shut_since(), None);
    }
}
