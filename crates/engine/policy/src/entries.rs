//! The group of each class of a table that is not in the default group.

use ocicat_node::ClassId;

/// So many entries a chunk has when a table is made.
const CHUNK: usize = 128;
/// A full chunk grows by so many.
const GROWTH: usize = 16;
/// A chunk with more is split.
const MOST: usize = 2 * CHUNK;
/// A chunk with fewer joins its neighbour, if that has room.
const FEWEST: usize = CHUNK / 8;

/// Class and group.
type Entry = (ClassId, u32);

/// Sorted by class, in chunks: tables are many and large, and a change of one entry shall not move
/// all others.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    chunks: Vec<Chunk>,
    count: usize,
}

/// Never empty.
#[derive(Debug)]
struct Chunk {
    /// No entry is of a class before this one.
    first: ClassId,
    entries: Vec<Entry>,
}

impl Chunk {
    fn find(&self, class: ClassId) -> Result<usize, usize> {
        self.entries
            .binary_search_by_key(&class, |(class, _)| *class)
    }
}

impl Entries {
    /// From entries that are sorted by class, without repeats.
    pub(crate) fn new(entries: &[Entry]) -> Self {
        let chunk = |entries: &[Entry]| Chunk {
            first: entries[0].0,
            entries: entries.to_vec(),
        };
        Self {
            chunks: entries.chunks(CHUNK).map(chunk).collect(),
            count: entries.len(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.entries.iter().copied())
    }

    pub(crate) fn get(&self, class: ClassId) -> Option<u32> {
        self.get_near(class, &mut 0)
    }

    /// Likewise, and quicker where classes are asked for in order. `near` is first zero, and for
    /// the next class what it was left as.
    pub(crate) fn get_near(&self, class: ClassId, near: &mut usize) -> Option<u32> {
        let begins = |number: usize| self.chunks.get(number).is_some_and(|c| c.first <= class);
        let holds = |number: &usize| begins(*number) && !begins(*number + 1);
        let chunk = [*near, *near + 1].into_iter().find(holds);
        let number = chunk.or_else(|| self.chunk_of(class))?;
        *near = number;
        let chunk = &self.chunks[number];
        chunk.find(class).ok().map(|at| chunk.entries[at].1)
    }

    /// The chunk that has the class, if any has. `None` if it is before all.
    fn chunk_of(&self, class: ClassId) -> Option<usize> {
        // New classes have the highest numbers: that is one look instead of many.
        match self.chunks.last() {
            Some(last) if last.first <= class => Some(self.chunks.len() - 1),
            _ => {
                let after = self.chunks.partition_point(|chunk| chunk.first <= class);
                after.checked_sub(1)
            }
        }
    }

    pub(crate) fn insert(&mut self, class: ClassId, group: u32) {
        let Some(number) = self
            .chunk_of(class)
            .or(self.chunks.len().checked_sub(1).map(|_| 0))
        else {
            *self = Self::new(&[(class, group)]);
            return;
        };
        let chunk = &mut self.chunks[number];
        match chunk.find(class) {
            Ok(at) => chunk.entries[at].1 = group,
            Err(at) => {
                if chunk.entries.len() == chunk.entries.capacity() {
                    chunk.entries.reserve_exact(GROWTH);
                }
                chunk.entries.insert(at, (class, group));
                chunk.first = chunk.first.min(class);
                self.count += 1;
                if chunk.entries.len() > MOST {
                    let entries = chunk.entries.split_off(MOST / 2);
                    let first = entries[0].0;
                    self.chunks.insert(number + 1, Chunk { first, entries });
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, class: ClassId) {
        let Some(number) = self.chunk_of(class) else {
            return;
        };
        let chunk = &mut self.chunks[number];
        if let Ok(at) = chunk.find(class) {
            chunk.entries.remove(at);
            self.count -= 1;
            if chunk.entries.len() < FEWEST {
                self.join(number);
            }
        }
    }

    /// Joins a chunk with the one before it, if that has room.
    fn join(&mut self, number: usize) {
        let empty = self.chunks[number].entries.is_empty();
        let before = number.checked_sub(1).map(|before| &mut self.chunks[before]);
        let has_room = before
            .as_ref()
            .is_some_and(|before| before.entries.len() < CHUNK);
        if empty || has_room {
            let chunk = self.chunks.remove(number);
            if has_room {
                self.chunks[number - 1].entries.extend(chunk.entries);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn entries_come_and_go() {
        let start: Vec<Entry> = (0..700).map(|n| (ClassId(3 * n + 50), n)).collect();
        let mut expected: BTreeMap<ClassId, u32> = start.iter().copied().collect();
        let mut entries = Entries::new(&start);
        // All classes come, many change, most go, and some come again, in a wild order.
        for round in 0..4u32 {
            for step in 0..4_001u32 {
                let class = ClassId(step * 1_009 % 4_001);
                if round % 2 == 0 || class.0 % 17 == round {
                    entries.insert(class, step);
                    expected.insert(class, step);
                } else {
                    entries.remove(class);
                    expected.remove(&class);
                }
                assert_eq!(entries.len(), expected.len());
            }
            assert!(
                entries
                    .iter()
                    .eq(expected.iter().map(|(class, group)| (*class, *group)))
            );
            let mut near = 0;
            for class in (0..4_010).map(ClassId) {
                assert_eq!(entries.get(class), expected.get(&class).copied());
                assert_eq!(entries.get_near(class, &mut near), entries.get(class));
            }
            assert_eq!(
                entries.get_near(ClassId(7), &mut near),
                entries.get(ClassId(7))
            );
            assert!(
                entries
                    .chunks
                    .iter()
                    .all(|chunk| (1..=MOST).contains(&chunk.entries.len()))
            );
        }
        assert!(entries.len() > 100);
        for class in (0..4_010).map(ClassId) {
            entries.remove(class);
        }
        assert!(entries.chunks.is_empty());
        entries.insert(ClassId(9), 1);
        entries.insert(ClassId(2), 2);
        assert_eq!(
            entries.iter().collect::<Vec<_>>(),
            [(ClassId(2), 2), (ClassId(9), 1)]
        );
    }
}
