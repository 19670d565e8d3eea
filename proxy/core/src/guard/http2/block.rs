//! The header block as far as the parser hides it (RFC 7541).
//!
//! Of what a block says, the parser drops three things without a word: what follows a `#` in `:path`, pseudo fields
//! of trailers, and a `:scheme` without `:authority`; and of a block that is cut within a field it forgets that pseudo
//! fields were repeated or misplaced. So the guard follows the block's structure itself. It decodes no text and keeps
//! no table: of the entries of the dynamic table it remembers what kind of name each has, three bits.

use super::frames::Head;
use super::huffman::{Codes, may_have_sign};

/// What a field's name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Regular,
    Authority,
    Method,
    Scheme,
    Path,
    Status,
    /// Another pseudo field, known or not.
    Other,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Regular,
        Self::Authority,
        Self::Method,
        Self::Scheme,
        Self::Path,
        Self::Status,
        Self::Other,
    ];

    /// The names of pseudo fields, plain and in Huffman's code.
    const NAMES: [(Self, &'static [u8], &'static [u8]); 5] = [
        (
            Self::Authority,
            b":authority",
            b"\xb8\x3b\x53\x39\xec\x32\x7d\x7f",
        ),
        (Self::Method, b":method", b"\xb9\x49\x53\x39\xe4"),
        (Self::Path, b":path", b"\xb9\x58\xd3\x3f"),
        (Self::Scheme, b":scheme", b"\xb8\x82\x4e\x5a\x4b"),
        (Self::Status, b":status", b"\xb8\x84\x8d\x36\xa3"),
    ];

    /// That of a name as it is written.
    fn read(name: &[u8], huffman: bool) -> Self {
        let known = Self::NAMES.iter().find(|(_, plain, coded)| {
            let written = if huffman { coded } else { plain };
            *written == name
        });
        match (known, name.first()) {
            (Some((kind, ..)), _) => *kind,
            // The code of a colon is 1011100.
            (None, Some(0xb8 | 0xb9)) if huffman => Self::Other,
            (None, Some(b':')) if !huffman => Self::Other,
            _ => Self::Regular,
        }
    }
}

/// Entries that the static table has (RFC 7541 appendix A).
const STATIC: u32 = 61;
/// Entries that a dynamic table of 4096 bytes, the size that is never changed, can have: each counts 32 bytes more
/// than its name and value (RFC 7541 section 4.1).
const ENTRIES: u32 = 128;

/// The kinds of the static table's names, by index.
static KINDS: [Kind; STATIC as usize + 1] = static_kinds();

const fn static_kinds() -> [Kind; STATIC as usize + 1] {
    let mut kinds = [Kind::Regular; STATIC as usize + 1];
    let mut index = 1;
    while index <= 14 {
        kinds[index] = match index {
            1 => Kind::Authority,
            2 | 3 => Kind::Method,
            4 | 5 => Kind::Path,
            6 | 7 => Kind::Scheme,
            _ => Kind::Status,
        };
        index += 1;
    }
    kinds
}

/// The kind of each entry's name in the dynamic table, the newest in the lowest bit of the first word.
#[derive(Debug, Default)]
struct Names {
    /// Whether it is a pseudo field's.
    pseudo: [u64; 2],
    /// Which one's, in three bits.
    kind: [[u64; 2]; 3],
}

impl Names {
    fn insert(&mut self, kind: Kind) {
        push(&mut self.pseudo, kind != Kind::Regular);
        for (bit, plane) in self.kind.iter_mut().enumerate() {
            push(plane, kind as u8 >> bit & 1 == 1);
        }
    }

    /// The kind of an index. What is in neither table ends the connection, by the parser.
    fn kind(&self, index: u32) -> Kind {
        if let Some(kind) = KINDS.get(index as usize) {
            return *kind;
        }
        let entry = index - STATIC - 1;
        if entry >= ENTRIES {
            return Kind::Regular;
        }
        let bit = |plane: &[u64; 2]| plane[entry as usize / 64] >> (entry % 64) & 1;
        if bit(&self.pseudo) == 0 {
            return Kind::Regular;
        }
        let [first, second, third] = self.kind.each_ref().map(bit);
        let kind = first | second << 1 | third << 2;
        Kind::ALL[kind as usize % Kind::ALL.len()]
    }
}

fn push([low, high]: &mut [u64; 2], bit: bool) {
    *high = *high << 1 | *low >> 63;
    *low = *low << 1 | u64::from(bit);
}

/// A `:scheme`, in the order of what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Scheme {
    /// `http`, or none.
    #[default]
    Http,
    /// `https`.
    Https,
    /// Another one.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Value,
}

/// What a number means.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// A whole field.
    Field,
    /// A field's name; 0: it follows.
    Name,
    /// The table's size.
    Size,
    /// How long a string is; whether it is in Huffman's code.
    Length(Part, bool),
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// A field begins.
    Field,
    /// A number goes on: so much of it, and by how many bits the next ones are shifted.
    Number(Then, u32, u32),
    /// A string begins with its length.
    Length(Part),
    /// So many bytes that say nothing.
    Skip(Part, u32),
    /// So many bytes of a string that is compared.
    Short(Part, u32, bool),
    /// So many bytes of a `:path`.
    Path(u32, bool),
}

/// Bytes of the longest name or value that is compared, `:authority`.
const SHORT: usize = 10;

/// What a block did that it must not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// It is a trailer section and has a pseudo field.
    pub(super) pseudo_trailer: bool,
    /// A pseudo field is repeated, or stands behind a regular one.
    pub(super) misplaced: bool,
}

/// Follows the header blocks of one connection.
#[derive(Debug)]
pub(super) struct Block {
    state: State,
    names: Names,
    /// The name of the field now coming.
    kind: Kind,
    /// It goes into the table.
    inserted: bool,
    short: [u8; SHORT],
    have: usize,
    codes: Codes,
    trailers: bool,
    /// Kinds that were there, one bit each.
    seen: u8,
    scheme: Scheme,
    faults: Faults,
}

impl Block {
    pub(super) fn new() -> Self {
        Self {
            state: State::Field,
            names: Names::default(),
            kind: Kind::Regular,
            inserted: false,
            short: [0; SHORT],
            have: 0,
            codes: Codes::default(),
            trailers: false,
            seen: 0,
            scheme: Scheme::Http,
            faults: Faults::default(),
        }
    }

    /// A block begins.
    pub(super) fn begin(&mut self, trailers: bool) {
        self.state = State::Field;
        self.trailers = trailers;
        self.seen = 0;
        self.scheme = Scheme::Http;
        self.faults = Faults::default();
    }

    /// What was wrong with the block that has ended.
    pub(super) fn faults(&self) -> Faults {
        self.faults
    }

    /// The scheme that it had without an authority.
    pub(super) fn hidden_scheme(&self) -> Scheme {
        if self.seen & bit(Kind::Authority) == 0 {
            self.scheme
        } else {
            Scheme::Http
        }
    }

    /// Follows bytes of the block, cut anywhere. A `#` in a `:path` becomes what is refused and not dropped: `\`, or
    /// `%%` in Huffman's code, which are as long.
    pub(super) fn read(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::Field => {
                    // Most fields are one byte, an index.
                    let fields = bytes[at..].iter();
                    let indexed = fields.take_while(|byte| **byte > 0x80 && **byte < 0xff);
                    let before = at;
                    for byte in indexed {
                        self.indexed(u32::from(byte & 0x7f));
                        at += 1;
                    }
                    if at > before {
                        continue;
                    }
                    self.field(byte);
                }
                State::Number(then, value, shift) => self.more(byte, then, value, shift),
                State::Length(part) => {
                    self.prefixed(byte, 0x7f, Then::Length(part, byte & 0x80 != 0));
                }
                State::Skip(..) | State::Short(..) | State::Path(..) => {
                    at += self.text(&mut bytes[at..]);
                    continue;
                }
            }
            at += 1;
        }
    }

    /// The first byte of a field (RFC 7541 section 6).
    fn field(&mut self, first: u8) {
        let (mask, then) = match first {
            0x80.. => (0x7f, Then::Field),
            0x40.. => (0x3f, Then::Name),
            0x20.. => (0x1f, Then::Size),
            _ => (0x0f, Then::Name),
        };
        self.inserted = first & 0xc0 == 0x40;
        self.prefixed(first, mask, then);
    }

    /// A number that begins in the lower bits of a byte (RFC 7541 section 5.1).
    fn prefixed(&mut self, byte: u8, mask: u8, then: Then) {
        let value = byte & mask;
        if value == mask {
            self.state = State::Number(then, u32::from(value), 0);
        } else {
            self.number(then, u32::from(value));
        }
    }

    fn more(&mut self, byte: u8, then: Then, value: u32, shift: u32) {
        // The parser refuses numbers of more than 28 bits.
        let more = u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        let value = value.saturating_add(more);
        if byte & 0x80 == 0 {
            self.number(then, value);
        } else {
            self.state = State::Number(then, value, shift + 7);
        }
    }

    fn number(&mut self, then: Then, value: u32) {
        match then {
            Then::Field => {
                self.indexed(value);
                self.state = State::Field;
            }
            Then::Name if value == 0 => self.state = State::Length(Part::Name),
            Then::Name => self.named(self.names.kind(value)),
            Then::Size => self.state = State::Field,
            Then::Length(part, huffman) => self.string(part, value, huffman),
        }
    }

    /// A field that is an entry of a table.
    #[inline]
    fn indexed(&mut self, index: u32) {
        let kind = self.names.kind(index);
        self.note(kind);
        if kind == Kind::Scheme {
            self.scheme = match index {
                6 => Scheme::Http,
                7 => Scheme::Https,
                _ => Scheme::Other,
            };
        }
    }

    /// A string of so many bytes begins.
    fn string(&mut self, part: Part, length: u32, huffman: bool) {
        self.have = 0;
        let short = length as usize <= SHORT;
        self.state = match (part, self.kind) {
            (Part::Value, Kind::Path) => {
                self.codes = Codes::default();
                State::Path(length, huffman)
            }
            (Part::Name, _) | (Part::Value, Kind::Scheme) if short => {
                State::Short(part, length, huffman)
            }
            _ => State::Skip(part, length),
        };
        if length == 0 {
            self.string_ended(part, huffman);
        }
    }

    /// Bytes of a string; how many of them belong to it.
    fn text(&mut self, bytes: &mut [u8]) -> usize {
        let (State::Skip(_, left) | State::Short(_, left, _) | State::Path(left, _)) = self.state
        else {
            return 0;
        };
        let here = bytes.len().min(left as usize);
        let piece = &mut bytes[..here];
        let left = left - u32::try_from(here).unwrap_or(left);
        let (part, huffman) = match self.state {
            State::Skip(part, _) => {
                self.state = State::Skip(part, left);
                // Longer than any that is looked for.
                self.have = 0;
                (part, false)
            }
            State::Short(part, _, huffman) => {
                self.short[self.have..self.have + here].copy_from_slice(piece);
                self.have += here;
                self.state = State::Short(part, left, huffman);
                (part, huffman)
            }
            State::Path(before, huffman) => {
                self.path(piece, before as usize == here, huffman);
                self.state = State::Path(left, huffman);
                (Part::Value, huffman)
            }
            _ => return here,
        };
        if left == 0 {
            self.string_ended(part, huffman);
        }
        here
    }

    /// A piece of a `:path`, the last one or not.
    fn path(&mut self, piece: &mut [u8], last: bool, huffman: bool) {
        let first = std::mem::replace(&mut self.have, 1) == 0;
        if huffman {
            if !(first && last) || may_have_sign(piece) {
                self.codes.replace_signs(piece);
            }
            return;
        }
        for byte in piece {
            if *byte == b'#' {
                *byte = b'\\';
            }
        }
    }

    fn string_ended(&mut self, part: Part, huffman: bool) {
        let text = &self.short[..self.have.min(SHORT)];
        if part == Part::Name {
            let kind = Kind::read(text, huffman);
            return self.named(kind);
        }
        if self.kind == Kind::Scheme {
            self.scheme = match text {
                b"http" if !huffman => Scheme::Http,
                b"https" if !huffman => Scheme::Https,
                b"\x9d\x29\xaf" if huffman => Scheme::Http,
                b"\x9d\x29\xad\x1f" if huffman => Scheme::Https,
                _ => Scheme::Other,
            };
        }
        self.state = State::Field;
    }

    /// The name of a field is known, its value comes.
    fn named(&mut self, kind: Kind) {
        self.kind = kind;
        self.note(kind);
        if self.inserted {
            self.names.insert(kind);
        }
        self.state = State::Length(Part::Value);
    }

    fn note(&mut self, kind: Kind) {
        if kind == Kind::Regular {
            self.seen |= bit(Kind::Regular);
            return;
        }
        let before = bit(kind) | bit(Kind::Regular);
        self.faults.misplaced |= self.seen & before != 0;
        self.faults.pseudo_trailer |= self.trailers;
        self.seen |= bit(kind);
    }
}

const fn bit(kind: Kind) -> u8 {
    1 << kind as u8
}

const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// What stands around the piece of a block in its frame (RFC 9113 section 6.2).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Frame {
    /// Bytes before it that are still to come.
    before: usize,
    /// Bytes of it.
    left: usize,
    /// The first byte says how many bytes of padding there are.
    padded: bool,
    /// The stream that it depends on: what has been read of it, and how many bytes.
    parent: Option<(u32, u32)>,
}

impl Frame {
    /// That of a HEADERS frame.
    pub(super) fn headers(head: Head) -> Self {
        let padded = head.flags & PADDED != 0;
        let priority = head.flags & PRIORITY != 0;
        let before = usize::from(padded) + if priority { 5 } else { 0 };
        Self {
            before,
            left: head.length.saturating_sub(before),
            padded,
            parent: priority.then_some((0, 0)),
        }
    }

    /// That of a CONTINUATION frame.
    pub(super) fn continuation(head: Head) -> Self {
        Self {
            left: head.length,
            ..Self::default()
        }
    }

    /// Whether the frame says that its stream depends on itself: the parser resets the stream without looking at
    /// the block, and its table would be another one than the caller's from then on.
    pub(super) fn is_parent_of_itself(&self, stream: u32) -> bool {
        matches!(self.parent, Some((parent, 4)) if parent & 0x7fff_ffff == stream)
    }

    /// The part of a frame's payload that belongs to the block; the rest is padding.
    pub(super) fn part<'a>(&mut self, payload: &'a mut [u8]) -> &'a mut [u8] {
        let mut at = 0;
        while self.before > 0
            && let Some(&byte) = payload.get(at)
        {
            self.before -= 1;
            if std::mem::take(&mut self.padded) {
                self.left = self.left.saturating_sub(usize::from(byte));
            } else if let Some((parent, read)) = &mut self.parent
                && *read < 4
            {
                *parent = *parent << 8 | u32::from(byte);
                *read += 1;
            }
            at += 1;
        }
        let here = (payload.len() - at).min(self.left);
        self.left -= here;
        &mut payload[at..at + here]
    }
}

#[cfg(test)]
mod tests;
