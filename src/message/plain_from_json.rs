//! Turns JSON values without parts into the bytes of a message.

use serde_json::Value;

use super::Kind;

/// Stores the bytes of a value of this kind; else says what it should have been.
pub(super) fn store_plain(
    kind: &Kind,
    value: &Value,
    store: impl FnOnce(&[u8]),
) -> Result<(), String> {
    let stored = match kind {
        Kind::Unit => value.is_null().then_some(()),
        Kind::Bool => value.as_bool().map(|value| store(&[u8::from(value)])),
        Kind::Char => single_char(value).map(|value| store(&u32::from(value).to_le_bytes())),
        Kind::Float { bits: 32 } => value
            .as_f64()
            .map(|value| value as f32)
            .filter(|value| value.is_finite())
            .map(|value| store(&value.to_le_bytes())),
        Kind::Float { .. } => value.as_f64().map(|value| store(&value.to_le_bytes())),
        Kind::Unsigned { bits } => unsigned(value, *bits)
            .map(|value| store(&value.to_le_bytes()[..usize::from(*bits / 8)])),
        Kind::Signed { bits } => {
            signed(value, *bits).map(|value| store(&value.to_le_bytes()[..usize::from(*bits / 8)]))
        }
        _ => None,
    };
    stored.ok_or_else(|| match kind {
        Kind::Unit => "null".into(),
        Kind::Bool => "true or false".into(),
        Kind::Char => "a string of one character".into(),
        Kind::Float { bits } => format!("a number (f{bits})"),
        Kind::Unsigned { bits } => format!("a whole number from 0 to {}", most(*bits, 0)),
        Kind::Signed { bits } => {
            let most = most(*bits, 1);
            format!("a whole number from -{} to {most}", most + 1)
        }
        _ => "plain".into(),
    })
}

fn single_char(value: &Value) -> Option<char> {
    let mut chars = value.as_str()?.chars();
    chars.next().filter(|_| chars.next().is_none())
}

fn unsigned(value: &Value, bits: u8) -> Option<u128> {
    let number: u128 = match value {
        Value::String(text) if bits == 128 => text.parse().ok()?,
        value => value.as_u64()?.into(),
    };
    (number <= most(bits, 0)).then_some(number)
}

fn signed(value: &Value, bits: u8) -> Option<i128> {
    let number: i128 = match value {
        Value::String(text) if bits == 128 => text.parse().ok()?,
        value => match value.as_i64() {
            Some(number) => number.into(),
            None => value.as_u64()?.into(),
        },
    };
    let most = most(bits, 1) as i128;
    (-most - 1..=most).contains(&number).then_some(number)
}

/// The largest integer of so many bits, `sign_bits` of them for its sign.
fn most(bits: u8, sign_bits: u32) -> u128 {
    u128::MAX >> (128 - u32::from(bits) + sign_bits)
}
