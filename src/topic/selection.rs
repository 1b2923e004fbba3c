//! What a subscription takes.

use super::{Pattern, Topic};

/// What a subscription takes: topics that a pattern selects, but for those that an exclusion includes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) excludes: Vec<Pattern>,
}

impl Selection {
    /// Whether a message on this topic is taken; of a topic with wildcards, whether one is that fits it.
    pub(crate) fn takes(&self, topic: &Topic) -> bool {
        let selects = |pattern: &Pattern| pattern.intersects(topic);
        let excludes = |exclude: &Pattern| exclude.includes(topic);
        self.patterns.iter().any(selects) && !self.excludes.iter().any(excludes)
    }
}
