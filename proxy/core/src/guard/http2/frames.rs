//! Where frames begin in a stream of bytes that comes in pieces.

/// Bytes of a frame's head (RFC 9113 section 4.1).
const HEAD: usize = 9;
/// Bytes of an RST_STREAM: its head and its error code.
const RESET: usize = HEAD + 4;

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of its payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// The error code of an RST_STREAM.
    code: u32,
}

impl Head {
    fn read(bytes: &[u8; RESET]) -> Self {
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            length: (word(0) >> 8) as usize,
            kind: bytes[3],
            flags: bytes[4],
            stream: word(5) & 0x7fff_ffff,
            code: word(9),
        }
    }

    /// Whether a reset that the proxy sends says that the caller broke the protocol: PROTOCOL_ERROR,
    /// FLOW_CONTROL_ERROR, STREAM_CLOSED or FRAME_SIZE_ERROR. Other resets have causes behind the proxy.
    pub(super) fn is_callers_fault(self) -> bool {
        matches!(self.code, 1 | 3 | 5 | 6)
    }
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes to pass before the next head.
    skip: usize,
    head: [u8; RESET],
    have: usize,
}

impl Frames {
    /// Begins behind so many bytes.
    pub(super) fn after(skip: usize) -> Self {
        Self {
            skip,
            head: [0; RESET],
            have: 0,
        }
    }

    /// Whether the last frame is complete.
    pub(super) fn at_boundary(&self) -> bool {
        self.skip == 0 && self.have == 0
    }

    /// The next frame whose head is complete, taking from `bytes` what belongs to it.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        *bytes = &bytes[skipped..];
        while !bytes.is_empty() {
            let wanted = self.wanted();
            let taken = (wanted - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            *bytes = &bytes[taken..];
            // Only now it may be known that more is wanted.
            if self.have < self.wanted() {
                continue;
            }
            let head = Head::read(&self.head);
            self.skip = head.length - (self.have - HEAD);
            self.have = 0;
            return Some(head);
        }
        None
    }

    /// Bytes of the head: the error code of a well-formed reset is taken for part of it.
    fn wanted(&self) -> usize {
        let reset = self.have >= HEAD && self.head[..4] == [0, 0, 4, super::RST_STREAM];
        if reset { RESET } else { HEAD }
    }
}
