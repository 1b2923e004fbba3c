//! What is wrong with a name.

use std::fmt;

use super::canonical::MAX_NAME_BYTES;

/// A text is not a topic or pattern. Its `Display` is one line that says where and what to do.
///
/// ```
/// let error = ringmain::topic::Topic::try_from("md//eurusd").unwrap_err();
/// assert_eq!(error.at, 3);
/// assert_eq!(error.to_string(), r#"empty chunk at byte 3 of "md//eurusd": put a name before this `/`, or remove it"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicError {
    /// The text.
    pub input: String,
    /// Where the bad character begins, in bytes from the start of `input`; its length, where one is missing at the end.
    pub at: usize,
    /// What is wrong there.
    pub kind: TopicErrorKind,
}

/// The ways in which a text can fail to be a topic or pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicErrorKind {
    /// The text is empty.
    Empty,
    /// Two `/` in a row, or one at the start.
    EmptyChunk,
    /// A `/` at the end.
    TrailingSlash,
    /// One of `#`, `?`, `$`.
    Forbidden(char),
    /// A `*` in a chunk that holds something else, too.
    StarInChunk,
    /// More than [`MAX_NAME_BYTES`].
    TooLong,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, input) = (self.at, Shortened(&self.input));
        match self.kind {
            TopicErrorKind::Empty => {
                write!(f, "empty name: give at least one chunk, such as `status`")
            }
            TopicErrorKind::EmptyChunk => {
                write!(
                    f,
                    "empty chunk at byte {at} of {input}: put a name before this `/`, or remove it"
                )
            }
            TopicErrorKind::TrailingSlash => write!(
                f,
                "`/` ends {input} at byte {at}: remove it, or put `*` or a name behind it"
            ),
            TopicErrorKind::Forbidden(c) => {
                let instead = match c {
                    '#' => "write `**` for any number of chunks",
                    _ => "write `*` in place of the whole chunk, or leave it out",
                };
                write!(f, "`{c}` at byte {at} of {input} is not allowed: {instead}")
            }
            TopicErrorKind::StarInChunk => write!(
                f,
                "`*` at byte {at} of {input} shares its chunk: make the whole chunk `*` (one chunk) or `**` (any number)"
            ),
            TopicErrorKind::TooLong => write!(
                f,
                "the character at byte {at} of {input} is beyond {MAX_NAME_BYTES} bytes, the text has {}: shorten it",
                self.input.len()
            ),
        }
    }
}

impl std::error::Error for TopicError {}

/// A text in quotes, escaped so that it stays on one line, cut so that a hostile one does not fill the log.
struct Shortened<'a>(&'a str);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

const SHOWN_CHARS: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::Topic;

    #[test]
    fn the_message_names_the_place_and_the_way_out() {
        for (input, at, message) in [
            ("", 0, "empty name: give at least one chunk"),
            ("/a", 0, "empty chunk at byte 0 of \"/a\""),
            ("a/", 1, "`/` ends \"a/\" at byte 1"),
            ("/", 0, "empty chunk at byte 0 of \"/\""),
            ("é//b", 3, "empty chunk at byte 3"),
            (
                "a/b#",
                3,
                "`#` at byte 3 of \"a/b#\" is not allowed: write `**`",
            ),
            ("a/$*", 2, "`$` at byte 2"),
            ("?", 0, "`?` at byte 0"),
            ("a/b*", 3, "`*` at byte 3 of \"a/b*\" shares its chunk"),
            ("*b", 0, "`*` at byte 0"),
            ("a/***", 2, "`*` at byte 2"),
        ] {
            let error = Topic::try_from(input).unwrap_err();
            assert_eq!(error.at, at, "{input}");
            assert!(error.to_string().starts_with(message), "{error}");
        }
    }

    #[test]
    fn the_message_is_one_short_line_whatever_the_input() {
        let error = Topic::try_from("a\n".repeat(100_000)).unwrap_err();
        assert_eq!(error.kind, TopicErrorKind::TooLong);
        assert_eq!(error.at, MAX_NAME_BYTES);
        let shown = error.to_string();
        assert!(!shown.contains('\n') && shown.len() < 500, "{shown}");
    }
}
