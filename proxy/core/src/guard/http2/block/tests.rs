use super::*;

/// What a block is found to be, and what it has become.
fn walked(blocks: &[&[u8]], piece: usize) -> (Faults, Scheme, Vec<u8>) {
    let mut block = Block::new();
    let mut last = Vec::new();
    for (number, bytes) in blocks.iter().enumerate() {
        block.begin(false);
        last = bytes.to_vec();
        let piece = if number + 1 == blocks.len() {
            piece
        } else {
            bytes.len()
        };
        last.chunks_mut(piece).for_each(|piece| block.read(piece));
        assert!(matches!(block.state, State::Field), "it ends with a field");
    }
    (block.faults(), block.hidden_scheme(), last)
}

/// A literal of a plain name and value, of the kind that `first` says.
fn literal(first: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, u8::try_from(name.len()).unwrap()];
    bytes.extend(name);
    bytes.push(u8::try_from(value.len()).unwrap());
    bytes.extend(value);
    bytes
}

#[test]
fn a_number_sign_in_a_path_is_replaced_however_it_is_written() {
    let plain = |name: &[u8]| [name, b"\x04/a#b"].concat();
    let replaced = |name: &[u8]| [name, b"\x04/a\\b"].concat();
    // `/a#b` in Huffman's code, and `/a%%b`.
    let coded = |name: &[u8]| [name, b"\x84\x60\x7f\xf5\x1f"].concat();
    let names: [&[u8]; 6] = [
        b"\x04",
        b"\x44",
        b"\x15",
        b"\x00\x05:path",
        b"\x40\x05:path",
        b"\x00\x84\xb9\x58\xd3\x3f",
    ];
    for name in names {
        for piece in 1..12 {
            let found = walked(&[&plain(name)], piece).2;
            assert_eq!(found, replaced(name), "{name:x?} in pieces of {piece}");
            let found = walked(&[&coded(name)], piece).2;
            assert_ne!(found, coded(name), "{name:x?} in pieces of {piece}");
        }
    }
}

#[test]
fn names_of_the_table_are_remembered() {
    let path = literal(0x40, b":path", b"/");
    let other = literal(0x40, b"x-a", b"b");
    // The newest entry has index 62, the one before 63.
    let by_62 = b"\x0f\x2f\x02/#".to_vec();
    let by_63 = b"\x0f\x30\x02/#".to_vec();
    let cases: [(&[&[u8]], bool); 6] = [
        (&[&path, &by_62], true),
        (&[&path, &by_63], false),
        (&[&path, &other, &by_62], false),
        (&[&path, &other, &by_63], true),
        (&[&other, &path, &by_62], true),
        (&[&by_62], false),
    ];
    for (blocks, is_path) in cases {
        let (.., found) = walked(blocks, 99);
        assert_eq!(found.ends_with(b"\\"), is_path, "{blocks:x?}");
    }
}

#[test]
fn other_fields_keep_their_number_signs() {
    for name in [&b"referer"[..], b":authority", b"x-very-long-name"] {
        for first in [0, 0x10, 0x40] {
            let block = literal(first, name, b"/a#b");
            assert_eq!(walked(&[&block], 3).2, block);
        }
    }
}

#[test]
fn pseudo_fields_have_their_places() {
    // :method GET, :scheme http, :path /, :authority
    let good: [&[u8]; 4] = [
        b"\x82\x86\x84\x01\x01a",
        b"\x3f\xe1\x1f\x82\x86\x84\x90",
        b"\x82\x87\x85\x41\x01a\x40\x01b\x01c\xbe",
        b"",
    ];
    for block in good {
        assert_eq!(walked(&[block], 99).0, Faults::default(), "{block:x?}");
    }
    let bad: [&[u8]; 5] = [
        b"\x82\x82",
        b"\x82\x84\x85",
        b"\x82\x90\x84",
        b"\x82\x84\x00\x07:method\x03PUT",
        b"\x82\x00\x01a\x01b\x86",
    ];
    for block in bad {
        assert!(walked(&[block], 99).0.misplaced, "{block:x?}");
    }
}

#[test]
fn pseudo_fields_in_trailers_are_seen() {
    let cases: [(&[u8], bool); 6] = [
        (b"\x00\x01a\x01b", false),
        (b"\x90", false),
        (b"\x84", true),
        (b"\x88", true),
        (b"\x00\x01a\x01b\x00\x05:path\x01/", true),
        (b"\x00\x03:xy\x01/", true),
    ];
    for (bytes, pseudo) in cases {
        let mut block = Block::new();
        block.begin(true);
        block.read(&mut bytes.to_vec());
        assert_eq!(block.faults().pseudo_trailer, pseudo, "{bytes:x?}");
    }
}

#[test]
fn a_scheme_without_authority_is_told() {
    let cases: [(&[u8], Scheme); 9] = [
        (b"\x86", Scheme::Http),
        (b"\x87", Scheme::Https),
        (b"\x06\x04http", Scheme::Http),
        (b"\x06\x05https", Scheme::Https),
        (b"\x06\x83\x9d\x29\xaf", Scheme::Http),
        (b"\x06\x06gopher", Scheme::Other),
        (b"\x06\x0fan-endless-name", Scheme::Other),
        (b"\x06\x00", Scheme::Other),
        (b"\x87\x01\x01a", Scheme::Http),
    ];
    for (block, scheme) in cases {
        assert_eq!(walked(&[block], 2).1, scheme, "{block:x?}");
    }
}

#[test]
fn padding_and_priority_are_no_part_of_a_block() {
    let cases: [(u8, &[u8], &[u8]); 5] = [
        (0, b"abc", b"abc"),
        (PADDED, b"\x02abc\0\0", b"abc"),
        (PRIORITY, b"\0\0\0\x01\x10abc", b"abc"),
        (PADDED | PRIORITY, b"\x01\0\0\0\x01\x10abc\0", b"abc"),
        (PADDED, b"\x09abc", b""),
    ];
    for (flags, payload, block) in cases {
        let head = Head {
            length: payload.len(),
            kind: 1,
            flags,
            stream: 3,
            word: 0,
            initial_window: None,
        };
        for piece in 1..=payload.len() {
            let mut frame = Frame::headers(head);
            let mut bytes = payload.to_vec();
            let pieces = bytes.chunks_mut(piece);
            let found: Vec<u8> = pieces
                .flat_map(|piece| frame.part(piece).to_vec())
                .collect();
            assert_eq!(found, block, "flags {flags} in pieces of {piece}");
            assert_eq!(frame.is_parent_of_itself(1), flags & PRIORITY != 0);
            assert!(!frame.is_parent_of_itself(3));
        }
    }
}
