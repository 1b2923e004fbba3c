//! No bytes that a peer can send do more than end in an error.

use proptest::prelude::*;
use rkyv::util::AlignedVec;

use super::shapes::{Blocks, Image, Sample};
use super::{Chain, Everything, Quote, encoded, everything};
use crate::message::{
    Bytes, Field, Kind, Layout, LayoutError, Message, MessageType, Slice, TypeIndex, TypeLayout,
};

fn aligned(bytes: &[u8]) -> AlignedVec<16> {
    let mut copy = AlignedVec::new();
    copy.extend_from_slice(bytes);
    copy
}

/// Looks at `bytes` in every way there is; what is a valid view has a JSON form.
fn look<M: Message + ?Sized>(bytes: &[u8]) {
    let valid = M::view(bytes).is_ok();
    #[cfg(feature = "json")]
    {
        let json = crate::message::to_json(M::message_type(), bytes);
        assert!(!valid || json.is_ok(), "{json:?}");
        if let Ok(json) = json {
            serde_json::from_str::<serde_json::Value>(&json).unwrap();
        }
    }
    let _ = valid;
}

/// `count` links, each pointing to the one before it, the root last.
fn chain_bytes(count: usize) -> AlignedVec<16> {
    let mut bytes = AlignedVec::new();
    for index in 0..count as u32 {
        let tag = u32::from(index > 0);
        for word in [index, tag, if index > 0 { -20_i32 as u32 } else { 0 }] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    bytes
}

#[test]
fn deep_archives_are_refused_before_the_stack_ends() {
    assert!(Chain::view(&chain_bytes(100)).is_ok());
    let deep = chain_bytes(if cfg!(miri) { 1_000 } else { 100_000 });
    assert!(Chain::view(&deep).is_err());
    #[cfg(feature = "json")]
    {
        use crate::message::{JsonError, to_json};
        assert!(to_json(Chain::message_type(), &chain_bytes(100)).is_ok());
        assert_eq!(
            to_json(Chain::message_type(), &deep),
            Err(JsonError::Nested)
        );
    }
}

#[test]
fn a_link_to_itself_is_refused() {
    let mut bytes = chain_bytes(2);
    bytes[20..24].copy_from_slice(&(-8_i32).to_le_bytes());
    assert!(Chain::view(&bytes).is_err());
    #[cfg(feature = "json")]
    assert!(crate::message::to_json(Chain::message_type(), &bytes).is_err());
}

#[cfg(feature = "json")]
#[test]
#[cfg_attr(miri, ignore)]
fn bytes_that_are_referred_to_over_and_over_are_refused() {
    let strings = MessageType::of::<Vec<String>>("test.strings", 1);
    let (text_len, count) = (64 * 1024_u32, 4096_u32);
    let mut bytes = vec![b'x'; text_len as usize];
    for index in 0..count {
        let offset = -((text_len + index * 8) as i32);
        let packed = (text_len & 0x3f) | 0x80 | ((text_len & !0x3f) << 2);
        bytes.extend(packed.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
    }
    bytes.extend((-((count * 8) as i32)).to_le_bytes());
    bytes.extend(count.to_le_bytes());
    assert_eq!(
        crate::message::to_json(&strings, &bytes),
        Err(crate::message::JsonError::Amplified)
    );
}

#[test]
fn unaligned_or_short_bytes_are_an_error() {
    let bytes = encoded(&super::quote());
    let mut shifted = AlignedVec::<16>::new();
    shifted.push(0);
    shifted.extend_from_slice(&bytes);
    assert!(Quote::view(&bytes).is_ok());
    assert!(Quote::view(&shifted[1..]).is_err());
    for len in 0..bytes.len() {
        assert!(Quote::view(&bytes[..len]).is_err());
    }
}

#[test]
fn no_flipped_bit_and_no_cut_does_harm() {
    let valid = encoded(&everything());
    let step = if cfg!(miri) { 997 } else { 1 };
    for bit in (0..valid.len() * 8).step_by(step) {
        let mut bytes = valid.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        look::<Everything>(&bytes);
    }
    for len in (0..valid.len()).step_by(step) {
        look::<Everything>(&valid[..len]);
        look::<Everything>(&aligned(&valid[len..]));
    }
}

fn layout(types: &[(u32, u32, Kind)]) -> Layout {
    let entry = |(size_bytes, align_bytes, kind): &(u32, u32, Kind)| TypeLayout {
        size_bytes: *size_bytes,
        align_bytes: *align_bytes,
        kind: kind.clone(),
    };
    Layout {
        types: types.iter().map(entry).collect(),
    }
}

fn field(offset_bytes: u32, index: u32) -> Field {
    Field {
        name: "f".into(),
        offset_bytes,
        layout: TypeIndex(index),
    }
}

const BYTE: (u32, u32, Kind) = (1, 1, Kind::Unsigned { bits: 8 });

/// A header of 16 bytes, and elements.
fn tail(size_bytes: u32, align_bytes: u32, element: (u32, u32, Kind)) -> Layout {
    let kind = Kind::Tail {
        header: TypeIndex(1),
        element: TypeIndex(2),
        align_bytes,
    };
    let header = (16, 16, Kind::Unsigned { bits: 128 });
    layout(&[(size_bytes, 16, kind), header, element])
}

#[test]
fn a_false_layout_is_refused() {
    assert_eq!(tail(64, 64, BYTE).validate(), Ok(()));
    let number = (4, 4, Kind::Unsigned { bits: 32 });
    let cases = [
        (layout(&[]), LayoutError::Types { count: 0 }),
        (
            layout(&[(4, 4, Kind::Boxed(TypeIndex(1)))]),
            LayoutError::Reference { at: 0, index: 1 },
        ),
        (
            layout(&[(4, 3, Kind::Unsigned { bits: 32 })]),
            LayoutError::Shape { at: 0 },
        ),
        (
            layout(&[(4, 4, Kind::Unsigned { bits: 33 })]),
            LayoutError::Shape { at: 0 },
        ),
        (
            layout(&[(0, 1, Kind::Raw), (0, 1, Kind::Raw)]),
            LayoutError::Shape { at: 0 },
        ),
        (
            layout(&[(4, 4, Kind::Struct(vec![field(4, 1)])), number.clone()]),
            LayoutError::Outside {
                at: 0,
                end_bytes: 8,
                size_bytes: 4,
            },
        ),
        (
            layout(&[(8, 4, Kind::Struct(vec![field(2, 1)])), number]),
            LayoutError::Shape { at: 0 },
        ),
        (
            layout(&[(0, 1, Kind::Struct(vec![field(0, 0), field(0, 0)]))]),
            LayoutError::Nested { at: 0 },
        ),
        (
            layout(&[(8, 4, Kind::List(TypeIndex(1))), (0, 1, Kind::Unit)]),
            LayoutError::Shape { at: 0 },
        ),
        // Of a wrong alignment, length; with elements that have no size, or point elsewhere; of what is not the message.
        (tail(64, 3, BYTE), LayoutError::Shape { at: 0 }),
        (tail(64, 8192, BYTE), LayoutError::Shape { at: 0 }),
        (tail(128, 64, BYTE), LayoutError::Shape { at: 0 }),
        (
            tail(64, 64, (0, 1, Kind::Unit)),
            LayoutError::Shape { at: 0 },
        ),
        (
            tail(64, 64, (8, 4, Kind::String)),
            LayoutError::Shape { at: 0 },
        ),
        (
            layout(&[
                (4, 4, Kind::Boxed(TypeIndex(1))),
                (
                    0,
                    1,
                    Kind::Tail {
                        header: TypeIndex(2),
                        element: TypeIndex(3),
                        align_bytes: 1,
                    },
                ),
                (0, 1, Kind::Unit),
                BYTE,
            ]),
            LayoutError::Shape { at: 1 },
        ),
    ];
    for (layout, error) in cases {
        assert_eq!(layout.validate(), Err(error), "{layout:?}");
    }
}

#[test]
fn a_false_fingerprint_is_refused() {
    let mut claimed = Quote::message_type().clone();
    claimed.fingerprint ^= 1;
    assert!(matches!(
        claimed.validate(),
        Err(LayoutError::Fingerprint { .. })
    ));
}

fn any_kind() -> impl Strategy<Value = Kind> {
    let index = || (0_u32..4).prop_map(TypeIndex);
    let fields = || {
        let any_field = ("[a0]?", 0_u32..12, index());
        prop::collection::vec(any_field, 0..3).prop_map(|list| {
            list.into_iter()
                .map(|(name, offset_bytes, layout)| Field {
                    name,
                    offset_bytes,
                    layout,
                })
                .collect()
        })
    };
    let variant = (0_u8..3, fields()).prop_map(|(tag, fields)| crate::message::Variant {
        name: "v".into(),
        tag,
        fields,
    });
    prop_oneof![
        Just(Kind::Unit),
        Just(Kind::Bool),
        (0_u8..130).prop_map(|bits| Kind::Unsigned { bits }),
        Just(Kind::Float { bits: 64 }),
        Just(Kind::Char),
        Just(Kind::String),
        Just(Kind::Raw),
        fields().prop_map(Kind::Struct),
        prop::collection::vec(variant, 0..3).prop_map(Kind::Enum),
        index().prop_map(Kind::List),
        index().prop_map(Kind::Option),
        index().prop_map(Kind::Boxed),
        (index(), any::<u32>()).prop_map(|(element, len)| Kind::Array { element, len }),
        (index(), index(), prop_oneof![0_u32..20, any::<u32>()]).prop_map(
            |(header, element, align_bytes)| Kind::Tail {
                header,
                element,
                align_bytes,
            }
        ),
    ]
}

fn any_layout() -> impl Strategy<Value = Layout> {
    let entry = (
        0_u32..17,
        prop_oneof![Just(1_u32), Just(4), Just(0), any::<u32>()],
        any_kind(),
    );
    prop::collection::vec(entry, 0..5).prop_map(|entries| layout(&entries))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore)]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let bytes = aligned(&bytes);
        look::<Everything>(&bytes);
        look::<Chain>(&bytes);
        look::<Quote>(&bytes);
        look::<Bytes>(&bytes);
        look::<Image>(&bytes);
        look::<Slice<Sample>>(&bytes);
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn arbitrary_headers_and_tails_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 4000..4200), cut in 0_usize..4200) {
        let bytes = aligned(&bytes);
        look::<Blocks>(&bytes);
        look::<Image>(&bytes[..cut.min(bytes.len())]);
        look::<Image>(&bytes[cut.min(bytes.len())..]);
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn several_changes_of_a_valid_message_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = encoded(&everything());
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        look::<Everything>(&bytes);
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn arbitrary_layouts_do_no_harm(here in any_layout(), there in any_layout(), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = here.validate();
        let (here, there) = (MessageType::new("t", 1, here), MessageType::new("t", 1, there));
        let _ = here.difference(&there).map(|difference| difference.to_string());
        #[cfg(feature = "json")]
        {
            let _ = crate::message::to_json(&here, &bytes);
            for text in ["{}", "[]", "[[1], 2]", "0", "null", "\"long enough for the heap\"", "{\"a\": 1}"] {
                if let Ok(made) = crate::message::from_json(&here, text) {
                    let _ = crate::message::to_json(&here, &made);
                }
            }
        }
        #[cfg(not(feature = "json"))]
        let _ = bytes;
    }
}
