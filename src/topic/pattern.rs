//! What a subscriber listens to.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::canonical::canonical;
use super::{Topic, TopicError, includes, intersects};

/// Selects topics. Written like a [`Topic`]; cheap to clone.
///
/// ```
/// use ringmain::topic::{Pattern, Topic};
///
/// let pattern = Pattern::try_from("md/*/eurusd")?;
/// let quotes = Topic::try_from("md/quote/*")?;
/// assert!(pattern.intersects(&quotes)); // both have md/quote/eurusd
/// assert!(!pattern.includes(&quotes)); // md/quote/usdjpy does not fit the pattern
/// # Ok::<(), ringmain::topic::TopicError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it selects a single topic: without wildcards.
    pub fn is_concrete(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether some topic fits the pattern and belongs to `topic`.
    pub fn intersects(&self, topic: &Topic) -> bool {
        intersects(&self.0, topic.as_str())
    }

    /// Whether every topic of `topic` fits the pattern.
    ///
    /// Exact unless `topic` holds a `**`; then, as in Zenoh, only a `**` of the pattern takes it up: `*/**` is not said to
    /// include `**/a`.
    pub fn includes(&self, topic: &Topic) -> bool {
        includes(&self.0, topic.as_str())
    }
}

impl From<Topic> for Pattern {
    fn from(topic: Topic) -> Self {
        Self(topic.into_inner())
    }
}

impl TryFrom<&str> for Pattern {
    type Error = TopicError;

    fn try_from(input: &str) -> Result<Self, TopicError> {
        canonical(input).map(Self)
    }
}

impl TryFrom<String> for Pattern {
    type Error = TopicError;

    fn try_from(input: String) -> Result<Self, TopicError> {
        canonical(&input).map(Self)
    }
}

impl FromStr for Pattern {
    type Err = TopicError;

    fn from_str(input: &str) -> Result<Self, TopicError> {
        canonical(input).map(Self)
    }
}

impl AsRef<str> for Pattern {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
