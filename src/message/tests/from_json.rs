//! JSON becomes the bytes that the values themselves become.

use super::{Chain, Everything, encoded, everything};
use crate::message::{Bytes, Describe, FromJsonError, Message, MessageType, from_json, to_json};

fn refused(message_type: &MessageType, text: &str) -> String {
    from_json(message_type, text).unwrap_err().to_string()
}

fn type_of<T: Describe>() -> MessageType {
    MessageType::of::<T>("test.type", 1)
}

#[test]
fn the_bytes_are_those_of_the_value() {
    let value = Everything {
        single: 0.5,
        ..everything()
    };
    let bytes = encoded(&value);
    let json = to_json(Everything::message_type(), &bytes).unwrap();
    let made = from_json(Everything::message_type(), &json).unwrap();
    assert_eq!(to_json(Everything::message_type(), &made).unwrap(), json);
    assert_eq!(made, bytes.as_slice());
}

#[test]
fn a_chain_has_the_bytes_of_the_value() {
    let inner = Chain {
        value: 2,
        next: None,
    };
    let chain = Chain {
        value: 1,
        next: Some(Box::new(inner)),
    };
    let json = r#"{"next": {"next": null, "value": 2}, "value": 1}"#;
    let made = from_json(Chain::message_type(), json).unwrap();
    assert_eq!(made, encoded(&chain).as_slice());
}

#[test]
fn texts_of_every_length_are_stored_as_rkyv_does() {
    let texts: Vec<String> = (0..if cfg!(miri) { 12 } else { 200 })
        .map(|len| "é".repeat(len / 2) + &"x".repeat(len % 2))
        .collect();
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&texts).unwrap();
    let json = serde_json::to_string(&texts).unwrap();
    let made = from_json(&type_of::<Vec<String>>(), &json).unwrap();
    assert_eq!(made, bytes.as_slice());
}

#[test]
fn numbers_become_the_nearest_ones() {
    // The naive way of reading this one is off by one place.
    let made = from_json(&type_of::<f64>(), "31.245270191439438").unwrap();
    assert_eq!(made, 31.245270191439438_f64.to_le_bytes());
    let made = from_json(&type_of::<u64>(), "18446744073709551615").unwrap();
    assert_eq!(made, u64::MAX.to_le_bytes());
    let made = from_json(&type_of::<i64>(), "-9223372036854775808").unwrap();
    assert_eq!(made, i64::MIN.to_le_bytes());
}

#[test]
fn a_message_without_a_structure_is_a_string() {
    let made = from_json(Bytes::message_type(), r#""a\"b""#).unwrap();
    assert_eq!(made, b"a\"b");
    assert_eq!(
        refused(Bytes::message_type(), "7"),
        "the message has to be a string, not 7"
    );
}

#[test]
fn an_error_names_the_field() {
    let good = to_json(
        Everything::message_type(),
        &encoded(&Everything {
            single: 0.5,
            ..everything()
        }),
    );
    let good = good.unwrap();
    for (from, to, error) in [
        (
            "\"price\":-12",
            "\"price\":1.5",
            "`price` has to be a whole number from ",
        ),
        (
            "[3,4]",
            "[3,70000]",
            "`grid[1][1]` has to be a whole number from 0 to 65535, not 70000",
        ),
        (
            "[3,4],",
            "",
            "`grid` has to be an array of 3, not [[1,2],[5,6]]",
        ),
        (
            "[-1,2]",
            "[-129,2]",
            "`small[0]` has to be a whole number from -128 to 127, not -129",
        ),
        ("\"venue\":7,", "", "`boxed.quote.venue` is missing"),
        (
            "\"venue\":7,",
            "\"venue\":7,\"desk\":1,",
            "there is no field `boxed.quote.desk`: the fields are bid, ask, venue, firm",
        ),
        (
            "\"firm\":true",
            "\"firm\":1",
            "`boxed.quote.firm` has to be true or false, not 1",
        ),
        (
            "\"Buy\"",
            "\"Hold\"",
            "`boxed.sides[0]` has to be \"Buy\" or \"Sell\" or {\"Limit\": ..}",
        ),
        (
            "\"tag\":9",
            "\"tag\":256",
            "`boxed.sides[2].Limit.tag` has to be a whole number from 0 to 255, not 256",
        ),
        (
            "\"letter\":\"ü\"",
            "\"letter\":\"xy\"",
            "`letter` has to be a string of one character, not \"xy\"",
        ),
        ("\"two\"", "2", "`slice[1][1]` has to be a string, not 2"),
        (
            "\"wide\":\"3",
            "\"wide\":\"-3",
            "`wide` has to be a whole number from 0 to 340282366920938463463374607431768211455",
        ),
    ] {
        let wrong = good.replacen(from, to, 1);
        assert_ne!(wrong, good, "{from}");
        let told = refused(Everything::message_type(), &wrong);
        assert!(told.contains(error), "{told} instead of {error}");
    }
    assert!(refused(Everything::message_type(), "{\"a\":").starts_with("this is not JSON: EOF"));
    assert!(refused(&type_of::<f32>(), "1e300").contains("a number (f32)"));
}

#[test]
fn what_a_layout_can_ask_for_is_bounded() {
    let huge = type_of::<[[u64; 1 << 12]; 1 << 12]>();
    assert!(matches!(
        from_json(&huge, "[]"),
        Err(FromJsonError::TooLarge { .. })
    ));
    let mut wrong = type_of::<u8>();
    wrong.fingerprint += 1;
    assert!(matches!(
        from_json(&wrong, "1"),
        Err(FromJsonError::Layout(_))
    ));
}
