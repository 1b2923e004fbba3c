//! What the codec promises, for whatever a peer may send.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::message::{Field, Kind, Layout, MessageType, TypeIndex, TypeLayout, Variant};

const FRAME_BYTES: u32 = 64 * 1024;

fn publisher_spec() -> PublisherSpec {
    PublisherSpec {
        topic: "md/quote/*".into(),
        message_type: MessageType::of::<f64>("md.quote", 1),
        max_message_bytes: 64,
        block_cap: Some(Duration::from_millis(5)),
        history: 0,
        conflates: true,
    }
}

fn frame() -> impl Strategy<Value = ToBroker> {
    let names = || proptest::collection::vec(".{0,20}", 0..4);
    prop_oneof![
        ".{0,40}".prop_map(|name| ToBroker::Hello { name }),
        Just(ToBroker::Received),
        Just(ToBroker::OpenPublisher {
            request: 1,
            publisher: 2,
            spec: publisher_spec()
        }),
        (any::<u64>(), any::<u32>(), names(), names()).prop_map(
            |(request, subscriber, add, remove)| ToBroker::ChangePatterns {
                request,
                subscriber,
                add,
                remove
            }
        ),
        (any::<u64>(), names()).prop_map(|(query, topics)| ToBroker::LiveTopics { query, topics }),
    ]
}

fn pull_all(decoder: &mut Decoder<ToBroker>) -> Vec<(ToBroker, usize)> {
    std::iter::from_fn(|| decoder.pull().unwrap())
        .map(|decoded| (decoded.frame, decoded.descriptors))
        .collect()
}

proptest! {
    #[test]
    fn a_stream_cut_anywhere_gives_the_same_frames(
        frames in proptest::collection::vec((frame(), 0..=MAX_DESCRIPTORS), 0..6),
        cuts in proptest::collection::vec(1_usize..40, 1..20),
    ) {
        let stream: Vec<u8> =
            frames.iter().flat_map(|(frame, count)| encode(frame, *count, FRAME_BYTES).unwrap()).collect();
        let mut decoder = Decoder::new(FRAME_BYTES);
        let (mut got, mut rest) = (Vec::new(), stream.as_slice());
        for cut in cuts.into_iter().cycle() {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            decoder.push(now);
            got.extend(pull_all(&mut decoder));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(got, frames);
        prop_assert!(decoder.is_empty());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::<ToBroker>::new(FRAME_BYTES);
        decoder.push(&bytes);
        while let Ok(Some(_)) = decoder.pull() {}
        let mut body = Vec::from((bytes.len() as u32).to_le_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&bytes);
        let mut decoder = Decoder::<ToClient>::new(FRAME_BYTES);
        decoder.push(&body);
        let _ = decoder.pull();
    }

    #[test]
    fn one_changed_byte_never_panics(frame in frame(), at in any::<prop::sample::Index>(), with in 1_u8..) {
        let mut bytes = encode(&frame, 0, FRAME_BYTES).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= with;
        let mut decoder = Decoder::<ToBroker>::new(FRAME_BYTES);
        decoder.push(&bytes);
        let _ = decoder.pull();
    }
}

fn refused(bytes: &[u8]) -> DecodeError {
    let mut decoder = Decoder::<ToBroker>::new(FRAME_BYTES);
    decoder.push(bytes);
    let error = decoder.pull().unwrap_err();
    assert_eq!(decoder.pull().unwrap_err().to_string(), error.to_string());
    error
}

#[test]
fn a_header_is_refused_before_its_body_is_awaited() {
    assert!(matches!(
        refused(&[1, 0, 1, 0, 0, 0, 0, 0]),
        DecodeError::TooLarge {
            len: 0x1_0001,
            limit: FRAME_BYTES
        }
    ));
    assert!(matches!(
        refused(&[8, 0, 0, 0, 7, 0, 0, 0]),
        DecodeError::Descriptors {
            count: 7,
            limit: MAX_DESCRIPTORS
        }
    ));
    assert!(matches!(
        refused(&[8, 0, 0, 0, 0, 0, 0, 1]),
        DecodeError::Reserved { found: [0, 0, 1] }
    ));
}

#[test]
fn an_empty_body_is_malformed() {
    assert!(matches!(
        refused(&[0; 8]),
        DecodeError::Malformed { len: 0, .. }
    ));
}

#[test]
fn what_the_receiver_would_refuse_is_not_sent() {
    let frame = ToBroker::Hello {
        name: "x".repeat(100),
    };
    assert!(matches!(
        encode(&frame, 0, 99),
        Err(EncodeError::TooLarge { limit: 99, .. })
    ));
    assert!(matches!(
        encode(&frame, 7, 1000),
        Err(EncodeError::Descriptors {
            count: 7,
            limit: MAX_DESCRIPTORS
        })
    ));
}

#[test]
fn the_deepest_frame_is_accepted() {
    let field = Field {
        name: "a longer name".into(),
        offset_bytes: 0,
        layout: TypeIndex(0),
    };
    let variant = Variant {
        name: "a longer name".into(),
        tag: 0,
        fields: vec![field; 3],
    };
    let kind = Kind::Enum(vec![variant; 3]);
    let entry = TypeLayout {
        size_bytes: 8,
        align_bytes: 8,
        kind,
    };
    let layout = Layout {
        types: vec![entry; 3],
    };
    let publisher = PublisherInfo {
        client: 1,
        client_name: "a longer name".into(),
        topic: "a/longer/topic".into(),
        message_type: MessageType::new("a longer name", 1, layout),
        lanes: 1,
        type_mismatches: 0,
        history: 0,
        live_topics: Some(vec!["a/longer/topic".into(); 1000]),
    };
    let part = Listing {
        publishers: vec![publisher; 3],
        subscribers: Vec::new(),
    };
    let frame = ToClient::Listed {
        request: 1,
        part,
        last: true,
    };
    let mut decoder = Decoder::<ToClient>::new(FRAME_BYTES * 2);
    decoder.push(&encode(&frame, 0, FRAME_BYTES * 2).unwrap());
    assert_eq!(decoder.pull().unwrap().unwrap().frame, frame);
}

fn golden(name: &str, bytes: &[u8]) {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let document = include_str!("../../docs/control-protocol.md");
    assert!(
        document.contains(&format!("`{hex}`")),
        "docs/control-protocol.md lacks {name}: {hex}"
    );
}

/// A change of these bytes is a change of the protocol, or of rkyv's features.
#[test]
fn frames_have_these_bytes() {
    golden(
        "Hello",
        &encode(
            &ToBroker::Hello {
                name: "demo".into(),
            },
            0,
            FRAME_BYTES,
        )
        .unwrap(),
    );
    golden(
        "Ping",
        &encode(&ToBroker::Ping { request: 0x0102 }, 0, FRAME_BYTES).unwrap(),
    );
    let accept = ToBroker::AcceptLane {
        lane: 3,
        segment: SegmentSource::Descriptor,
        area: 4,
    };
    golden("AcceptLane", &encode(&accept, 2, FRAME_BYTES).unwrap());
    golden(
        "Pong",
        &encode(&ToClient::Pong { request: 0x0102 }, 0, FRAME_BYTES).unwrap(),
    );
    let welcome = Welcome {
        client: 1,
        incarnation: 2,
        epoch_index: 3,
        epochs: SegmentSource::Descriptor,
        limits: Limits::default(),
    };
    golden(
        "Welcome",
        &encode(&ToClient::Welcome(welcome), 1, FRAME_BYTES).unwrap(),
    );
}
