//! Trades as an exchange answers them, in JSON.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Tick;

/// `{"error": [], "result": {"PAIR": [[price, volume, time, side, ..], ..], "last": ".."}}`, as Kraken's public API
/// answers `Trades`: price and volume are numbers or strings, the time is in seconds since 1970, the side is `"b"` or
/// `"s"`. What follows in a trade, and what else is in the result, is not looked at.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    error: Vec<String>,
    #[serde(default)]
    result: BTreeMap<String, Value>,
}

/// The trades as ticks: the price on both sides, the volume on the side that was taken. An error says what is wrong.
pub fn ticks(text: &str) -> Result<Vec<Tick>, String> {
    let answer: Answer = serde_json::from_str(text).map_err(|error| format!("{error}"))?;
    if let Some(error) = answer.error.first() {
        return Err(format!("the exchange answered an error, {error:?}"));
    }
    let lists = answer.result.iter();
    let mut lists = lists.filter_map(|(pair, value)| Some((pair, value.as_array()?)));
    let trades = match (lists.next(), lists.next()) {
        (Some((_, trades)), None) => trades,
        (None, _) => return Err("there is no list of trades in its \"result\"".to_owned()),
        (Some((first, _)), Some((second, _))) => {
            return Err(format!(
                "it has trades of {first} and of {second}: one pair can be replayed"
            ));
        }
    };
    let numbered = trades.iter().enumerate();
    numbered
        .map(|(index, trade)| tick(trade).map_err(|what| format!("trade {}: {what}", index + 1)))
        .collect()
}

fn tick(trade: &Value) -> Result<Tick, String> {
    let part = |index: usize| trade.get(index).unwrap_or(&Value::Null);
    let price = number(part(0), "price")?;
    let volume = number(part(1), "volume")?;
    let seconds = number(part(2), "time")?;
    if !(0.0..MOST_SECONDS).contains(&seconds) {
        return Err(format!("{seconds} is no time in seconds since 1970"));
    }
    let (bid_size, ask_size) = match part(3).as_str() {
        Some("b") => (0.0, volume),
        Some("s") => (volume, 0.0),
        _ => return Err(format!("{} is no side: \"b\" or \"s\"", part(3))),
    };
    Ok(Tick {
        ts_ns: (seconds * 1e9).round() as u64,
        bid: price,
        ask: price,
        bid_size,
        ask_size,
    })
}

fn number(value: &Value, what: &str) -> Result<f64, String> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_f64(),
    };
    number
        .filter(|number| number.is_finite())
        .ok_or_else(|| format!("{value} is no {what}"))
}

/// The year 2554, where nanoseconds end.
const MOST_SECONDS: f64 = 1.8e10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trade_is_a_quote_with_its_volume_on_the_side_that_was_taken() {
        let text = r#"{"error": [], "result": {"XBTUSDT": [
            ["105433.60000", "0.00027625", 1762795433.9717445, "b", "l", "", 10218208],
            [105410.1, 5, 1762795457, "s"]
        ], "last": "1762820035982277754"}}"#;
        let expected = [
            Tick {
                // As near as a float of seconds comes.
                ts_ns: 1_762_795_433_971_744_512,
                bid: 105_433.6,
                ask: 105_433.6,
                bid_size: 0.0,
                ask_size: 0.000_276_25,
            },
            Tick {
                ts_ns: 1_762_795_457_000_000_000,
                bid: 105_410.1,
                ask: 105_410.1,
                bid_size: 5.0,
                ask_size: 0.0,
            },
        ];
        assert_eq!(ticks(text).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_trade() {
        let of = |trades: &str| ticks(&format!("{{\"result\": {{\"P\": {trades}}}}}"));
        for (trades, what) in [
            (
                r#"[["1", "2", 3, "b"], ["x", "2", 3, "b"]]"#,
                "trade 2: \"x\" is no price",
            ),
            (r#"[["1", "inf", 3, "b"]]"#, "trade 1: \"inf\" is no volume"),
            (
                r#"[["1", "2", -3, "b"]]"#,
                "trade 1: -3 is no time in seconds",
            ),
            (r#"[["1", "2", 3, "buy"]]"#, "trade 1: \"buy\" is no side"),
            (r#"[["1", "2"]]"#, "trade 1: null is no time"),
            ("[7]", "trade 1: null is no price"),
            ("7", "no list of trades"),
            ("[], \"Q\": []", "trades of P and of Q"),
        ] {
            let error = of(trades).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
        assert!(ticks("{").unwrap_err().contains("EOF"));
        let refused = ticks(r#"{"error": ["EGeneral:Too many requests"]}"#).unwrap_err();
        assert!(refused.contains("Too many requests"), "{refused}");
    }
}
