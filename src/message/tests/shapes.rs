//! Lists of values, and headers with a tail, as messages.

use rkyv::util::AlignedVec;
use rkyv::{Archive, Serialize};

use super::encoded;
use crate::message::{
    Describe as _, Lend as _, Message as _, MessageType, Slice, ViewError, WithTail,
};
use crate::{Describe, Message};

#[derive(Archive, Serialize, Message, Clone, Copy, Debug, PartialEq)]
#[rkyv(derive(Debug))]
#[message(name = "test.frame", version = 2, conflate = false)]
pub(super) struct Frame {
    number: u64,
    size: [u16; 2],
    color: bool,
    rest: [u8; 3],
}

/// Any bits will do.
#[derive(Archive, Serialize, Describe, Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    left: f32,
    right: [i16; 2],
}

#[derive(Archive, Serialize, Describe)]
#[rkyv(bytecheck(bounds()))]
struct CheckedInItsWay {
    value: u32,
}

pub(super) type Image = WithTail<Frame>;
pub(super) type Blocks = WithTail<Frame, Sample, 4096>;

fn frame() -> Frame {
    Frame {
        number: 7,
        size: [640, 480],
        color: true,
        rest: [1, 2, 3],
    }
}

pub(super) fn image(len: usize) -> Image {
    WithTail {
        header: frame(),
        tail: (0..len).map(|byte| byte as u8).collect(),
    }
}

fn sample(value: f32) -> Sample {
    Sample {
        left: value,
        right: [-1, 1],
    }
}

#[test]
fn what_can_have_any_bits_is_known_by_its_parts() {
    assert!(u8::ANY_BITS.holds() && f64::ANY_BITS.holds() && <[[i128; 2]; 3]>::ANY_BITS.holds());
    assert!(Sample::ANY_BITS.holds() && <[Sample; 2]>::ANY_BITS.holds());
    assert!(!bool::ANY_BITS.holds() && !char::ANY_BITS.holds() && !String::ANY_BITS.holds());
    assert!(!Frame::ANY_BITS.holds() && !<[Frame; 1]>::ANY_BITS.holds());
    assert!(!super::Side::ANY_BITS.holds() && !Vec::<u8>::ANY_BITS.holds());
    assert!(!CheckedInItsWay::ANY_BITS.holds());
}

#[test]
fn a_slice_is_its_values_one_after_the_other() {
    let values = [1_u32, 2, u32::MAX];
    let bytes = encoded(Slice::new(&values));
    assert_eq!(&bytes[..], [1, 0, 0, 0, 2, 0, 0, 0, 255, 255, 255, 255]);
    assert_eq!(Slice::<u32>::view(&bytes).unwrap(), values);
    assert!(encoded(Slice::<u32>::new(&[])).is_empty());
    assert!(Slice::<u32>::view(&[]).unwrap().is_empty());
    let samples = [sample(0.5), sample(-1.0)];
    let bytes = encoded(Slice::new(&samples));
    assert_eq!(Slice::<Sample>::view(&bytes).unwrap(), samples);
}

#[test]
fn a_slice_checks_length_and_alignment_alone() {
    let mut bytes = AlignedVec::<16>::new();
    bytes.extend_from_slice(&[0xff; 64]);
    assert_eq!(Slice::<u64>::view(&bytes).unwrap().len(), 8);
    for wrong in [&bytes[..7], &bytes[..63], &bytes[4..12], &bytes[1..9]] {
        assert!(Slice::<u64>::view(wrong).is_err(), "{}", wrong.len());
    }
    assert_eq!(Slice::<u8>::view(&bytes[1..8]).unwrap().len(), 7);
}

#[test]
fn a_tail_begins_where_it_is_aligned() {
    let bytes = encoded(&image(3));
    assert_eq!((Image::TAIL_OFFSET, bytes.len()), (64, 67));
    let mut golden = vec![7, 0, 0, 0, 0, 0, 0, 0, 128, 2, 224, 1, 1, 1, 2, 3];
    // What was there before is not sent along.
    golden.resize(64, 0);
    golden.extend([0, 1, 2]);
    assert_eq!(&bytes[..], golden);
    let view = Image::view(&bytes).unwrap();
    assert_eq!(view.header().size[1], 480);
    assert_eq!(view.tail(), [0, 1, 2]);
    assert_eq!(Blocks::TAIL_OFFSET, 4096);
    let blocks = Blocks {
        header: frame(),
        tail: vec![sample(0.25); 5],
    };
    let bytes = encoded(&blocks);
    assert_eq!(bytes.len(), 4096 + 5 * 8);
    assert_eq!(Blocks::view(&bytes).unwrap().tail(), blocks.tail);
}

#[test]
fn a_header_with_a_tail_checks_all_that_can_be_wrong() {
    let valid = encoded(&image(40));
    assert!(Image::view(&valid[..64]).unwrap().tail().is_empty());
    for len in [0, 15, 16, 63] {
        assert!(Image::view(&valid[..len]).is_err(), "{len}");
    }
    let ViewError { reason } = Image::view(&valid[4..]).map(drop).unwrap_err();
    assert!(reason.contains("header"), "{reason}");
    let mut bytes = valid.clone();
    bytes[12] = 2;
    assert!(Image::view(&bytes).is_err(), "2 is no bool");
    let blocks = encoded(&Blocks {
        header: frame(),
        tail: vec![sample(1.0)],
    });
    assert!(Blocks::view(&blocks[..4100]).is_err(), "half an element");
    assert!(Blocks::view(&blocks[..4095]).is_err());
}

#[test]
fn the_identity_covers_header_elements_and_alignment() {
    let image = Image::message_type();
    assert_eq!(image.to_string(), "test.frame+tail v2");
    const { assert!(!<Image as crate::message::Message>::CONFLATES) };
    assert!(std::ptr::eq(image, Image::message_type()));
    for message_type in [
        image,
        Blocks::message_type(),
        Slice::<u64>::message_type(),
        Slice::<[u8; 3]>::message_type(),
        Slice::<Sample>::message_type(),
        WithTail::<Frame, u8, 4096>::message_type(),
    ] {
        message_type.validate().unwrap();
    }
    let difference = |other: &MessageType| {
        let difference = image.difference(other).unwrap().to_string();
        assert_ne!(image.fingerprint, other.fingerprint);
        difference
    };
    assert_eq!(
        difference(WithTail::<Frame, u16>::message_type()),
        "field `tail` at offset 64 is u8 here, u16 there"
    );
    let wider = WithTail::<Frame, u8, 128>::message_type();
    let difference_of_alignment = difference(wider);
    assert!(
        difference_of_alignment.contains("a struct of 4 fields with [u8]"),
        "{difference_of_alignment}"
    );
    let ints = Slice::<u32>::message_type();
    let floats = Slice::<f32>::message_type();
    assert_eq!(
        ints.difference(floats).unwrap().to_string(),
        "field `tail` at offset 0 is u32 here, f32 there"
    );
}

#[derive(Archive, Serialize, Message, Clone, Copy, Debug, PartialEq)]
#[repr(C)]
#[message(name = "test.level")]
struct Level {
    price: f64,
    sizes: [u32; 2],
}

#[test]
fn what_is_written_in_place_is_what_is_read() {
    let mut bytes = AlignedVec::<16>::new();
    bytes.resize(16, 0xff);
    let level = Level::content_mut(&mut bytes).unwrap();
    *level = Level {
        price: 1.5,
        sizes: [1, 2],
    };
    assert_eq!(Level::content(&bytes).unwrap().sizes, [1, 2]);
    assert_eq!(Level::view(&bytes).unwrap().price, 1.5);
    for wrong in [0, 8, 15, 32] {
        bytes.resize(wrong, 0);
        assert!(Level::content_mut(&mut bytes).is_err(), "{wrong}");
        assert!(Level::content(&bytes).is_err(), "{wrong}");
    }

    let mut bytes = encoded(&image(3));
    Image::content_mut(&mut bytes).unwrap()[2] = 9;
    assert_eq!(Image::content(&bytes).unwrap(), [0, 1, 9]);
    assert_eq!(Image::view(&bytes).unwrap().tail(), [0, 1, 9]);
    assert!(Image::content_mut(&mut bytes[..63]).is_err());

    let mut bytes = encoded(Slice::new(&[0.5_f64, 0.0]));
    Slice::<f64>::content_mut(&mut bytes).unwrap()[1] = 2.0;
    assert_eq!(Slice::<f64>::view(&bytes).unwrap(), [0.5, 2.0]);
    assert!(Slice::<f64>::content_mut(&mut bytes[4..12]).is_err());
}

#[cfg(feature = "json")]
#[test]
fn tails_are_arrays_in_json() {
    use crate::message::{from_json, to_json};
    let text =
        r#"{"header":{"number":7,"size":[640,480],"color":true,"rest":[1,2,3]},"tail":[0,1]}"#;
    let bytes = encoded(&image(2));
    assert_eq!(to_json(Image::message_type(), &bytes).unwrap(), text);
    assert_eq!(from_json(Image::message_type(), text).unwrap(), bytes[..]);
    let floats = encoded(Slice::new(&[0.5_f32, -2.0]));
    let floats_type = Slice::<f32>::message_type();
    assert_eq!(to_json(floats_type, &floats).unwrap(), "[0.5,-2.0]");
    assert_eq!(from_json(floats_type, "[0.5, -2]").unwrap(), floats[..]);
    for (text, error) in [
        (
            "[1]",
            "the message has to be an object of `header` and `tail`, not [1]",
        ),
        (
            r#"{"header":{"number":7,"size":[1,2],"color":true,"rest":[1,2,3]},"tail":[256]}"#,
            "`tail[0]` has to be a whole number from 0 to 255, not 256",
        ),
        (
            r#"{"header":{"number":7,"size":[1,2],"color":3,"rest":[1,2,3]},"tail":[]}"#,
            "`header.color` has to be true or false, not 3",
        ),
    ] {
        let found = from_json(Image::message_type(), text).unwrap_err();
        assert_eq!(found.to_string(), error);
    }
}
