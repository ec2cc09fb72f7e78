//! Groups: the classes that the rules of one stack treat alike, by the marks of those rules.

use ocicat_node::RowId;

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

/// The groups of one table, by number.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    items: Vec<Option<Group>>,
    free: Vec<u32>,
    /// Those that are not stale, by their marks.
    order: Vec<u32>,
}

impl Groups {
    /// A table's groups, numbered as they are listed. Marks must differ.
    pub(crate) fn new(groups: impl Iterator<Item = Group>) -> Self {
        let items: Vec<Option<Group>> = groups.map(Some).collect();
        let mut groups = Self {
            order: (0u32..).zip(&items).map(|(number, _)| number).collect(),
            items,
            free: Vec::new(),
        };
        groups.sort();
        groups
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

    /// The group of these marks, or where among the others it belongs.
    pub(crate) fn find(&self, marks: &Marks) -> Result<u32, usize> {
        let found = self
            .order
            .binary_search_by(|number| self.get(*number).marks.as_ref().cmp(marks));
        found.map(|at| self.order[at])
    }

    /// `at` is what [`Groups::find`] said.
    pub(crate) fn insert(&mut self, at: usize, marks: &Marks, row: RowId) -> u32 {
        let group = Some(Group {
            marks: marks.into(),
            row,
            users: 0,
            stale: false,
        });
        let number = match self.free.pop() {
            Some(number) => {
                self.items[number as usize] = group;
                number
            }
            None => {
                self.items.push(group);
                u32::try_from(self.items.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.order.insert(at, number);
        number
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<Group> {
        let group = self.items[number as usize].take()?;
        self.free.push(number);
        let at = self.order.binary_search_by(|other| {
            let other = self.items[*other as usize].as_ref();
            let marks = other.map_or(&group.marks, |other| &other.marks);
            marks.cmp(&group.marks)
        });
        // A stale one may have the marks of one that is not.
        if let Ok(at) = at
            && self.order[at] == number
        {
            self.order.remove(at);
        }
        Some(group)
    }

    /// The rules of some steps are others; sorted. Groups that have marks there lose them and are
    /// stale.
    pub(crate) fn strike(&mut self, steps: &[u32]) {
        let struck = |(step, _): &(u32, Mark)| steps.binary_search(step).is_ok();
        let mut any = false;
        for group in self.items.iter_mut().flatten() {
            if group.marks.iter().any(struck) {
                let kept = group.marks.iter().filter(|mark| !struck(mark));
                group.marks = kept.copied().collect();
                group.stale = true;
                any = true;
            }
        }
        if any {
            let items = &self.items;
            let stale = |number: &u32| items[*number as usize].as_ref().is_none_or(|g| g.stale);
            self.order.retain(|number| !stale(number));
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
        self.sort();
    }

    fn sort(&mut self) {
        let items = &self.items;
        let marks = |number: &u32| items[*number as usize].as_ref().map(|group| &group.marks);
        self.order.sort_unstable_by(|a, b| marks(a).cmp(&marks(b)));
    }
}
