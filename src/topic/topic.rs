//! What may be published to.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::canonical::canonical;
use super::{TopicError, includes, intersects};

/// A topic, or with wildcards a set of topics, that may be published to. Cheap to clone.
///
/// Made from text of at most [`MAX_NAME_BYTES`](super::MAX_NAME_BYTES) bytes; text that is not canonical is accepted and made so.
///
/// ```
/// use ringmain::topic::Topic;
///
/// let topic = Topic::try_from("md/**/*")?;
/// assert_eq!(topic.as_str(), "md/*/**");
/// assert!(!topic.is_concrete());
/// assert!(topic.includes(&"md/quote/eurusd".parse()?));
/// # Ok::<(), ringmain::topic::TopicError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a single topic: without wildcards.
    pub fn is_concrete(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether some topic belongs to both.
    pub fn intersects(&self, other: &Topic) -> bool {
        intersects(&self.0, &other.0)
    }

    /// Whether every topic of `other` belongs to this one. See [`Pattern::includes`](super::Pattern::includes).
    pub fn includes(&self, other: &Topic) -> bool {
        includes(&self.0, &other.0)
    }

    pub(super) fn into_inner(self) -> Arc<str> {
        self.0
    }
}

impl TryFrom<&str> for Topic {
    type Error = TopicError;

    fn try_from(input: &str) -> Result<Self, TopicError> {
        canonical(input).map(Self)
    }
}

impl TryFrom<String> for Topic {
    type Error = TopicError;

    fn try_from(input: String) -> Result<Self, TopicError> {
        canonical(&input).map(Self)
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(input: &str) -> Result<Self, TopicError> {
        canonical(input).map(Self)
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
