//! How two names are compared, chunk by chunk.
//!
//! Names may have wildcards on both sides, so one position in the first can correspond to several in the second. [`Row`]
//! holds them all: bit `j` says that the chunks seen so far of one name relate to the first `j` chunks of the other. One
//! [`step`](Row::step) takes one more chunk, at the price of one comparison per chunk of the other name; so a match costs
//! at most the product of the two lengths, and the trie, which steps along its edges, never backtracks.

use super::canonical::MAX_CHUNKS;

/// Whether some topic fits both names. Both are canonical.
pub(crate) fn intersects(a: &str, b: &str) -> bool {
    if is_concrete(a) && is_concrete(b) {
        return a == b;
    }
    relates(Relation::Intersects, a, b)
}

/// Whether all topics that fit `b` fit `a`. Both are canonical. Exact unless `b` holds a `**`, which only a `**` takes up.
pub(crate) fn includes(a: &str, b: &str) -> bool {
    if is_concrete(a) {
        return a == b;
    }
    relates(Relation::Includes, a, b)
}

fn relates(relation: Relation, a: &str, b: &str) -> bool {
    let mut row = Row::start(relation, b);
    for chunk in a.split('/') {
        row = row.step(chunk, b);
        if row.is_empty() {
            return false;
        }
    }
    row.is_complete()
}

fn is_concrete(name: &str) -> bool {
    !name.contains('*')
}

/// What a row states of two prefixes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// Something fits both.
    Intersects,
    /// What fits the other name's prefix fits ours.
    Includes,
}

/// Which prefixes of another name the chunks seen so far relate to.
#[derive(Clone)]
pub(super) struct Row {
    relation: Relation,
    /// Chunks of the other name.
    chunks: usize,
    /// Bit `j`: the first `j` chunks.
    bits: [u64; ROW_WORDS],
}

impl Row {
    /// The row of no chunk at all.
    pub(super) fn start(relation: Relation, other: &str) -> Self {
        let mut row = Self {
            relation,
            chunks: 0,
            bits: [0; ROW_WORDS],
        };
        row.set(0);
        let mut empty_fits = relation == Relation::Intersects;
        for chunk in other.split('/') {
            row.chunks += 1;
            empty_fits &= chunk == "**";
            if empty_fits {
                row.set(row.chunks);
            }
        }
        row
    }

    /// The row with one more chunk; `other` as it was at the start.
    pub(super) fn step(&self, chunk: &str, other: &str) -> Self {
        let ours = Chunk::of(chunk);
        let mut next = Self {
            relation: self.relation,
            chunks: self.chunks,
            bits: [0; ROW_WORDS],
        };
        let mut diagonal = self.has(0);
        let mut left = diagonal && ours == Chunk::Any;
        if left {
            next.set(0);
        }
        for (j, theirs) in other.split('/').enumerate() {
            let above = self.has(j + 1);
            left = cell(
                self.relation,
                ours,
                Chunk::of(theirs),
                Neighbours {
                    diagonal,
                    above,
                    left,
                },
            );
            if left {
                next.set(j + 1);
            }
            diagonal = above;
        }
        next
    }

    /// Whether no continuation can relate.
    pub(super) fn is_empty(&self) -> bool {
        self.bits.iter().all(|&word| word == 0)
    }

    /// Whether the chunks seen so far relate to the whole other name.
    pub(super) fn is_complete(&self) -> bool {
        self.has(self.chunks)
    }

    /// How many prefixes relate.
    pub(super) fn count(&self) -> usize {
        self.bits
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// The chunks of `other` that come next, one for each prefix that relates and is not the whole.
    pub(super) fn expected<'a>(&'a self, other: &'a str) -> impl Iterator<Item = &'a str> {
        other
            .split('/')
            .enumerate()
            .filter(|(j, _)| self.has(*j))
            .map(|(_, chunk)| chunk)
    }

    /// Whether a wildcard of `other` comes next or may go on: then a chunk need not be an expected one to pass.
    pub(super) fn takes_unexpected(&self, other: &str) -> bool {
        other.split('/').enumerate().any(|(j, chunk)| match chunk {
            "*" => self.has(j),
            // Whatever relates to the prefix without it relates to the one with it.
            "**" => self.has(j + 1),
            _ => false,
        })
    }

    fn has(&self, j: usize) -> bool {
        self.bits
            .get(j / 64)
            .is_some_and(|word| word >> (j % 64) & 1 == 1)
    }

    fn set(&mut self, j: usize) {
        debug_assert!(
            j <= MAX_CHUNKS,
            "a canonical name has at most {MAX_CHUNKS} chunks"
        );
        if let Some(word) = self.bits.get_mut(j / 64) {
            *word |= 1 << (j % 64);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chunk<'a> {
    /// `**`
    Any,
    /// `*`
    One,
    /// Begins with `@`.
    Verbatim(&'a str),
    Plain(&'a str),
}

impl<'a> Chunk<'a> {
    fn of(text: &'a str) -> Self {
        match text {
            "**" => Self::Any,
            "*" => Self::One,
            _ if text.starts_with('@') => Self::Verbatim(text),
            _ => Self::Plain(text),
        }
    }
}

/// What is known of the prefixes one shorter.
struct Neighbours {
    /// Both are.
    diagonal: bool,
    /// Ours is.
    above: bool,
    /// Theirs is.
    left: bool,
}

fn cell(relation: Relation, ours: Chunk<'_>, theirs: Chunk<'_>, at: Neighbours) -> bool {
    #[cfg(test)]
    tests::CELLS.with(|cells| cells.set(cells.get() + 1));
    match (relation, ours, theirs) {
        // `above`: the `**` stands for nothing; `left`: it takes up one chunk more.
        (_, Chunk::Any, Chunk::Verbatim(_)) => at.above,
        (_, Chunk::Any, _) => at.above || at.left,
        (Relation::Includes, _, Chunk::Any) => false,
        (_, Chunk::Verbatim(_), Chunk::Any) => at.left,
        (_, _, Chunk::Any) => at.left || at.above,
        (_, Chunk::One, Chunk::One | Chunk::Plain(_)) => at.diagonal,
        (Relation::Intersects, Chunk::Plain(_), Chunk::One) => at.diagonal,
        _ => at.diagonal && ours == theirs,
    }
}

const ROW_WORDS: usize = MAX_CHUNKS / 64 + 1;

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use zenoh_keyexpr::keyexpr;

    use super::*;
    use crate::topic::canonical::canonical;

    thread_local!(pub(in super::super) static CELLS: Cell<usize> = const { Cell::new(0) });

    pub(in super::super) fn name() -> impl Strategy<Value = String> {
        let chunk = prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just("@a"), 1 => Just("@b"), 3 => Just("*"), 3 => Just("**")];
        proptest::collection::vec(chunk, 1..7)
            .prop_map(|chunks| canonical(&chunks.join("/")).unwrap().to_string())
    }

    fn concrete() -> impl Strategy<Value = String> {
        let chunk = prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just("@a"), 1 => Just("@b")];
        proptest::collection::vec(chunk, 1..6).prop_map(|chunks| chunks.join("/"))
    }

    fn chunks(name: &str) -> Vec<&str> {
        name.split('/').collect()
    }

    /// The definition, with no regard to cost.
    pub(in super::super) fn naive_intersects(a: &[&str], b: &[&str]) -> bool {
        match (a, b) {
            ([], rest) | (rest, []) => rest.iter().all(|&chunk| chunk == "**"),
            (["**", more @ ..], [first, rest @ ..]) | ([first, rest @ ..], ["**", more @ ..]) => {
                let (any, other) = if a[0] == "**" { (a, b) } else { (b, a) };
                naive_intersects(more, other)
                    || (!first.starts_with('@') && naive_intersects(any, rest))
            }
            ([x, a @ ..], [y, b @ ..]) => {
                let wild = (*x == "*" && !y.starts_with('@')) || (*y == "*" && !x.starts_with('@'));
                (x == y || wild) && naive_intersects(a, b)
            }
        }
    }

    fn naive_includes(a: &[&str], b: &[&str]) -> bool {
        match (a, b) {
            ([], b) => b.is_empty(),
            (["**", more @ ..], b) => {
                naive_includes(more, b)
                    || (!b.is_empty() && !b[0].starts_with('@') && naive_includes(a, &b[1..]))
            }
            (_, [] | ["**", ..]) => false,
            ([x, a @ ..], [y, b @ ..]) => {
                (x == y || (*x == "*" && !y.starts_with('@'))) && naive_includes(a, b)
            }
        }
    }

    fn cells_of(matched: impl FnOnce() -> bool) -> usize {
        CELLS.set(0);
        matched();
        CELLS.get()
    }

    #[test]
    fn two_stars_take_none_or_many() {
        assert!(intersects(&canonical("**/*").unwrap(), "a/b"));
        assert!(intersects("a/**", "a") && includes("a/**", "a"));
        assert!(!intersects("*", "a/b") && !intersects("*", "@a") && !intersects("**", "x/@a"));
        assert!(intersects("**/@a/**", "x/@a/y"));
        assert!(includes("**", "*/**") && !includes("*/**", "**"));
    }

    #[test]
    fn the_longest_names_are_matched() {
        let a = format!("{}a", "a/".repeat(MAX_CHUNKS - 1));
        assert!(intersects(&a, "**") && intersects("**", &a) && includes("**/a", &a));
        assert!(intersects(&a.replacen('a', "*", 1), &a.replace("a/", "*/")));
        assert!(!intersects(&a.replacen('a', "*", 1), &a[2..]));
    }

    #[test]
    fn work_is_bounded_by_the_product_of_the_lengths() {
        let a = format!("{}b", "**/a/".repeat(100));
        let b = format!("{}c", "a/**/".repeat(80));
        let product = a.split('/').count() * b.split('/').count();
        assert!(!intersects(&a, &b));
        for cells in [
            cells_of(|| intersects(&a, &b)),
            cells_of(|| includes(&a, &b)),
        ] {
            assert!(
                (1..=product).contains(&cells),
                "{cells} comparisons, {product} allowed"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]
        #[test]
        fn agrees_with_the_definition_as_well_as_with_zenoh(a in name(), b in name()) {
            let (x, y) = (chunks(&a), chunks(&b));
            let (za, zb) = (keyexpr::new(&a).unwrap(), keyexpr::new(&b).unwrap());
            prop_assert_eq!(intersects(&a, &b), naive_intersects(&x, &y));
            prop_assert_eq!(intersects(&a, &b), za.intersects(zb));
            prop_assert_eq!(intersects(&a, &b), intersects(&b, &a));
            prop_assert_eq!(includes(&a, &b), naive_includes(&x, &y));
            prop_assert_eq!(includes(&a, &b), za.includes(zb));
            prop_assert!(cells_of(|| intersects(&a, &b)) <= x.len() * y.len());
            prop_assert!(cells_of(|| includes(&a, &b)) <= x.len() * y.len());
        }

        #[test]
        fn relations_hold_topic_by_topic(a in name(), b in name(), topic in concrete()) {
            let (in_a, in_b) = (includes(&a, &topic), includes(&b, &topic));
            prop_assert_eq!(in_a, intersects(&a, &topic));
            if in_a && in_b {
                prop_assert!(intersects(&a, &b));
            }
            if includes(&a, &b) && in_b {
                prop_assert!(in_a);
            }
        }
    }
}
