//! Interned names and label sets: equal texts and equal sets are stored once.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::slab::{LabelSetId, Slab};

/// An interned text: the key or value of a label, a namespace, a port name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(u32);

/// Every name is counted: who stores one acquires it, and releases it at the end of the commit
/// in which it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: FxHashMap<Arc<str>, u32>,
    texts: Vec<(Arc<str>, u32)>,
    free: Vec<u32>,
}

impl Names {
    pub(crate) fn acquire(&mut self, text: &str) -> Name {
        if let Some(&number) = self.numbers.get(text) {
            self.texts[number as usize].1 += 1;
            return Name(number);
        }
        // A copy: the caller's text may share its allocation with much more.
        let text: Arc<str> = text.into();
        let number = match self.free.pop() {
            Some(number) => {
                self.texts[number as usize] = (text.clone(), 1);
                number
            }
            None => {
                self.texts.push((text.clone(), 1));
                u32::try_from(self.texts.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.numbers.insert(text, number);
        Name(number)
    }

    pub(crate) fn retain(&mut self, name: Name) -> Name {
        self.texts[name.0 as usize].1 += 1;
        name
    }

    pub(crate) fn release(&mut self, name: Name) {
        let (text, count) = &mut self.texts[name.0 as usize];
        *count -= 1;
        if *count == 0 {
            self.numbers.remove(text);
            *text = Arc::default();
            self.free.push(name.0);
        }
    }

    pub(crate) fn find(&self, text: &str) -> Option<Name> {
        self.numbers.get(text).map(|&number| Name(number))
    }

    #[cfg(test)]
    pub(crate) fn live(&self) -> Vec<(Arc<str>, u32)> {
        self.texts
            .iter()
            .filter(|(_, count)| *count > 0)
            .cloned()
            .collect()
    }

    pub(crate) fn text(&self, name: Name) -> &Arc<str> {
        &self.texts[name.0 as usize].0
    }
}

/// Labels sorted by the number of their key.
pub(crate) type Labels = [(Name, Name)];

pub(crate) fn value_of(labels: &Labels, key: Name) -> Option<Name> {
    labels
        .binary_search_by_key(&key, |(k, _)| *k)
        .ok()
        .map(|at| labels[at].1)
}

/// A bit that stands for a label, and for others.
pub(crate) fn label_bit(key: Name, value: Name) -> u64 {
    let both = u64::from(key.0) << 32 | u64::from(value.0);
    1 << (both.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

/// The bits of all of them.
pub(crate) fn label_bits(labels: &Labels) -> u64 {
    let bits = labels.iter().map(|(key, value)| label_bit(*key, *value));
    bits.fold(0, |all, bit| all | bit)
}

#[derive(Debug, Default)]
pub(crate) struct LabelSets {
    numbers: FxHashMap<Arc<Labels>, LabelSetId>,
    sets: Slab<LabelSetId, (Arc<Labels>, u32)>,
}

impl LabelSets {
    /// Takes over the caller's hold on each name. A key must not occur twice.
    pub(crate) fn acquire(
        &mut self,
        names: &mut Names,
        mut pairs: Vec<(Name, Name)>,
    ) -> LabelSetId {
        pairs.sort_unstable();
        if let Some(&id) = self.numbers.get(pairs.as_slice()) {
            self.sets[id].1 += 1;
            for (key, value) in pairs {
                names.release(key);
                names.release(value);
            }
            return id;
        }
        let labels: Arc<Labels> = pairs.into();
        let id = self.sets.insert((labels.clone(), 1));
        self.numbers.insert(labels, id);
        id
    }

    pub(crate) fn retain(&mut self, id: LabelSetId) -> LabelSetId {
        self.sets[id].1 += 1;
        id
    }

    pub(crate) fn release(&mut self, names: &mut Names, id: LabelSetId) {
        let entry = &mut self.sets[id];
        entry.1 -= 1;
        if entry.1 > 0 {
            return;
        }
        if let Some((labels, _)) = self.sets.remove(id) {
            self.numbers.remove(&labels);
            for (key, value) in labels.iter() {
                names.release(*key);
                names.release(*value);
            }
        }
    }

    pub(crate) fn end_rest(&mut self) {
        self.sets.end_rest();
    }

    pub(crate) fn labels(&self, id: LabelSetId) -> &Labels {
        &self.sets[id].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sets_go_with_their_last_holder() {
        let (mut names, mut sets) = (Names::default(), LabelSets::default());
        let pair = |names: &mut Names| vec![(names.acquire("app"), names.acquire("web"))];
        let first = pair(&mut names);
        let first = sets.acquire(&mut names, first);
        let second = pair(&mut names);
        let second = sets.acquire(&mut names, second);
        assert_eq!(first, second);
        let app = names.find("app").unwrap();
        assert_eq!(value_of(sets.labels(first), app), names.find("web"));
        sets.release(&mut names, first);
        assert!(names.find("app").is_some());
        sets.release(&mut names, second);
        assert!(names.find("app").is_none() && names.find("web").is_none());
    }
}
