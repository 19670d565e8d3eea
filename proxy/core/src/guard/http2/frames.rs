//! Where frames begin in a stream of bytes that comes in pieces.

/// Bytes of a frame's head (RFC 9113 section 4.1).
const HEAD: usize = 9;
/// Bytes of an RST_STREAM or WINDOW_UPDATE: its head, and an error code or an increment.
const WORD: usize = HEAD + 4;
/// Bytes of a GOAWAY up to its error code.
const CODE: usize = HEAD + 8;
/// Bytes of one setting: its identifier and its value (RFC 9113 section 6.5.1).
const SETTING: usize = 6;
/// Settings of one frame. There are nine in the registry of IANA, and browsers add one that means nothing.
pub(super) const SETTINGS_OF_FRAME: usize = 16;
/// Bytes of the longest beginning of a frame that is looked at.
const LOOK: usize = HEAD + SETTING * SETTINGS_OF_FRAME;
/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 section 6.5.2).
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of its payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// The error code of an RST_STREAM or a GOAWAY, the increment of a WINDOW_UPDATE.
    pub(super) word: u32,
    /// What a SETTINGS frame says of the windows of streams.
    pub(super) initial_window: Option<u32>,
}

impl Head {
    fn read(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let settings = if bytes[3] == super::SETTINGS {
            &bytes[HEAD..]
        } else {
            &[]
        };
        // The last one counts (RFC 9113 section 6.5.3).
        let initial_window = settings
            .chunks_exact(SETTING)
            .rfind(|setting| setting[..2] == INITIAL_WINDOW_SIZE)
            .map(|setting| u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]));
        Self {
            length: (word(0) >> 8) as usize,
            kind: bytes[3],
            flags: bytes[4],
            stream: word(5) & 0x7fff_ffff,
            word: match (bytes[3], bytes.len()) {
                (super::GOAWAY, CODE) => word(13),
                (super::RST_STREAM | super::WINDOW_UPDATE, WORD) => word(9),
                _ => 0,
            },
            initial_window,
        }
    }

    /// The increment of a WINDOW_UPDATE.
    pub(super) fn increment(self) -> u32 {
        self.word & 0x7fff_ffff
    }

    /// The error code of an RST_STREAM or a GOAWAY.
    pub(super) fn code(self) -> u32 {
        self.word
    }

    /// Whether a reset that the proxy sends says that the caller broke the protocol: PROTOCOL_ERROR,
    /// FLOW_CONTROL_ERROR, STREAM_CLOSED or FRAME_SIZE_ERROR. Other resets have causes behind the proxy.
    pub(super) fn is_callers_fault(self) -> bool {
        matches!(self.word, 1 | 3 | 5 | 6)
    }
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes to pass before the next head.
    skip: usize,
    head: [u8; LOOK],
    have: usize,
}

impl Frames {
    /// Begins behind so many bytes.
    pub(super) fn after(skip: usize) -> Self {
        Self {
            skip,
            head: [0; LOOK],
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
            let head = Head::read(&self.head[..self.have]);
            self.skip = head.length - (self.have - HEAD);
            self.have = 0;
            return Some(head);
        }
        None
    }

    /// Bytes that are to be looked at together: the head, and of some well-formed frames the payload.
    fn wanted(&self) -> usize {
        if self.have < HEAD {
            return HEAD;
        }
        match self.head[..4] {
            [0, 0, 4, super::RST_STREAM | super::WINDOW_UPDATE] => WORD,
            [0, 0, length, super::SETTINGS] => LOOK.min(HEAD + usize::from(length)),
            [0, 0, 0..8, super::GOAWAY] => HEAD,
            [.., super::GOAWAY] => CODE,
            _ => HEAD,
        }
    }

    /// Bytes of the last frame's payload that are still to come.
    pub(super) fn payload(&self) -> usize {
        self.skip
    }

    /// Takes note of so many bytes of the last frame's payload.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.skip -= bytes;
    }

    /// Bytes of the frame that has begun and is not complete, as far as its head says so.
    pub(super) fn left(&self) -> usize {
        match self.have {
            0 => self.skip,
            have => self.wanted() - have,
        }
    }
}
