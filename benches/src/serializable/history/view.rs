//! The part of a transaction that concerns others: what it saw of their writes, and its own.

use std::collections::BTreeMap;

use super::{LISTS, Step};

/// What a transaction saw of a list before it wrote to the list itself.
#[derive(Clone, Copy)]
pub(super) enum Seen<'a> {
    /// All of its numbers.
    Whole(&'a [u32]),
    /// Only whether there are any.
    Existence(bool),
}

/// What a transaction saw of others, and the lists that it appends to.
pub(super) struct View<'a> {
    id: u32,
    pub(super) seen: BTreeMap<u32, Seen<'a>>,
    pub(super) appended: Vec<u32>,
}

impl<'a> View<'a> {
    /// Reads the steps of a transaction. An error where it did not see its own writes, or saw
    /// another state than before.
    pub(super) fn of(id: u32, steps: &'a [Step]) -> Result<View<'a>, String> {
        let mut view = View { id, seen: BTreeMap::new(), appended: Vec::new() };
        for step in steps {
            match step {
                Step::Read(list, now) => view.see(*list, now)?,
                Step::Append(list, now) => {
                    view.see(*list, now)?;
                    view.appended.push(*list);
                }
                Step::Listed(lists) => view.see_listing(lists)?,
            }
        }
        Ok(view)
    }

    fn see(&mut self, list: u32, now: &'a [u32]) -> Result<(), String> {
        let id = self.id;
        let before = match self.appended.contains(&list) {
            true => now.strip_suffix(&[id]),
            false => Some(now),
        };
        let before = before.ok_or_else(|| format!("{id} does not see its own number"))?;
        match self.seen.insert(list, Seen::Whole(before)) {
            Some(Seen::Whole(earlier)) if earlier != before => {
                Err(format!("{id} saw list {list} twice, and not the same"))
            }
            Some(Seen::Existence(there)) if there == before.is_empty() => {
                Err(format!("{id} saw list {list} otherwise than in its listing"))
            }
            _ => Ok(()),
        }
    }

    fn see_listing(&mut self, lists: &[u32]) -> Result<(), String> {
        for list in 0..LISTS {
            let there = lists.contains(&list);
            let expected = match self.seen.entry(list).or_insert(Seen::Existence(there)) {
                Seen::Whole(before) => !before.is_empty() || self.appended.contains(&list),
                Seen::Existence(there) => *there,
            };
            if there != expected {
                return Err(format!("the listing of {} is wrong about list {list}", self.id));
            }
        }
        Ok(())
    }
}
