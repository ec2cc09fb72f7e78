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
        let place = self.place_of(class, 0);
        place
            .at
            .ok()
            .map(|at| self.chunks[place.chunk].entries[at].1)
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
        let place = self.place_of(class, 0);
        self.insert_at(place, class, group);
    }

    pub(crate) fn remove(&mut self, class: ClassId) {
        let place = self.place_of(class, 0);
        self.remove_at(place);
    }

    /// `near` is a chunk that may have the class.
    fn place_of(&self, class: ClassId, near: usize) -> Place {
        let begins = |number: usize| self.chunks.get(number).is_some_and(|c| c.first <= class);
        let holds = |number: &usize| begins(*number) && !begins(*number + 1);
        let chunk = [near, near + 1].into_iter().find(holds);
        let chunk = chunk.or_else(|| self.chunk_of(class)).unwrap_or(0);
        let at = self.chunks.get(chunk).map_or(Err(0), |c| c.find(class));
        Place { chunk, at }
    }

    fn insert_at(&mut self, place: Place, class: ClassId, group: u32) {
        let Some(chunk) = self.chunks.get_mut(place.chunk) else {
            *self = Self::new(&[(class, group)]);
            return;
        };
        match place.at {
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
                    self.chunks
                        .insert(place.chunk + 1, Chunk { first, entries });
                }
            }
        }
    }

    fn remove_at(&mut self, place: Place) {
        if let Ok(at) = place.at {
            let chunk = &mut self.chunks[place.chunk];
            chunk.entries.remove(at);
            self.count -= 1;
            if chunk.entries.len() < FEWEST {
                self.join(place.chunk);
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

/// Where an entry is, or would be: the chunk, and the place there.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: usize,
    at: Result<usize, usize>,
}

/// Asks for the groups of classes that come in order, and gives them others on the way.
#[derive(Debug)]
pub(crate) struct Walk<'e> {
    entries: &'e mut Entries,
    class: ClassId,
    place: Place,
}

impl<'e> Walk<'e> {
    pub(crate) fn new(entries: &'e mut Entries) -> Self {
        Self {
            place: entries.place_of(ClassId(0), 0),
            class: ClassId(0),
            entries,
        }
    }

    /// The group of the next class.
    pub(crate) fn next(&mut self, class: ClassId) -> Option<u32> {
        self.class = class;
        self.place = self.entries.place_of(class, self.place.chunk);
        let chunk = self.entries.chunks.get(self.place.chunk)?;
        self.place.at.ok().map(|at| chunk.entries[at].1)
    }

    /// Gives the class that was asked for another group, or none. Once for each.
    pub(crate) fn set(&mut self, group: Option<u32>) {
        match group {
            Some(group) => self.entries.insert_at(self.place, self.class, group),
            None => self.entries.remove_at(self.place),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Asks for some classes in order. Some of them come, go or change; every class that is in
    /// none of these is left alone.
    fn walk_all(entries: &mut Entries, expected: &mut BTreeMap<ClassId, u32>, round: u32) {
        let mut walk = Walk::new(entries);
        for class in (0..4_010).filter(|class| class % 5 > 1).map(ClassId) {
            assert_eq!(walk.next(class), expected.get(&class).copied());
            match (class.0 / 300 + class.0 + round) % 11 {
                0..=4 => {
                    walk.set(Some(class.0 + round));
                    expected.insert(class, class.0 + round);
                }
                5..=6 => {
                    walk.set(None);
                    expected.remove(&class);
                }
                _ => {}
            }
        }
        // In no order it is right too.
        for class in [7, 3_000, 0, 2_999].map(ClassId) {
            assert_eq!(walk.next(class), expected.get(&class).copied());
        }
        let found: Vec<Entry> = entries.iter().collect();
        let expected: Vec<Entry> = expected.iter().map(|(c, g)| (*c, *g)).collect();
        assert_eq!(found, expected);
        assert_eq!(entries.len(), expected.len());
    }

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
            for class in (0..4_010).map(ClassId) {
                assert_eq!(entries.get(class), expected.get(&class).copied());
            }
            walk_all(&mut entries, &mut expected, round);
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
