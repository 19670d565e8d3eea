//! The number sign in strings coded as RFC 7541 appendix B says.
//!
//! Nothing is decoded: it is enough to know where codes begin. The code is canonical, so a table of where the codes
//! of each length begin tells a code's length.

/// The code of `#`, of twelve bits.
const SIGN: u32 = 0xffa;
const SIGN_BITS: u32 = 12;
/// Twice the code of `%`: as long as the one of `#`, and no target has it.
const STAND_IN: u32 = 0b010_101_010_101;

/// For each length in bits: the first code of that length, and how many there are.
static CODES: [(u32, u32, u32); 21] = [
    (5, 0x0, 10),
    (6, 0x14, 26),
    (7, 0x5c, 32),
    (8, 0xf8, 6),
    (10, 0x3f8, 5),
    (11, 0x7fa, 3),
    (12, 0xffa, 2),
    (13, 0x1ff8, 6),
    (14, 0x3ffc, 2),
    (15, 0x7ffc, 3),
    (19, 0x7_fff0, 3),
    (20, 0xf_ffe6, 8),
    (21, 0x1f_ffdc, 13),
    (22, 0x3f_ffd2, 26),
    (23, 0x7f_ffd8, 29),
    (24, 0xff_ffea, 12),
    (25, 0x1ff_ffec, 4),
    (26, 0x3ff_ffe0, 15),
    (27, 0x7ff_ffde, 19),
    (28, 0xfff_ffe2, 29),
    (30, 0x3fff_fffc, 4),
];

/// Whether the code of `#` is anywhere in `bytes`, at whatever bit: if it is not, neither is `#`. Paths have no
/// such bits by chance, so this is all that is done for most of them.
pub(super) fn may_have_sign(bytes: &[u8]) -> bool {
    // Windows of 64 bits, six bytes apart, so that they share more bits than the code has.
    let mut at = 0;
    while at < bytes.len() {
        let window = &bytes[at..bytes.len().min(at + 8)];
        let mut word = [0; 8];
        word[..window.len()].copy_from_slice(window);
        let bits = u64::from_be_bytes(word);
        // Nine ones, then 0, 1, 0.
        let two = bits & bits << 1;
        let four = two & two << 2;
        let nine = four & four << 4 & bits << 8;
        if nine & !(bits << 9) & bits << 10 & !(bits << 11) != 0 {
            return true;
        }
        at += 6;
    }
    false
}

/// Follows a coded string, bit by bit, over its pieces.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Codes {
    /// What has been read of a code.
    code: u32,
    length: u32,
}

impl Codes {
    /// Puts `%%` in place of each `#`, so that what is decoded is as wrong but not dropped. A code that began in the
    /// piece before becomes the one of `>`, which differs in its last bit and is wrong as well.
    pub(super) fn replace_signs(&mut self, piece: &mut [u8]) {
        for at in 0..8 * piece.len() {
            self.code = self.code << 1 | u32::from(piece[at / 8] >> (7 - at % 8) & 1);
            self.length += 1;
            if self.length == SIGN_BITS && self.code == SIGN {
                let first = (at + 1).checked_sub(SIGN_BITS as usize);
                match first {
                    Some(first) => put(piece, first, STAND_IN),
                    None => piece[at / 8] |= 1 << (7 - at % 8),
                }
            }
            if self.is_complete() {
                *self = Self::default();
            }
        }
    }

    fn is_complete(self) -> bool {
        let found = CODES.iter().find(|(length, ..)| *length >= self.length);
        // Longer ones are none: the decoder will say so.
        found.is_none_or(|&(length, first, count)| {
            length == self.length && (first..first + count).contains(&self.code)
        })
    }
}

/// Writes twelve bits from bit `first` on.
fn put(piece: &mut [u8], first: usize, bits: u32) {
    for index in 0..SIGN_BITS as usize {
        let (at, bit) = (first + index, bits >> (SIGN_BITS as usize - 1 - index) & 1);
        let mask = 1 << (7 - at % 8);
        if bit == 1 {
            piece[at / 8] |= mask;
        } else {
            piece[at / 8] &= !mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appends the code of a character of those that the tests use.
    fn coded(text: &str) -> Vec<u8> {
        let mut bits = String::new();
        for character in text.chars() {
            bits.push_str(match character {
                '/' => "011000",
                'a' => "00011",
                'z' => "1111011",
                '?' => "1111111100",
                '#' => "111111111010",
                '>' => "111111111011",
                '%' => "010101",
                '!' => "1111111000",
                '$' => "1111111111001",
                '\u{1}' => "11111111111111111011000",
                other => panic!("no code of {other}"),
            });
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let bytes = bits.as_bytes().chunks(8);
        bytes
            .map(|byte| {
                byte.iter()
                    .fold(0, |value, bit| value << 1 | u8::from(*bit == b'1'))
            })
            .collect()
    }

    #[test]
    fn signs_are_found_at_every_bit() {
        for lead in 0..20 {
            for text in ["#", "#a", "a#/", "?#", "#?", "z#z", "!#", "$#"] {
                let text = format!("{}{text}", "a".repeat(lead));
                let mut bytes = coded(&text);
                assert!(may_have_sign(&bytes), "{text}");
                Codes::default().replace_signs(&mut bytes);
                assert_eq!(bytes, coded(&text.replace('#', "%%")), "{text}");
            }
        }
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for text in [
            "/",
            "/a?z",
            "???",
            "$$",
            "!!?",
            "/%>",
            "z\u{1}z",
            "aaaaaaaaaaaaaaaaaaaa",
        ] {
            let mut bytes = coded(text);
            Codes::default().replace_signs(&mut bytes);
            assert_eq!(bytes, coded(text), "{text}");
        }
        assert!(!may_have_sign(&coded("/a?z?a/a/a/?!%z")));
    }

    #[test]
    fn a_sign_that_is_cut_is_no_sign_any_more() {
        for text in ["/#a", "/a#", "z#z", "?a#!"] {
            let whole = coded(text);
            for cut in 1..whole.len() {
                let mut bytes = whole.clone();
                let mut codes = Codes::default();
                let (left, right) = bytes.split_at_mut(cut);
                codes.replace_signs(left);
                codes.replace_signs(right);
                let outcomes = [
                    coded(&text.replace('#', "%%")),
                    coded(&text.replace('#', ">")),
                ];
                assert!(outcomes.contains(&bytes), "{text} cut at {cut}");
            }
        }
    }
}
