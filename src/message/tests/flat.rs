//! The quick way for values without pointers: who takes it, and that it checks as much as the other one.

use crate::message::{Message, Scratch};
use crate::rkyv;

/// No padding, and every field where the archived one is.
#[derive(rkyv::Archive, rkyv::Serialize, crate::Message)]
#[message(name = "plain")]
#[repr(C)]
struct Plain {
    bid: f64,
    sizes: [u32; 3],
    side: u8,
    open: bool,
    venue: u16,
}

/// Its last bytes are padding.
#[derive(rkyv::Archive, rkyv::Serialize, crate::Message)]
#[message(name = "padded")]
struct Padded {
    bid: f64,
    side: u8,
}

#[derive(rkyv::Archive, rkyv::Serialize, crate::Message)]
#[message(name = "pointing")]
struct Pointing {
    name: String,
    open: bool,
}

#[repr(align(16))]
struct Room([u8; 256]);

fn encode(message: &impl Message) -> (Room, usize) {
    let mut room = Room([0xee; 256]);
    let len = message.encode(&mut room.0, &mut Scratch::new()).unwrap();
    (room, len)
}

fn plain() -> Plain {
    Plain {
        bid: 1.5,
        sizes: [1, 2, 3],
        side: 7,
        open: true,
        venue: 0x0102,
    }
}

#[test]
fn only_bytes_without_padding_and_pointers_have_a_constant_length() {
    assert_eq!(Plain::ENCODED_LEN, Some(24));
    assert_eq!(Padded::ENCODED_LEN, None);
    assert_eq!(Pointing::ENCODED_LEN, None);
}

#[test]
fn both_ways_write_the_documented_bytes() {
    let (room, len) = encode(&plain());
    let expected = [
        0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 7, 1, 2, 1,
    ];
    assert_eq!(room.0[..len], expected);
    let (room, len) = encode(&Padded { bid: 1.5, side: 9 });
    let padded = [0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 9, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(room.0[..len], padded, "padding is written as zeros");
}

#[test]
fn too_little_room_is_an_error_and_writes_nothing_beyond_it() {
    let mut room = Room([0xee; 256]);
    assert!(
        plain()
            .encode(&mut room.0[..23], &mut Scratch::new())
            .is_err()
    );
    assert_eq!(room.0[23..], [0xee; 233]);
}

#[test]
fn a_view_checks_length_alignment_and_values() {
    let (mut room, len) = encode(&plain());
    assert_eq!(Plain::view(&room.0[..len]).unwrap().sizes[2], 3);
    for bytes in [&room.0[..0], &room.0[..23], &room.0[1..25], &room.0[4..28]] {
        assert!(Plain::view(bytes).is_err());
    }
    room.0[21] = 2;
    assert!(Plain::view(&room.0[..len]).is_err(), "2 is no bool");
}

#[test]
fn what_has_pointers_is_checked_in_full() {
    // The first name lies in the value itself, the second one elsewhere.
    for name in ["short", "long enough to lie elsewhere"] {
        let message = Pointing {
            name: name.to_owned(),
            open: true,
        };
        let (mut room, len) = encode(&message);
        assert_eq!(Pointing::view(&room.0[..len]).unwrap().name, name);
        room.0[len - 4] = 3;
        assert!(Pointing::view(&room.0[..len]).is_err(), "3 is no bool");
        room.0[len - 4] = 1;
        if name.len() > 8 {
            // The offset, now beyond the bytes.
            room.0[len - 8..len - 4].copy_from_slice(&1000_i32.to_le_bytes());
            assert!(Pointing::view(&room.0[..len]).is_err());
        }
    }
}
