//! What messages promise, seen from a user's types.

mod flat;
#[cfg(feature = "json")]
mod from_json;
mod hostile;
mod identity;
mod round_trip;
mod shapes;

use rkyv::rancor::Source;
use rkyv::ser::{Allocator, Writer};
use rkyv::util::AlignedVec;
use rkyv::validation::ArchiveContext;
use rkyv::{Archive, Serialize};

use super::{EncodeError, Message, Scratch};
use crate::{Describe, Message};

#[derive(Archive, Serialize, Message, Clone, Debug)]
#[message(name = "md.quote")]
struct Quote {
    bid: f64,
    ask: f64,
    venue: u16,
    firm: bool,
}

#[derive(Archive, Serialize, Describe, Clone, Debug)]
#[repr(u8)]
enum Side {
    Buy,
    Sell = 4,
    Limit { price: f64, tag: u8 },
    Pair(u8, u32),
    One(String),
}

#[derive(Archive, Serialize, Describe, Clone, Debug)]
struct Leg {
    quote: Quote,
    sides: Vec<Side>,
}

#[derive(Archive, Serialize, Describe, Clone, Copy, Debug)]
struct Price(i64);

#[derive(Archive, Serialize, Message, Clone, Debug)]
#[message(name = "test.everything", version = 3)]
struct Everything {
    nothing: (),
    letter: char,
    small: (i8, u16),
    mixed: (u8, i64, bool, i16),
    wide: u128,
    narrow: i128,
    single: f32,
    price: Price,
    short: String,
    long: String,
    r#type: Option<u32>,
    absent: Option<String>,
    grid: [[u16; 2]; 3],
    names: Vec<String>,
    boxed: Box<Leg>,
    slice: Box<[(u8, String)]>,
}

/// Contains itself.
#[derive(Archive, Serialize, Message, Clone, Debug)]
#[rkyv(serialize_bounds(__S: Writer + Allocator, __S::Error: Source))]
#[rkyv(bytecheck(bounds(__C: ArchiveContext, __C::Error: Source)))]
#[message(name = "test.chain")]
struct Chain {
    value: u32,
    #[rkyv(omit_bounds)]
    next: Option<Box<Chain>>,
}

fn quote() -> Quote {
    Quote {
        bid: 1.5,
        ask: -2.25,
        venue: 7,
        firm: true,
    }
}

fn everything() -> Everything {
    let sides = vec![
        Side::Buy,
        Side::Sell,
        Side::Limit { price: 0.5, tag: 9 },
        Side::Pair(1, 70_000),
        Side::One("x".into()),
    ];
    Everything {
        nothing: (),
        letter: 'ü',
        small: (-1, 2),
        mixed: (1, -2, true, -3),
        wide: u128::MAX,
        narrow: -1,
        single: f32::NAN,
        price: Price(-12),
        short: "eight by".into(),
        long: "nine byte \"quoted\"".into(),
        r#type: Some(5),
        absent: None,
        grid: [[1, 2], [3, 4], [5, 6]],
        names: vec![String::new(), "a".into(), "a longer name".repeat(20)],
        boxed: Box::new(Leg {
            quote: quote(),
            sides,
        }),
        slice: vec![(1, "one".into()), (2, "two".into())].into(),
    }
}

/// A value's bytes, aligned as in a ring.
fn encoded<M: Message + ?Sized>(value: &M) -> AlignedVec<16> {
    let mut scratch = Scratch::new();
    let needed = value.encoded_len(&mut scratch).unwrap();
    let mut room = vec![0xee_u8; needed + 16];
    let start = room.as_ptr().align_offset(16);
    let exact = &mut room[start..][..needed];
    let shorter = needed.saturating_sub(1);
    if needed > 0 {
        let refused = value.encode(&mut exact[..shorter], &mut scratch);
        assert_eq!(
            refused,
            Err(EncodeError::NoRoom {
                room_bytes: shorter
            })
        );
    }
    assert_eq!(value.encode(exact, &mut scratch), Ok(needed));
    let mut bytes = AlignedVec::new();
    bytes.extend_from_slice(exact);
    bytes
}
