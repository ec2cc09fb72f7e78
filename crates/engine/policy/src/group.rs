//! Groups: the classes that the rules of one stack treat alike, by the marks of those rules.

use std::hash::{BuildHasher, BuildHasherDefault};

use ocicat_node::RowId;
use rustc_hash::{FxHashMap, FxHasher};

use crate::block::Truth;

/// How the classes of a group differ from a class without answers: step, and what is different
/// there. Sorted.
pub(crate) type Marks = [(u32, Mark)];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// Of claimed classes, where it is another than without answers; of unclaimed ones, where it
    /// is not no and may decide.
    Truth(Truth),
    /// Which question, and the number of the port, or of the set of ports.
    Port(u32, u16),
}

/// The step of the mark that only unclaimed classes have.
pub(crate) const UNCLAIMED: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) marks: Box<Marks>,
    /// Held.
    pub(crate) row: RowId,
    /// Entries of the table in the group.
    pub(crate) users: u32,
    /// The row follows from rules that are no more: no class may join.
    pub(crate) stale: bool,
}

impl Group {
    pub(crate) fn new(marks: Box<Marks>, row: RowId, users: u32) -> Self {
        Self {
            marks,
            row,
            users,
            stale: false,
        }
    }
}

/// The bits of a step. Steps are many, so that they share bits, but seldom all three.
fn bits_of(step: u32) -> u64 {
    // Different for each step up to some thousands, and well mixed.
    let mixed = step.wrapping_mul(0x9e37_79b1);
    let bit = |shift: u32| 1u64 << ((mixed >> shift) % u64::BITS);
    bit(26) | bit(20) | bit(14)
}

fn bits(marks: &Marks) -> u64 {
    marks.iter().fold(0, |all, (step, _)| all | bits_of(*step))
}

/// The groups of one table, by number.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    items: Vec<Option<Group>>,
    /// Of each group: the bits of the steps that have marks.
    steps: Vec<u64>,
    free: Vec<u32>,
    /// How many are stale.
    stale: usize,
    /// Those that are not stale, by a hash of their marks.
    numbers: FxHashMap<u64, u32>,
}

impl Groups {
    /// A table's groups, numbered as they are listed. Marks must differ.
    pub(crate) fn new(groups: impl Iterator<Item = Group>) -> Self {
        let mut groups = Self {
            items: groups.map(Some).collect(),
            ..Self::default()
        };
        groups.mark_steps();
        groups.index();
        groups
    }

    fn mark_steps(&mut self) {
        let groups = self.items.iter().map(Option::as_ref);
        let steps = groups.map(|group| group.map_or(0, |group| bits(&group.marks)));
        self.steps.clear();
        self.steps.extend(steps);
    }

    pub(crate) fn get(&self, number: u32) -> &Group {
        self.items[number as usize]
            .as_ref()
            .expect("tables name groups that are there")
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> &mut Group {
        self.items[number as usize]
            .as_mut()
            .expect("tables name groups that are there")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.items.iter().flatten()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// The group of these marks, or the place for it.
    pub(crate) fn find(&self, marks: &Marks) -> Result<u32, Vacant> {
        for place in places(marks) {
            match self.numbers.get(&place) {
                Some(&number) if *self.get(number).marks == *marks => return Ok(number),
                Some(_) => {}
                None => return Err(Vacant(place)),
            }
        }
        unreachable!("there are more places than groups")
    }

    /// `at` is what [`Groups::find`] said.
    pub(crate) fn insert(&mut self, at: Vacant, marks: &Marks, row: RowId) -> u32 {
        let group = Some(Group::new(marks.into(), row, 0));
        let number = match self.free.pop() {
            Some(number) => {
                self.items[number as usize] = group;
                self.steps[number as usize] = bits(marks);
                number
            }
            None => {
                self.items.push(group);
                self.steps.push(bits(marks));
                u32::try_from(self.items.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.numbers.insert(at.0, number);
        number
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<Group> {
        let group = self.items[number as usize].take()?;
        self.free.push(number);
        self.steps[number as usize] = 0;
        if group.stale {
            self.stale -= 1;
        } else {
            forget(&mut self.numbers, &group.marks, number);
        }
        Some(group)
    }

    /// Whether any is stale.
    pub(crate) fn has_stale(&self) -> bool {
        self.stale > 0
    }

    /// The rules of some steps are others; sorted. Groups that have marks there lose them and are
    /// stale.
    pub(crate) fn strike(&mut self, steps: &[u32]) {
        let struck = |(step, _): &(u32, Mark)| steps.binary_search(step).is_ok();
        // What all of several steps have in common.
        let Some(common) = steps.iter().map(|step| bits_of(*step)).reduce(|a, b| a & b) else {
            return;
        };
        for (number, own) in (0u32..).zip(&mut self.steps) {
            if *own & common != common {
                continue;
            }
            let group = self.items[number as usize].as_mut();
            if let Some(group) = group.filter(|group| group.marks.iter().any(struck)) {
                if !group.stale {
                    forget(&mut self.numbers, &group.marks, number);
                    self.stale += 1;
                }
                let kept = group.marks.iter().filter(|mark| !struck(mark));
                group.marks = kept.copied().collect();
                *own = bits(&group.marks);
                group.stale = true;
            }
        }
    }

    /// The steps have other numbers: `new` by the old ones. Nothing may have marks at a step that
    /// has none.
    pub(crate) fn renumber(&mut self, new: &[Option<u32>]) {
        for group in self.items.iter_mut().flatten() {
            for (step, _) in &mut group.marks {
                if let Some(Some(new)) = new.get(*step as usize) {
                    *step = *new;
                }
            }
            group.marks.sort_unstable();
        }
        self.mark_steps();
        self.index();
    }

    fn index(&mut self) {
        let mut numbers = FxHashMap::default();
        for (number, group) in (0u32..).zip(&self.items) {
            if let Some(group) = group.as_ref().filter(|group| !group.stale) {
                let free = places(&group.marks).find(|place| !numbers.contains_key(place));
                numbers.extend(free.map(|place| (place, number)));
            }
        }
        self.numbers = numbers;
    }
}

/// Where a group may be entered.
pub(crate) struct Vacant(u64);

/// The places of marks, to be tried one after the other: other marks may have the first.
fn places(marks: &Marks) -> impl Iterator<Item = u64> {
    let hash = BuildHasherDefault::<FxHasher>::default().hash_one(marks);
    (0u64..).map(move |next| hash.wrapping_add(next))
}

/// After this, marks that had to take a later place may be entered a second time, which is one
/// more group of the same row.
fn forget(numbers: &mut FxHashMap<u64, u32>, marks: &Marks, number: u32) {
    let mut places = places(marks).take(numbers.len());
    if let Some(place) = places.find(|place| numbers.get(place) == Some(&number)) {
        numbers.remove(&place);
    }
}
