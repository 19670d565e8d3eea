//! Pure. Where the frames of a WebSocket begin and end, so that one more can be put between them.
//!
//! A proxy that must end a WebSocket says so with a close frame (RFC 6455 section 5.5.1): otherwise
//! its caller cannot tell a planned end from a broken network. Between two frames is the one place
//! where a frame can stand, also within a fragmented message (section 5.4).

/// The status of a side that goes away, such as a server that ends (RFC 6455 section 7.4.1).
pub const GOING_AWAY: u16 = 1001;

const CLOSE: u8 = 0x8;
const MASKED: u8 = 0x80;
/// Two bytes, eight of length, four of a mask.
const LONGEST_HEAD: usize = 14;

/// The frames of one direction, followed as their bytes pass.
///
/// ```
/// use heddle_core::websocket::Frames;
/// let mut frames = Frames::default();
/// frames.pass(&[0x81, 2, b'h']); // a text of two bytes, of which one has passed
/// assert!(!frames.has_gap());
/// frames.pass(b"i");
/// assert!(frames.has_gap());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Frames {
    head: [u8; LONGEST_HEAD],
    /// Bytes of the head that have passed.
    known: usize,
    /// Bytes of the payload still to come.
    left: u64,
    closed: bool,
}

impl Frames {
    /// These bytes have passed.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len() as u64);
                self.left -= skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            self.head[self.known] = bytes[0];
            self.known += 1;
            bytes = &bytes[1..];
            if self.known == head_length(&self.head[..self.known]) {
                self.begin();
            }
        }
    }

    fn begin(&mut self) {
        self.closed |= self.head[0] & 0x0f == CLOSE;
        self.left = match self.head[1] & !MASKED {
            126 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            127 => {
                let mut length = [0; 8];
                length.copy_from_slice(&self.head[2..10]);
                u64::from_be_bytes(length)
            }
            length => u64::from(length),
        };
        self.known = 0;
    }

    /// Whether a frame may follow here: no other one is under way, and none has closed the direction.
    pub fn has_gap(&self) -> bool {
        self.known == 0 && self.left == 0 && !self.closed
    }
}

/// Bytes of a frame's head, as far as its beginning tells.
fn head_length(beginning: &[u8]) -> usize {
    let Some(second) = beginning.get(1) else {
        return 2;
    };
    let length = match second & !MASKED {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & MASKED == 0 { 0 } else { 4 }
}

/// A close frame from a server.
pub fn close_from_server(status: u16) -> [u8; 4] {
    let [high, low] = status.to_be_bytes();
    [0x80 | CLOSE, 2, high, low]
}

/// A close frame from a client, whose payload is masked with `key` (RFC 6455 section 5.3).
pub fn close_from_client(status: u16, key: [u8; 4]) -> [u8; 8] {
    let [high, low] = status.to_be_bytes();
    let [a, b, c, d] = key;
    [0x80 | CLOSE, MASKED | 2, a, b, c, d, high ^ a, low ^ b]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, payload: usize, mask: bool) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        let bit = if mask { MASKED } else { 0 };
        match payload {
            0..126 => frame.push(bit | payload as u8),
            126..65536 => {
                frame.push(bit | 126);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(bit | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        if mask {
            frame.extend([1, 2, 3, 4]);
        }
        frame.resize(frame.len() + payload, 0x88);
        frame
    }

    #[test]
    fn a_gap_is_where_a_frame_ends_however_the_bytes_come() {
        let lengths = [0, 1, 125, 126, 65535, 65536];
        for piece in [1, 2, 3, 7, 4096, usize::MAX] {
            for (payload, mask) in lengths.iter().flat_map(|n| [(*n, false), (*n, true)]) {
                let mut frames = Frames::default();
                for opcode in [1, 2, 9] {
                    let bytes = frame(opcode, payload, mask);
                    let (last, most) = bytes.split_last().expect("two at least");
                    for part in most.chunks(piece.min(most.len())) {
                        frames.pass(part);
                        assert!(!frames.has_gap(), "{payload} {mask} {piece}");
                    }
                    frames.pass(&[*last]);
                    assert!(frames.has_gap(), "{payload} {mask} {piece}");
                }
            }
        }
    }

    #[test]
    fn several_frames_in_one_piece() {
        let mut frames = Frames::default();
        let mut bytes = [frame(1, 5, true), frame(2, 200, false), frame(9, 0, true)].concat();
        frames.pass(&bytes);
        assert!(frames.has_gap());
        bytes.pop();
        frames.pass(&bytes);
        assert!(!frames.has_gap());
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        for close in [
            close_from_server(GOING_AWAY).to_vec(),
            close_from_client(GOING_AWAY, [9, 8, 7, 6]).to_vec(),
        ] {
            let mut frames = Frames::default();
            frames.pass(&close);
            assert!(!frames.has_gap(), "{close:?}");
        }
    }

    #[test]
    fn close_frames_of_both_sides() {
        assert_eq!(close_from_server(1001), [0x88, 2, 0x03, 0xe9]);
        assert_eq!(
            close_from_client(1001, [0xff, 1, 0, 0]),
            [0x88, 0x82, 0xff, 1, 0, 0, 0xfc, 0xe8]
        );
    }
}
