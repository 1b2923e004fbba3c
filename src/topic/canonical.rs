//! The canonical form of a name.

use std::sync::Arc;

use super::{TopicError, TopicErrorKind};

/// Bytes of a topic or pattern, as it was written.
pub const MAX_NAME_BYTES: usize = 1024;

/// Chunks of a topic or pattern: each but the last has its `/`.
pub(super) const MAX_CHUNKS: usize = MAX_NAME_BYTES.div_ceil(2);

/// Checks `input`; gives its canonical form.
pub(super) fn canonical(input: &str) -> Result<Arc<str>, TopicError> {
    match check(input) {
        Ok(Form::Canonical) => Ok(input.into()),
        Ok(Form::Other) => Ok(canonize(input).into()),
        Err((at, kind)) => Err(TopicError {
            input: input.to_owned(),
            at,
            kind,
        }),
    }
}

enum Form {
    Canonical,
    Other,
}

fn check(input: &str) -> Result<Form, (usize, TopicErrorKind)> {
    if input.is_empty() {
        return Err((0, TopicErrorKind::Empty));
    }
    if input.len() > MAX_NAME_BYTES {
        return Err((
            input.floor_char_boundary(MAX_NAME_BYTES),
            TopicErrorKind::TooLong,
        ));
    }
    let mut form = Form::Canonical;
    let mut start = 0;
    let mut previous = "";
    for chunk in input.split('/') {
        let end = start + chunk.len();
        if chunk.is_empty() {
            let trailing = end == input.len() && start > 0 && !previous.is_empty();
            return Err(if trailing {
                (start - 1, TopicErrorKind::TrailingSlash)
            } else {
                (start, TopicErrorKind::EmptyChunk)
            });
        }
        check_chunk(chunk).map_err(|(at, kind)| (start + at, kind))?;
        if previous == "**" && matches!(chunk, "*" | "**") {
            form = Form::Other;
        }
        previous = chunk;
        start = end + 1;
    }
    Ok(form)
}

fn check_chunk(chunk: &str) -> Result<(), (usize, TopicErrorKind)> {
    if matches!(chunk, "*" | "**") {
        return Ok(());
    }
    match chunk
        .char_indices()
        .find(|(_, c)| matches!(c, '*' | '#' | '?' | '$'))
    {
        None => Ok(()),
        Some((at, '*')) => Err((at, TopicErrorKind::StarInChunk)),
        Some((at, c)) => Err((at, TopicErrorKind::Forbidden(c))),
    }
}

/// In a run of wildcard chunks only the number of `*` counts, besides whether there is a `**`: the latter goes last, once.
fn canonize(input: &str) -> String {
    let mut output = String::with_capacity(input.len());
    let mut any = false;
    let mut push = |chunk: &str| {
        if !output.is_empty() {
            output.push('/');
        }
        output.push_str(chunk);
    };
    for chunk in input.split('/') {
        match chunk {
            "**" => any = true,
            "*" => push(chunk),
            _ => {
                if std::mem::take(&mut any) {
                    push("**");
                }
                push(chunk);
            }
        }
    }
    if any {
        push("**");
    }
    output
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zenoh_keyexpr::OwnedKeyExpr;

    use super::*;

    #[test]
    fn runs_of_wildcards_become_one_form() {
        for (input, output) in [
            ("**/**", "**"),
            ("**/*", "*/**"),
            ("a/**/*/**/*/b", "a/*/*/**/b"),
            ("**/a/**/*", "**/a/*/**"),
            ("a/b", "a/b"),
        ] {
            assert_eq!(&*canonical(input).unwrap(), output);
        }
    }

    #[test]
    fn the_longest_name_is_accepted_but_no_longer_one() {
        let longest = "é".repeat(MAX_NAME_BYTES / 2);
        assert_eq!(&*canonical(&longest).unwrap(), longest);
        let error = canonical(&format!("a{longest}")).unwrap_err();
        assert_eq!(
            (error.kind, error.at),
            (TopicErrorKind::TooLong, MAX_NAME_BYTES - 1)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]
        #[test]
        fn same_words_same_form_as_zenoh(input in "[a@*/#?é]{0,9}|(\\*\\*/|\\*/|a/|@b/){0,8}(a|\\*|\\*\\*)") {
            let ours = canonical(&input);
            let theirs = OwnedKeyExpr::autocanonize(input.clone());
            prop_assert_eq!(ours.is_ok(), theirs.is_ok());
            if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
                prop_assert_eq!(&*ours, theirs.as_str());
                prop_assert_eq!(&*canonical(&ours).unwrap(), &*ours);
            }
        }

        #[test]
        fn no_input_panics_nor_points_outside_of_it(input in ".{0,40}") {
            if let Err(error) = canonical(&input) {
                prop_assert!(input.is_char_boundary(error.at));
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
