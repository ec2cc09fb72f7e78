//! Sets and maps, and what becomes of packets that look something up.

use std::collections::BTreeMap;

use ocicat_program::nft::{Data, Element, ElementKey, Key, KeyType, Layout, SetData, Text, Value};
use rustc_hash::FxHashMap;

use crate::packets::{Field, Packets};
use crate::{Ranges, Unsupported};

/// A set as look-ups need it. Values are numbers: their bytes, most significant first.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) key: Vec<KeyType>,
    pub(crate) data: SetData,
    pub(crate) items: Vec<Item>,
    /// Items whose first field is one value.
    by_first: FxHashMap<u128, Vec<usize>>,
    /// Items whose first field is a range.
    wide: Vec<usize>,
    /// The item of all other keys.
    catch_all: Option<usize>,
}

/// An element: a range for each field of the key.
#[derive(Debug)]
pub(crate) struct Item {
    ranges: Vec<(u128, u128)>,
    pub(crate) data: Option<Data>,
    pub(crate) comment: Option<Text>,
    pub(crate) counts: bool,
}

/// What packets have in a field of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Constant(u128),
    /// The field under a mask that keeps its high bits.
    Field {
        field: Field,
        mask: u128,
    },
}

/// Packets split by what a look-up finds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// With the item's place.
    pub(crate) hits: Vec<(Packets, usize)>,
    pub(crate) misses: Vec<Packets>,
}

impl Index {
    pub(crate) fn new(
        name: &str,
        key: &[KeyType],
        data: SetData,
        layout: Layout,
        elements: &[Element],
    ) -> Self {
        let mut index = Self {
            name: name.to_owned(),
            key: key.to_vec(),
            data,
            items: Vec::with_capacity(elements.len()),
            by_first: FxHashMap::default(),
            wide: Vec::new(),
            catch_all: None,
        };
        for element in elements {
            let ranges = match &element.key {
                ElementKey::Exact(key) => numbers(key, layout).map(|n| (n, n)).collect(),
                ElementKey::Range { first, last } => {
                    numbers(first, layout).zip(numbers(last, layout)).collect()
                }
                ElementKey::CatchAll => Vec::new(),
            };
            let place = index.items.len();
            let ranges: Vec<(u128, u128)> = ranges;
            match ranges.first() {
                None => index.catch_all = Some(place),
                Some((first, last)) if first == last => {
                    index.by_first.entry(*first).or_default().push(place);
                }
                Some(_) => index.wide.push(place),
            }
            index.items.push(Item {
                ranges,
                data: element.data.clone(),
                comment: element.comment.clone(),
                counts: element.counter.is_some(),
            });
        }
        index
    }

    /// Splits packets by what they find under a key.
    pub(crate) fn look_up(&self, packets: Packets, key: &[Part]) -> Result<Found, Unsupported> {
        let mut found = Found::default();
        let candidates: Vec<usize> = match key.first() {
            Some(Part::Constant(first)) => {
                let exact = self.by_first.get(first).into_iter().flatten();
                exact.chain(&self.wide).copied().collect()
            }
            _ => (0..self.items.len())
                .filter(|item| Some(*item) != self.catch_all)
                .collect(),
        };
        self.split(packets, key, 0, candidates, &mut found)?;
        if let Some(item) = self.catch_all {
            let others = std::mem::take(&mut found.misses).into_iter();
            found.hits.extend(others.map(|packets| (packets, item)));
        }
        Ok(found)
    }

    fn split(
        &self,
        packets: Packets,
        key: &[Part],
        depth: usize,
        mut candidates: Vec<usize>,
        found: &mut Found,
    ) -> Result<(), Unsupported> {
        let Some(part) = key.get(depth) else {
            match candidates[..] {
                [] => found.misses.push(packets),
                [item] => found.hits.push((packets, item)),
                _ => return Err(self.ambiguous()),
            }
            return Ok(());
        };
        if candidates.is_empty() {
            found.misses.push(packets);
            return Ok(());
        }
        match *part {
            Part::Constant(value) => {
                candidates.retain(|item| {
                    let (first, last) = self.items[*item].ranges[depth];
                    (first..=last).contains(&value)
                });
                self.split(packets, key, depth + 1, candidates, found)
            }
            Part::Field { field, mask } => {
                let groups = self.groups(&packets, (field, mask), depth, candidates)?;
                let groups = match depth + 1 == key.len() {
                    true => self.merged(groups)?,
                    false => groups,
                };
                let mut covered = Vec::new();
                for (range, items) in groups {
                    covered.extend(range.iter());
                    if let Some(packets) = packets.with(field, &range) {
                        self.split(packets, key, depth + 1, items, found)?;
                    }
                }
                let rest = packets.get(field).without(&Ranges::of(covered));
                found.misses.extend(packets.with(field, &rest));
                Ok(())
            }
        }
    }

    /// Disjoint parts of a field, each with the candidates that cover it.
    fn groups(
        &self,
        packets: &Packets,
        (field, mask): (Field, u128),
        depth: usize,
        candidates: Vec<usize>,
    ) -> Result<Vec<(Ranges, Vec<usize>)>, Unsupported> {
        let low_bits = packets.full_mask(field) & !mask;
        let mut by_range: BTreeMap<(u128, u128), Vec<usize>> = BTreeMap::new();
        for item in candidates {
            let (first, last) = self.items[item].ranges[depth];
            if low_bits == 0 {
                by_range.entry((first, last)).or_default().push(item);
            } else if first != last {
                return Err(Unsupported(format!("{}: ranges under a mask", self.name)));
            } else if first & low_bits == 0 {
                by_range
                    .entry((first, first | low_bits))
                    .or_default()
                    .push(item);
            }
        }
        let disjoint = by_range
            .keys()
            .zip(by_range.keys().skip(1))
            .all(|(one, next)| one.1 < next.0);
        if disjoint {
            let groups = by_range.into_iter();
            return Ok(groups
                .map(|(r, items)| (Ranges::of(vec![r]), items))
                .collect());
        }
        // Cut all of them at each other's ends.
        let mut ends: Vec<u128> = by_range.keys().map(|(first, _)| *first).collect();
        ends.extend(by_range.keys().filter_map(|(_, last)| last.checked_add(1)));
        ends.sort_unstable();
        ends.dedup();
        let mut groups = Vec::new();
        for (place, first) in ends.iter().enumerate() {
            let last = ends.get(place + 1).map_or(u128::MAX, |next| next - 1);
            let covering = by_range
                .iter()
                .filter(|(r, _)| r.0 <= *first && last <= r.1);
            let items: Vec<usize> = covering.flat_map(|(_, items)| items).copied().collect();
            if !items.is_empty() {
                groups.push((Ranges::of(vec![(*first, last)]), items));
            }
        }
        Ok(groups)
    }

    /// Joins parts of the last field that lead to the same data.
    fn merged(
        &self,
        groups: Vec<(Ranges, Vec<usize>)>,
    ) -> Result<Vec<(Ranges, Vec<usize>)>, Unsupported> {
        let mut by_data: BTreeMap<(Option<&Data>, Option<usize>), (usize, Vec<(u128, u128)>)> =
            BTreeMap::new();
        for (range, items) in &groups {
            let [item] = items[..] else {
                return Err(self.ambiguous());
            };
            let of = &self.items[item];
            // What counts is told apart.
            let key = (of.data.as_ref(), of.counts.then_some(item));
            let group = by_data.entry(key).or_insert_with(|| (item, Vec::new()));
            group.1.extend(range.iter());
        }
        let merged = by_data.into_values();
        Ok(merged
            .map(|(item, ranges)| (Ranges::of(ranges), vec![item]))
            .collect())
    }

    fn ambiguous(&self) -> Unsupported {
        Unsupported(format!("{}: two elements match the same key", self.name))
    }
}

fn numbers(key: &Key, layout: Layout) -> impl Iterator<Item = u128> + '_ {
    key.0.iter().map(move |value| number(value, layout))
}

fn number(value: &Value, layout: Layout) -> u128 {
    let mut bytes = Vec::with_capacity(16);
    match layout {
        Layout::Exact => value.write(&mut bytes),
        Layout::Interval | Layout::IntervalConcat => value.write_ordered(&mut bytes),
    }
    of_bytes(&bytes)
}

/// Bytes as a number, most significant first; of more than 16 the last.
pub(crate) fn of_bytes(bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}
