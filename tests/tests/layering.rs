//! The rules of the code's layout, read from its text.
//!
//! Floors and the exceptions within them are explained in `ARCHITECTURE.md`; [`FLOORS`] is the same as a table.

use std::fs;
use std::path::{Path, PathBuf};

/// One module of the library.
struct Module {
    name: &'static str,
    floor: u32,
    /// Modules of the same floor that it may use.
    siblings: &'static [&'static str],
}

const fn module(name: &'static str, floor: u32) -> Module {
    Module {
        name,
        floor,
        siblings: &[],
    }
}

/// A module uses floors below its own.
const FLOORS: [Module; 17] = [
    module("sync", 0),
    module("ring", 1),
    module("doorbell", 1),
    module("table", 1),
    module("pool", 1),
    module("segment", 2),
    module("wake", 2),
    // Latency is told by the clocks of messages.
    Module {
        name: "counters",
        floor: 3,
        siblings: &["message"],
    },
    module("topic", 3),
    module("message", 3),
    // Frames carry the identity of message types, which is what a broker compares.
    Module {
        name: "wire",
        floor: 3,
        siblings: &["message"],
    },
    module("lane", 4),
    module("link", 4),
    module("relay", 5),
    module("client", 6),
    module("broker", 6),
    // Tests that wire the two together.
    module("pair_tests", 7),
];

/// Files that may contain unsafe code, each with one invariant in its first paragraph.
const UNSAFE: &[&str] = &[
    "loom-tests/src/storage.rs",
    "shm-broker/src/commands/bench/raw/memory.rs",
    "src/broker/driver/watched.rs",
    "src/client/held.rs",
    "src/client/sample.rs",
    "src/counters/slot.rs",
    "src/lane/block.rs",
    "src/lane/lane_reader.rs",
    "src/lane/medium.rs",
    "src/lane/pool_tests.rs",
    "src/lane/reader.rs",
    "src/lane/reader/run.rs",
    "src/lane/region.rs",
    "src/lane/writer.rs",
    "src/message/allocations.rs",
    "src/message/any_bits.rs",
    "src/message/bytes.rs",
    "src/message/encoded.rs",
    "src/message/flat.rs",
    "src/message/scratch.rs",
    "src/message/slice.rs",
    "src/message/with_tail.rs",
    "src/ring/heap.rs",
    "src/ring/in_place.rs",
    "src/ring/storage.rs",
    "src/ring/tests/mod.rs",
    "src/segment/fork.rs",
    "src/segment/incarnation.rs",
    "src/segment/mapping.rs",
    "src/segment/tests.rs",
    "src/wake/process.rs",
    "src/wake/rights.rs",
    "tests/src/allocations.rs",
    "tests/src/raw.rs",
    "tests/src/roles/forking.rs",
    "tests/src/silence.rs",
];

/// Names at the root that are no modules of it: the derive macros, and the crate that they write paths into.
const MACROS: [&str; 3] = ["Describe", "Message", "rkyv"];

/// Lines of code that a file may have; its inline tests, blank lines and comments do not count.
const MOST_LINES: usize = 400;

#[test]
fn modules_use_only_floors_below_their_own() {
    let mut found = Vec::new();
    for (path, text) in sources("src") {
        found.extend(upward_uses(&path, &text));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn unsafe_code_is_in_the_listed_files_only() {
    let files: Vec<_> = all_sources()
        .into_iter()
        .filter(|(_, text)| allows_unsafe(text))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(files, UNSAFE, "the list in this test is exact");
}

#[test]
fn every_file_states_its_job_first() {
    for (path, text) in all_sources() {
        assert!(
            states_its_job(&text),
            "{path} does not begin with `//! ` and a sentence"
        );
    }
}

#[test]
fn no_file_is_too_long() {
    let mut found = Vec::new();
    for (path, text) in all_sources() {
        let lines = lines_of_code(&text);
        if lines > MOST_LINES {
            found.push(format!(
                "{path} has {lines} lines of code, {MOST_LINES} are allowed: split it"
            ));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What a file of `src` uses that it must not use.
fn upward_uses(path: &str, text: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut place: Vec<_> = inner.split('/').collect();
    if place.last() == Some(&"mod") {
        place.pop();
    }
    let Some(own) = known(place[0]) else {
        return if inner == "lib" {
            Vec::new()
        } else {
            vec![format!("{path}: {} has no row in the table", place[0])]
        };
    };
    let uses = rooted_names(text, place.len());
    let may = |name: &str| {
        name == own.name
            || MACROS.contains(&name)
            || known(name)
                .is_some_and(|other| other.floor < own.floor || own.siblings.contains(&other.name))
    };
    uses.into_iter()
        .filter(|name| !may(name))
        .map(|name| format!("{path}: {} must not use `{name}`", own.name))
        .collect()
}

/// The first names of all paths that start at the root: `crate::name`, `crate::{name, ..}`, as many `super::` as lead
/// there from a module `depth` below it.
fn rooted_names(text: &str, depth: usize) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !is_comment(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if starts_a_path(&code, at) {
            names.extend(first_names(&code[at + "crate::".len()..]));
        }
    }
    for (at, _) in code.match_indices("super::") {
        if !starts_a_path(&code, at) {
            continue;
        }
        let mut rest = &code[at..];
        let mut climbed = 0;
        while let Some(higher) = rest.strip_prefix("super::") {
            rest = higher;
            climbed += 1;
        }
        // Inline modules climb one step for themselves, so only names of floors tell that the root was reached.
        if climbed >= depth {
            let floors = first_names(rest);
            names.extend(floors.into_iter().filter(|name| known(name).is_some()));
        }
    }
    names
}

/// `name` of `name::..`, all of them of `{name::.., name}`.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return identifier(path).into_iter().collect();
    };
    let (mut names, mut nested, mut start) = (Vec::new(), 0_u32, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => nested += 1,
            ',' if nested == 0 => {
                names.extend(identifier(&group[start..at]));
                start = at + 1;
            }
            '}' if nested == 0 => {
                names.extend(identifier(&group[start..at]));
                break;
            }
            '}' => nested -= 1,
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text
        .find(|character: char| !is_of_identifier(character))
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

fn starts_a_path(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|before: char| is_of_identifier(before) || before == ':' || before == '$')
}

fn is_of_identifier(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn known(name: &str) -> Option<&'static Module> {
    FLOORS.iter().find(|module| module.name == name)
}

fn allows_unsafe(text: &str) -> bool {
    // In two parts, or this file would be found.
    [
        concat!("allow(", "unsafe_code"),
        concat!("expect(", "unsafe_code"),
    ]
    .iter()
    .any(|attribute| text.contains(attribute))
}

fn states_its_job(text: &str) -> bool {
    text.lines()
        .next()
        .and_then(|first| first.strip_prefix("//! "))
        .is_some_and(|job| !job.trim().is_empty())
}

fn lines_of_code(text: &str) -> usize {
    let tests = text.find("\n#[cfg(test)]\nmod tests {");
    text[..tests.unwrap_or(text.len())]
        .lines()
        .filter(|line| !line.trim().is_empty() && !is_comment(line))
        .count()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn all_sources() -> Vec<(String, String)> {
    let folders = [
        "benches",
        "derive",
        "examples",
        "fuzz/fuzz_targets",
        "loom-tests",
        "shm-broker",
        "src",
        "tests",
    ];
    folders.into_iter().flat_map(sources).collect()
}

/// Path below the repository's root and text of each source file, sorted.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the repository");
    let mut waiting = vec![root.join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = waiting.pop() {
        // Not every folder exists in every state of the repository.
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            // The comparison is a workspace of its own.
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("benches/compare") {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(read(root, path));
            }
        }
    }
    files.sort();
    files
}

fn read(root: &Path, path: PathBuf) -> (String, String) {
    let name = path.strip_prefix(root).unwrap().display().to_string();
    (name, fs::read_to_string(path).unwrap())
}

mod the_checks_themselves {
    use super::*;

    #[test]
    fn find_a_use_of_a_higher_floor() {
        let found = |path, text| upward_uses(path, text).len();
        assert_eq!(found("src/ring/producer.rs", "use crate::wake::Bell;"), 1);
        assert_eq!(found("src/wake/bell.rs", "use crate::ring::Position;"), 0);
        assert_eq!(
            found("src/lane/x.rs", "let a = crate::client::Client::b();"),
            1
        );
        assert_eq!(
            found(
                "src/topic/x.rs",
                "use crate::{sync::{A, b::client}, client::C, lane};"
            ),
            2
        );
        assert_eq!(found("src/topic/x.rs", "// use crate::client::Client;"), 0);
        assert_eq!(found("src/topic/x.rs", "use my_crate::client::Client;"), 0);
        assert_eq!(found("src/topic/x.rs", "use crate::Client;"), 1);
    }

    #[test]
    fn find_a_use_of_a_sibling() {
        let found = |path, text| upward_uses(path, text).len();
        assert_eq!(found("src/client/x.rs", "use crate::broker::Broker;"), 1);
        assert_eq!(
            found("src/broker/x.rs", "pub use crate::client::Client;"),
            1
        );
        assert_eq!(
            found("src/wire/frames.rs", "use crate::message::Layout;"),
            0
        );
        assert_eq!(found("src/message/mod.rs", "use crate::wire::Limits;"), 1);
    }

    #[test]
    fn find_a_climb_to_the_root() {
        let found = |path, text| upward_uses(path, text).len();
        assert_eq!(found("src/ring/mod.rs", "use super::wake::Bell;"), 1);
        assert_eq!(found("src/ring/a.rs", "use super::super::wake::Bell;"), 1);
        assert_eq!(found("src/ring/a.rs", "use super::wake::Bell;"), 0);
        assert_eq!(
            found(
                "src/sync.rs",
                "mod tests {\n    use super::*;\n    use super::{ring, wake::Bell};\n}"
            ),
            2
        );
    }

    #[test]
    fn find_a_module_without_a_row() {
        assert_eq!(upward_uses("src/novelty/mod.rs", "").len(), 1);
        assert_eq!(upward_uses("src/lib.rs", "mod novelty;").len(), 0);
    }

    #[test]
    fn find_unsafe_code() {
        assert!(allows_unsafe(concat!("#![allow(", "unsafe_code)]")));
        assert!(allows_unsafe(concat!(
            "    #[expect(",
            "unsafe_code, reason = \"\")]"
        )));
        assert!(!allows_unsafe("#![deny(unsafe_code)]"));
    }

    #[test]
    fn find_a_file_without_a_job() {
        assert!(states_its_job("//! Does one thing.\n"));
        for text in ["", "//!\n", "// Does one thing.\n", "\n//! Late.\n"] {
            assert!(!states_its_job(text), "{text:?}");
        }
    }

    #[test]
    fn count_lines_of_code() {
        let text =
            "//! Job.\n\nfn a() {\n    // why\n    b()\n}\n\n#[cfg(test)]\nmod tests {\n    x\n}\n";
        assert_eq!(lines_of_code(text), 3);
    }
}
