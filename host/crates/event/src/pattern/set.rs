//! A set of patterns, with an index that finds the few that an event may match.
//!
//! Each pattern has an access predicate: a test of one field that every matching event passes and
//! that few other patterns of the set share. The index holds the access predicates in a tree of
//! names. One walk of the event along the tree finds the candidates, and each candidate is then
//! evaluated. The approach is that of F. Fabret et al., "Filtering algorithms and implementation
//! for very fast publish/subscribe systems", SIGMOD 2001. The choice of the rarest predicate is
//! from T. Yan and H. Garcia-Molina, "Index structures for selective dissemination of information
//! under the Boolean model", ACM TODS 19(2), 1994.
//!
//! The memory is linear in the patterns. The time of an event is at most that of its walk and of
//! the evaluation of every pattern.

mod access;

use std::collections::HashMap;

use access::{Access, Key, MAX_PREFIX_BYTES};
use serde_json::Value;

use super::{Pattern, evaluate};

/// Patterns that are tested together. Patterns are named by their index, in the order of the
/// iterator that made the set.
#[derive(Clone, Debug, Default)]
pub struct PatternSet {
    patterns: Vec<Pattern>,
    root: Node,
    /// The patterns of each access predicate.
    postings: Vec<Vec<usize>>,
    /// Patterns without an access predicate, which are always evaluated.
    rest: Vec<usize>,
}

/// The access predicates at one path, and the paths below.
#[derive(Clone, Debug, Default)]
struct Node {
    below: HashMap<Box<str>, Node>,
    /// Indices of postings.
    keys: HashMap<Key<'static>, usize>,
    /// The lengths of prefixes in `keys`: bit `n` is set for one of `n` bytes.
    prefix_lengths: u32,
}

impl FromIterator<Pattern> for PatternSet {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> PatternSet {
        let patterns: Vec<Pattern> = patterns.into_iter().collect();
        let access = Access::of(patterns.iter().map(|pattern| &*pattern.root));
        let mut set = PatternSet::default();
        for (index, pattern) in patterns.iter().enumerate() {
            match access.predicates(&pattern.root) {
                None => set.rest.push(index),
                Some(predicates) => {
                    for (path, key) in predicates {
                        let posting = set.root.posting(&path, key, set.postings.len());
                        set.postings.resize_with(set.postings.len().max(posting + 1), Vec::new);
                        set.postings[posting].push(index);
                    }
                }
            }
        }
        set.patterns = patterns;
        set
    }
}

impl PatternSet {
    /// The number of patterns.
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether the set has no pattern.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The indices of the patterns that an event matches, in ascending order.
    pub fn matches(&self, event: &Value) -> Vec<usize> {
        let mut candidates = self.candidates(event);
        candidates.retain(|index| evaluate::matches(&self.patterns[*index].root, event));
        candidates
    }

    fn candidates(&self, event: &Value) -> Vec<usize> {
        let mut hits = Hits { seen: vec![0; self.postings.len().div_ceil(64)], postings: vec![] };
        self.root.walk(event, &mut hits);
        let found = hits.postings.iter().flat_map(|posting| &self.postings[*posting]);
        let mut candidates: Vec<usize> = found.chain(&self.rest).copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }
}

/// The postings that an event hits, each once: an array may hit one many times.
struct Hits {
    seen: Vec<u64>,
    postings: Vec<usize>,
}

impl Hits {
    fn add(&mut self, posting: usize) {
        let (word, bit) = (&mut self.seen[posting / 64], 1 << (posting % 64));
        if *word & bit == 0 {
            *word |= bit;
            self.postings.push(posting);
        }
    }
}

impl Node {
    /// The index of the posting of a predicate, which is `next` for a new one.
    fn posting(&mut self, path: &[&str], key: Key<'_>, next: usize) -> usize {
        match path {
            [] => {
                if let Key::Prefix(prefix) = &key {
                    self.prefix_lengths |= 1 << prefix.len();
                }
                *self.keys.entry(key.into_owned()).or_insert(next)
            }
            [name, rest @ ..] => {
                self.below.entry((*name).into()).or_default().posting(rest, key, next)
            }
        }
    }

    fn walk(&self, value: &Value, hits: &mut Hits) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.walk(item, hits)),
            // The smaller side is walked: neither many patterns nor large events pay for the other.
            Value::Object(members) if self.below.len() <= members.len() => {
                for (name, node) in &self.below {
                    if let Some(value) = members.get(&**name) {
                        node.walk(value, hits);
                    }
                }
            }
            Value::Object(members) => {
                for (name, value) in members {
                    if let Some(node) = self.below.get(name.as_str()) {
                        node.walk(value, hits);
                    }
                }
            }
            leaf if !self.keys.is_empty() => self.probe(leaf, hits),
            _ => {}
        }
    }

    fn probe(&self, leaf: &Value, hits: &mut Hits) {
        self.probe_key(&Key::Present, hits);
        if let Some(key) = Key::of_leaf(leaf) {
            self.probe_key(&key, hits);
        }
        if let Value::String(text) = leaf {
            for length in 1..=text.len().min(MAX_PREFIX_BYTES) {
                if self.prefix_lengths & 1 << length != 0
                    && let Some(prefix) = text.get(..length)
                {
                    self.probe_key(&Key::Prefix(prefix.into()), hits);
                }
            }
        }
    }

    fn probe_key(&self, key: &Key<'_>, hits: &mut Hits) {
        // A map of owned keys is looked up as one of keys that live as long as the event.
        let keys: &HashMap<Key<'_>, usize> = &self.keys;
        if let Some(posting) = keys.get(key) {
            hits.add(*posting);
        }
    }
}
