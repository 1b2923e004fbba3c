//! A set of patterns that is searched for all that intersect a name.

use std::collections::BTreeMap;

use super::Pattern;
use super::matching::{Relation, Row};

/// Keys by pattern. Finding those that intersect a name visits each node at most once, and none that cannot lead to one.
///
/// Ordered, so that two runs with the same calls give the same sequence.
pub(crate) struct PatternTrie<K> {
    root: Node<K>,
}

impl<K: Clone + Eq> PatternTrie<K> {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            root: Node::default(),
        }
    }

    /// Adds `key` under `pattern`; nothing happens if it is there already.
    pub(crate) fn insert(&mut self, pattern: &Pattern, key: K) {
        let mut node = &mut self.root;
        for chunk in pattern.as_str().split('/') {
            // Two look-ups: `entry` would allocate the chunk also where it is there.
            if !node.children.contains_key(chunk) {
                node.children.insert(chunk.into(), Node::default());
            }
            node = node
                .children
                .get_mut(chunk)
                .expect("it was there, or has just been inserted");
        }
        if !node.keys.contains(&key) {
            node.keys.push(key);
        }
    }

    /// Removes `key` from under `pattern`; nothing happens if it is not there.
    pub(crate) fn remove(&mut self, pattern: &Pattern, key: &K) {
        self.root.remove(pattern.as_str(), key);
    }

    /// Calls `found` with each key once for each pattern of it that intersects `name`, which is canonical.
    pub(crate) fn for_each_intersecting(&self, name: &str, mut found: impl FnMut(&K)) {
        self.root
            .visit(&Row::start(Relation::Intersects, name), name, &mut found);
    }
}

struct Node<K> {
    keys: Vec<K>,
    children: BTreeMap<Box<str>, Node<K>>,
}

impl<K: Eq> Node<K> {
    fn remove(&mut self, rest: &str, key: &K) {
        let (chunk, rest) = rest
            .split_once('/')
            .map_or((rest, None), |(chunk, rest)| (chunk, Some(rest)));
        let Some(child) = self.children.get_mut(chunk) else {
            return;
        };
        match rest {
            Some(rest) => child.remove(rest, key),
            None => child.keys.retain(|present| present != key),
        }
        if child.keys.is_empty() && child.children.is_empty() {
            self.children.remove(chunk);
        }
    }

    fn visit(&self, row: &Row, name: &str, found: &mut dyn FnMut(&K)) {
        if row.is_complete() {
            self.keys.iter().for_each(&mut *found);
        }
        // The second condition also bounds the search for duplicates below by the number of children.
        if row.takes_unexpected(name) || self.children.len() <= row.count() {
            for (chunk, child) in &self.children {
                child.enter(chunk, row, name, found);
            }
            return;
        }
        for (seen, chunk) in row.expected(name).enumerate() {
            let mut earlier = row.expected(name).take(seen);
            if !earlier.any(|earlier| earlier == chunk) {
                self.enter_child(chunk, row, name, found);
            }
        }
        // Not expected themselves: a name with wildcards next takes the unexpected, too.
        self.enter_child("*", row, name, found);
        self.enter_child("**", row, name, found);
    }

    fn enter_child(&self, chunk: &str, row: &Row, name: &str, found: &mut dyn FnMut(&K)) {
        if let Some(child) = self.children.get(chunk) {
            child.enter(chunk, row, name, found);
        }
    }

    fn enter(&self, chunk: &str, row: &Row, name: &str, found: &mut dyn FnMut(&K)) {
        let row = row.step(chunk, name);
        if !row.is_empty() {
            self.visit(&row, name, found);
        }
    }
}

impl<K> Default for Node<K> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            children: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic::canonical::MAX_CHUNKS;
    use crate::topic::matching::tests::{CELLS, naive_intersects, name};

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    fn found(trie: &PatternTrie<u32>, name: &str) -> Vec<u32> {
        let mut keys = Vec::new();
        trie.for_each_intersecting(name, |key| keys.push(*key));
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_single_topic_among_many_is_found_without_looking_at_the_others() {
        let mut trie = PatternTrie::new();
        for i in 0..10_000 {
            trie.insert(&pattern(&format!("md/quote/{i}")), i);
        }
        trie.insert(&pattern("md/*/7"), 10_000);
        CELLS.set(0);
        assert_eq!(found(&trie, "md/quote/7"), [7, 10_000]);
        assert!(CELLS.get() <= 5 * 3, "{} comparisons", CELLS.get());
        assert_eq!(found(&trie, "md/quote/*").len(), 10_001);
    }

    #[test]
    fn a_chunk_that_is_expected_twice_is_entered_once() {
        let mut trie = PatternTrie::new();
        for (key, text) in ["**/a", "**/b", "**/c", "**/d", "**/a/**"]
            .iter()
            .enumerate()
        {
            trie.insert(&pattern(text), key as u32);
        }
        assert_eq!(found(&trie, "a/a"), [0, 4]);
    }

    #[test]
    fn what_cannot_lead_to_a_match_is_not_walked() {
        let mut trie = PatternTrie::new();
        trie.insert(&pattern("*/*/*/*/*/*/*/*"), 1);
        CELLS.set(0);
        assert!(found(&trie, "@a").is_empty());
        assert_eq!(CELLS.get(), 1);
    }

    #[test]
    fn removing_all_patterns_leaves_no_node() {
        let mut trie = PatternTrie::new();
        let patterns = ["a/b/c", "a/b", "**", "a/*/c"].map(pattern);
        for (key, pattern) in patterns.iter().enumerate() {
            trie.insert(pattern, key);
        }
        trie.remove(&patterns[0], &9);
        trie.remove(&pattern("a/x/c"), &0);
        for (key, pattern) in patterns.iter().enumerate() {
            trie.remove(pattern, &key);
        }
        assert!(trie.root.children.is_empty());
    }

    #[test]
    fn the_longest_names_do_not_exhaust_the_stack() {
        let longest = format!("{}a", "a/".repeat(MAX_CHUNKS - 1));
        let mut trie = PatternTrie::new();
        trie.insert(&pattern(&longest), 1);
        assert_eq!(found(&trie, "**"), [1]);
        assert_eq!(found(&trie, &longest), [1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]
        #[test]
        fn finds_what_a_scan_finds(inserted in proptest::collection::vec((name(), 0..4u32), 0..24), removed in proptest::collection::vec(any::<bool>(), 24), query in name()) {
            let mut trie = PatternTrie::new();
            for (text, key) in &inserted {
                trie.insert(&pattern(text), *key);
            }
            let mut left = inserted.clone();
            left.sort();
            left.dedup();
            for ((text, key), _) in inserted.iter().zip(&removed).filter(|(_, removed)| **removed) {
                trie.remove(&pattern(text), key);
                left.retain(|entry| entry != &(text.clone(), *key));
            }
            let chunks: Vec<_> = query.split('/').collect();
            let mut expected: Vec<_> = left
                .iter()
                .filter(|(text, _)| naive_intersects(&text.split('/').collect::<Vec<_>>(), &chunks))
                .map(|(_, key)| *key)
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(found(&trie, &query), expected);
        }
    }
}
