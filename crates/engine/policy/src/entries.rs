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
    /// Of each chunk: it has no entry of a class before this one. Few, so that they are looked
    /// through without waiting for memory.
    firsts: Vec<ClassId>,
    /// Never empty.
    chunks: Vec<Vec<Entry>>,
    count: usize,
}

impl Entries {
    /// From entries that are sorted by class, without repeats.
    pub(crate) fn new(entries: &[Entry]) -> Self {
        let chunks = entries.chunks(CHUNK);
        Self {
            firsts: chunks.clone().map(|chunk| chunk[0].0).collect(),
            chunks: chunks.map(<[Entry]>::to_vec).collect(),
            count: entries.len(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.chunks.iter().flatten().copied()
    }

    pub(crate) fn get(&self, class: ClassId) -> Option<u32> {
        let place = self.place_of(class, 0);
        place.at.ok().map(|at| self.chunks[place.chunk][at].1)
    }

    /// The chunk that has the class, if any has.
    fn chunk_of(&self, class: ClassId) -> usize {
        // New classes have the highest numbers: that is one look instead of many.
        match self.firsts.last() {
            Some(last) if *last <= class => self.firsts.len() - 1,
            _ => {
                let after = self.firsts.partition_point(|first| *first <= class);
                after.saturating_sub(1)
            }
        }
    }

    /// Where a class is in a chunk, or would be. Classes have numbers in a row, and much the same
    /// part of them is here: the first look is where the class would be if they were spread evenly.
    fn find(&self, chunk: usize, class: ClassId) -> Result<usize, usize> {
        /// So many entries share a cache line.
        const NEAR: usize = 8;
        let Some(entries) = self.chunks.get(chunk) else {
            return Err(0);
        };
        let first = self.firsts[chunk];
        let end = self
            .firsts
            .get(chunk + 1)
            .or(entries.last().map(|(class, _)| class));
        let span = end.map_or(1, |end| end.0.saturating_sub(first.0).max(1));
        let (offset, count) = (class.0.saturating_sub(first.0), entries.len());
        let look = u64::from(offset) * count as u64 / u64::from(span);
        let look = usize::try_from(look).unwrap_or(count).min(count - 1);
        // Then further and further away.
        let (mut low, mut high) = (0, count);
        let mut step = NEAR;
        if entries[look].0 < class {
            low = look + 1;
            while low + step < count && entries[low + step].0 < class {
                (low, step) = (low + step + 1, 2 * step);
            }
            high = high.min(low + step + 1);
        } else {
            high = look + 1;
            while high > step && entries[high - step].0 > class {
                (high, step) = (high - step, 2 * step);
            }
            low = low.max(high.saturating_sub(step));
        }
        let found = entries[low..high].binary_search_by_key(&class, |(class, _)| *class);
        found.map(|at| low + at).map_err(|at| low + at)
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
        let begins = |number: usize| self.firsts.get(number).is_some_and(|first| *first <= class);
        let holds = |number: &usize| begins(*number) && !begins(*number + 1);
        let chunk = [near, near + 1].into_iter().find(holds);
        let chunk = chunk.unwrap_or_else(|| self.chunk_of(class));
        Place {
            chunk,
            at: self.find(chunk, class),
        }
    }

    fn insert_at(&mut self, place: Place, class: ClassId, group: u32) {
        let is_last = place.chunk + 1 >= self.chunks.len();
        let Some(entries) = self.chunks.get_mut(place.chunk) else {
            *self = Self::new(&[(class, group)]);
            return;
        };
        // New classes come after all others, to many tables at once: none of them shall copy a chunk.
        let len = entries.len();
        if is_last && place.at == Err(len) && len >= CHUNK && len == entries.capacity() {
            let mut entries = Vec::with_capacity(GROWTH);
            entries.push((class, group));
            self.firsts.push(class);
            self.chunks.push(entries);
            self.count += 1;
            return;
        }
        match place.at {
            Ok(at) => entries[at].1 = group,
            Err(at) => {
                if entries.len() == entries.capacity() {
                    entries.reserve_exact(GROWTH);
                }
                entries.insert(at, (class, group));
                self.count += 1;
                let first = &mut self.firsts[place.chunk];
                *first = (*first).min(class);
                if entries.len() > MOST {
                    let entries = entries.split_off(MOST / 2);
                    self.firsts.insert(place.chunk + 1, entries[0].0);
                    self.chunks.insert(place.chunk + 1, entries);
                }
            }
        }
    }

    fn remove_at(&mut self, place: Place) {
        if let Ok(at) = place.at {
            let entries = &mut self.chunks[place.chunk];
            entries.remove(at);
            self.count -= 1;
            if entries.len() < FEWEST {
                self.join(place.chunk);
            }
        }
    }

    /// Joins a chunk with the one before it, if that has room.
    fn join(&mut self, number: usize) {
        let empty = self.chunks[number].is_empty();
        let before = number.checked_sub(1).map(|before| &mut self.chunks[before]);
        let has_room = before.as_ref().is_some_and(|before| before.len() < CHUNK);
        if empty || has_room {
            self.firsts.remove(number);
            let entries = self.chunks.remove(number);
            if has_room {
                self.chunks[number - 1].extend(entries);
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
        let place = Place {
            chunk: 0,
            at: Err(0),
        };
        Self {
            entries,
            class: ClassId(0),
            place,
        }
    }

    /// The group of the next class.
    pub(crate) fn next(&mut self, class: ClassId) -> Option<u32> {
        self.class = class;
        self.place = self.entries.place_of(class, self.place.chunk);
        let chunk = self.entries.chunks.get(self.place.chunk)?;
        self.place.at.ok().map(|at| chunk[at].1)
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
    fn unevenly_spread_entries_are_found() {
        // Nearly all classes are close to one end, or in two heaps.
        let spread: [fn(u32) -> u32; 3] = [
            |n| n * n * n / 7 + n,
            |n| 4_000_000 - (700 - n) * (700 - n),
            |n| n + n / 90 * 100_000,
        ];
        for spread in spread {
            let classes: Vec<u32> = (0..700).map(spread).collect();
            let all: Vec<Entry> = (0u32..)
                .zip(&classes)
                .map(|(n, c)| (ClassId(*c), n))
                .collect();
            let entries = Entries::new(&all);
            for (class, group) in &all {
                assert_eq!(entries.get(*class), Some(*group));
                let next = ClassId(class.0 + 1);
                let expected = classes.contains(&next.0).then_some(group + 1);
                assert_eq!(entries.get(next), expected);
            }
            assert_eq!(entries.get(ClassId(u32::MAX)), None);
        }
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
                    .all(|chunk| (1..=MOST).contains(&chunk.len()))
            );
        }
        assert!(entries.len() > 100);
        for class in (0..4_010).map(ClassId) {
            entries.remove(class);
        }
        assert!(entries.chunks.is_empty() && entries.firsts.is_empty());
        entries.insert(ClassId(9), 1);
        entries.insert(ClassId(2), 2);
        assert_eq!(
            entries.iter().collect::<Vec<_>>(),
            [(ClassId(2), 2), (ClassId(9), 1)]
        );
    }
}
