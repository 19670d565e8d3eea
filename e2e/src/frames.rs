//! HTTP/2 as bytes, without a library that would refuse to send what is wrong.

/// A kind of frame (RFC 9113 section 6).
pub const DATA: u8 = 0;
/// A kind of frame (RFC 9113 section 6).
pub const HEADERS: u8 = 1;
/// A kind of frame (RFC 9113 section 6).
pub const PRIORITY: u8 = 2;
/// A kind of frame (RFC 9113 section 6).
pub const RST_STREAM: u8 = 3;
/// A kind of frame (RFC 9113 section 6).
pub const SETTINGS: u8 = 4;
/// A kind of frame (RFC 9113 section 6).
pub const PING: u8 = 6;
/// A kind of frame (RFC 9113 section 6).
pub const GOAWAY: u8 = 7;
/// A kind of frame (RFC 9113 section 6).
pub const WINDOW_UPDATE: u8 = 8;
/// A kind of frame (RFC 9113 section 6).
pub const CONTINUATION: u8 = 9;
/// A flag (RFC 9113 section 6).
pub const END_STREAM: u8 = 1;
/// A flag (RFC 9113 section 6).
pub const END_HEADERS: u8 = 4;
/// A flag (RFC 9113 section 6).
pub const PADDED: u8 = 8;
/// A flag (RFC 9113 section 6).
pub const FLAG_PRIORITY: u8 = 0x20;
/// An error code (RFC 9113 section 7).
pub const PROTOCOL_ERROR: u32 = 1;
/// An error code (RFC 9113 section 7).
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame.
///
/// # Panics
///
/// When the payload is larger than 4 GiB.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small payload");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literals without Huffman coding and without indexing (RFC 7541 section 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        text(&mut bytes, name.as_bytes());
        text(&mut bytes, value.as_bytes());
    }
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &[u8]) {
    if text.len() < 127 {
        bytes.push(u8::try_from(text.len()).expect("less than 127"));
    } else {
        bytes.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128 + 128).expect("less than 256"));
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).expect("less than 128"));
    }
    bytes.extend(text);
}
