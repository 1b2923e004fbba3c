//! Values come back as they were.

use super::{Chain, Everything, encoded, everything, quote};
use crate::message::allocations::allocations_of;
use crate::message::{Bytes, EncodeError, Message, Scratch};

#[test]
fn a_view_shows_what_was_encoded() {
    let bytes = encoded(&everything());
    let view = Everything::view(&bytes).unwrap();
    assert_eq!(view.long.as_str(), "nine byte \"quoted\"");
    assert_eq!(view.grid[2][1], 6);
    assert_eq!(view.names[2].len(), 260);
    assert_eq!(view.boxed.quote.ask, -2.25);
    assert_eq!(view.slice[1].1.as_str(), "two");
}

#[test]
fn bytes_are_copied_as_they_are() {
    let mut out = [0_u8; 5];
    let mut scratch = Scratch::new();
    let message = Bytes::new(b"12345");
    assert_eq!(message.encoded_len(&mut scratch), Ok(5));
    assert_eq!(message.encode(&mut out, &mut scratch), Ok(5));
    assert_eq!(
        message.encode(&mut out[..4], &mut scratch),
        Err(EncodeError::NoRoom { room_bytes: 4 })
    );
    assert_eq!(Bytes::view(message).unwrap(), b"12345");
}

#[test]
fn a_flat_struct_is_encoded_without_allocation() {
    let mut out = [0_u8; 64];
    let mut scratch = Scratch::new();
    let value = quote();
    let allocations = allocations_of(|| {
        for _ in 0..100 {
            value.encode(&mut out, &mut scratch).unwrap();
            value.encode(&mut out[..8], &mut scratch).unwrap_err();
        }
    });
    assert_eq!(allocations, 0);
    assert!(
        allocations_of(|| drop(Box::new(1))) > 0,
        "the counter counts"
    );
}

#[test]
fn lists_are_encoded_without_allocation_after_the_first_time() {
    let mut out = vec![0_u8; 1 << 16];
    let mut scratch = Scratch::new();
    let mut value = everything();
    value.names = vec!["a name that is stored out of line".to_owned(); 500];
    value.encode(&mut out, &mut scratch).unwrap();
    value.encode(&mut out, &mut scratch).unwrap();
    let allocations = allocations_of(|| {
        value.encode(&mut out, &mut scratch).unwrap();
        value.encoded_len(&mut scratch).unwrap();
    });
    assert_eq!(allocations, 0);
}

/// Little endian, aligned, 32-bit offsets: other features of rkyv would give other bytes.
#[test]
fn the_format_is_pinned() {
    let bytes = encoded(&quote());
    let golden = [
        0, 0, 0, 0, 0, 0, 0xf8, 0x3f, // bid
        0, 0, 0, 0, 0, 0, 0x02, 0xc0, // ask
        7, 0, 1, 0, 0, 0, 0, 0, // venue, firm, zeros up to the alignment
    ];
    assert_eq!(bytes.as_slice(), golden);

    let chain = Chain {
        value: 1,
        next: Some(Box::new(Chain {
            value: 2,
            next: None,
        })),
    };
    let golden = [
        2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // the inner one
        1, 0, 0, 0, 1, 0, 0, 0, 0xec, 0xff, 0xff,
        0xff, // the root, last; its offset is -20 from its own place
    ];
    assert_eq!(encoded(&chain).as_slice(), golden);
}

#[cfg(feature = "json")]
mod json {
    use super::*;
    use crate::message::{MessageType, raw_to_text, to_json};

    #[test]
    fn every_kind_has_its_json_form() {
        let json = to_json(Everything::message_type(), &encoded(&everything())).unwrap();
        let long_name = "a longer name".repeat(20);
        let expected = format!(
            concat!(
                r#"{{"nothing":null,"letter":"ü","small":[-1,2],"mixed":[1,-2,true,-3],"#,
                r#""wide":"340282366920938463463374607431768211455","narrow":"-1","single":null,"price":-12,"#,
                r#""short":"eight by","long":"nine byte \"quoted\"","type":5,"absent":null,"#,
                r#""grid":[[1,2],[3,4],[5,6]],"names":["","a","{}"],"#,
                r#""boxed":{{"quote":{{"bid":1.5,"ask":-2.25,"venue":7,"firm":true}},"#,
                r#""sides":["Buy","Sell",{{"Limit":{{"price":0.5,"tag":9}}}},{{"Pair":[1,70000]}},{{"One":"x"}}]}},"#,
                r#""slice":[[1,"one"],[2,"two"]]}}"#,
            ),
            long_name
        );
        assert_eq!(json, expected);
    }

    #[test]
    fn a_type_that_contains_itself_has_a_json_form() {
        let chain = Chain {
            value: 1,
            next: Some(Box::new(Chain {
                value: 2,
                next: None,
            })),
        };
        let json = to_json(Chain::message_type(), &encoded(&chain)).unwrap();
        assert_eq!(json, r#"{"value":1,"next":{"value":2,"next":null}}"#);
    }

    #[test]
    fn strings_of_every_length_around_the_inline_limit_come_back() {
        let strings = MessageType::of::<Vec<String>>("test.strings", 1);
        let texts: Vec<String> = (0..if cfg!(miri) { 12 } else { 200 })
            .map(|len| "é".repeat(len / 2) + &"x".repeat(len % 2))
            .collect();
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&texts).unwrap();
        let json = to_json(&strings, &bytes).unwrap();
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), texts);
    }

    #[test]
    fn raw_bytes_are_text_if_they_can_be_printed() {
        assert_eq!(raw_to_text("grün\n".as_bytes()), "grün\n");
        assert_eq!(raw_to_text(b"\x00\xff"), "00ff");
        assert_eq!(raw_to_text(b"\x1b[2J"), "1b5b324a");
        assert_eq!(
            to_json(Bytes::message_type(), b"a\"b").unwrap(),
            r#""a\"b""#
        );
    }
}
