//! An error as a text for the peer.

use std::error::Error;

/// The error with its causes, for the cause is where the system says what is wrong. One that quotes its cause already
/// does not say it twice.
pub(crate) fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::reason;
    use crate::segment::SegmentError;

    #[test]
    fn a_cause_is_told_once() {
        let full = || io::Error::from(io::ErrorKind::AddrInUse);
        let error = SegmentError::System {
            call: "dup",
            source: full(),
        };
        assert_eq!(
            reason(&error),
            format!("dup failed for a segment: {}", full())
        );
        let quoting = io::Error::other(error);
        assert_eq!(
            reason(&quoting),
            format!("dup failed for a segment: {}", full())
        );
    }
}
