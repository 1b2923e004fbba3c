//! Values as JSON, of a type that others on the topic use.

use std::borrow::Cow;

use ringmain::message::{Kind, MessageType, TypeIndex, from_json};
use ringmain::{Client, ListTopics, RequestError, Topic};

use crate::ending::Failure;

/// How text becomes a message.
pub enum Encoding {
    /// The message is the text.
    Plain,
    /// The text is JSON for a value of this type.
    Typed(MessageType),
}

impl Encoding {
    /// The message.
    pub fn encode<'a>(&self, text: &'a [u8]) -> Result<Cow<'a, [u8]>, Failure> {
        let Self::Typed(message_type) = self else {
            return Ok(text.into());
        };
        let refused = |error: &dyn std::fmt::Display| {
            Failure::input(format!("this is no {message_type}: {error}"))
        };
        let text = std::str::from_utf8(text).map_err(|error| refused(&error))?;
        let bytes = from_json(message_type, text).map_err(|error| refused(&error))?;
        Ok(bytes.into())
    }
}

/// The type that is used on a topic; `name` chooses among several, an empty one takes the only one. `None`: nobody who is
/// there has such a type.
pub fn used_type(
    client: &Client,
    topic: &Topic,
    name: &str,
) -> Result<Option<MessageType>, Failure> {
    let mut types = all_types(client, topic)?;
    types.retain(|found| name.is_empty() || found.name == name || found.to_string() == name);
    match types.len() {
        0 | 1 => Ok(types.pop()),
        _ => {
            let names: Vec<_> = types.iter().map(|found| found.to_string()).collect();
            let same = names.iter().all(|name| *name == names[0]);
            let hint = match same {
                true => {
                    "they have the same name and another layout; publish with a program of yours"
                }
                false => "choose with --typed=TYPE",
            };
            Err(Failure::input(format!(
                "several types are used on {topic} ({}): {hint}",
                names.join(", ")
            )))
        }
    }
}

/// Why there is no type.
pub fn unknown_type(topic: &Topic, name: &str) -> Failure {
    let what = match name {
        "" => "a type that has fields".to_owned(),
        name => format!("the type {name}"),
    };
    Failure::text(format!(
        "nobody publishes or takes {what} on {topic}, so it is not known how to encode JSON: start who does before, or use --wait-for; without --typed the text itself is sent, as bytes"
    ))
}

/// The types of those who publish or take messages there, each once; plain bytes are none.
fn all_types(client: &Client, topic: &Topic) -> Result<Vec<MessageType>, RequestError> {
    let listing = client.list(topic.as_str(), ListTopics::Declared)?;
    let taken = listing
        .subscribers
        .into_iter()
        .filter_map(|info| info.message_type);
    let published = listing.publishers.into_iter().map(|info| info.message_type);
    let mut types: Vec<MessageType> = Vec::new();
    for found in taken.chain(published) {
        let root = found.layout.type_at(TypeIndex(0));
        let has_structure = root.is_some_and(|root| root.kind != Kind::Raw);
        if has_structure && !types.contains(&found) {
            types.push(found);
        }
    }
    Ok(types)
}
