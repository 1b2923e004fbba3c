//! Names of what is published, with the patterns that select among them.
//!
//! A name is made of chunks with `/` between them: `md/quote/eurusd`. The chunk `*` stands for exactly one chunk, `**` for
//! any number of chunks including none. A chunk that begins with `@` is matched by an equal chunk only, so `**` does not
//! show `@sys/clients`. Alphabet and canonical form are those of Zenoh's key expressions, without `$*`:
//! <https://github.com/eclipse-zenoh/roadmap/blob/main/rfcs/ALL/Key%20Expressions.md>.
//!
//! Wildcards may stand on both sides. A [`Topic`] with wildcards is a set of topics that may be published to; it
//! *intersects* a [`Pattern`] when some topic fits both, and is *included* by it when all that fit the one fit the other.

mod canonical;
mod error;
mod matching;
mod pattern;
mod selection;
#[expect(clippy::module_inception, reason = "the type gives the file its name")]
mod topic;
mod trie;

pub use canonical::MAX_NAME_BYTES;
pub use error::{TopicError, TopicErrorKind};
pub use pattern::Pattern;
pub use topic::Topic;

pub(crate) use matching::{includes, intersects};
pub(crate) use selection::Selection;
pub(crate) use trie::PatternTrie;
