//! Groups: the classes of near addresses that a stage's rules treat alike, each with its stack.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ocicat_flow::Direction;
use ocicat_node::ClassId;
use rustc_hash::FxHashMap;

use crate::class::{ClassChanges, Classes};
use crate::slab::{EntryId, Slab, StackIndex};
use crate::stack::{Ending, Near, Stack, StackKey};

use super::{Hosts, StageState, Way, ending};

/// So many groups a stage may have, each with a table of its own; a stage with more is closed.
pub(crate) const NEAR_GROUPS: usize = 1_024;

/// A group's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) entry: EntryId,
    pub(crate) way: Way,
    number: usize,
}

/// A group that needs another stack. One that has none keeps no old one.
pub(crate) struct GroupMove {
    pub(crate) place: Place,
    pub(crate) old: Option<StackIndex>,
    pub(crate) key: StackKey,
}

#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// `None` is free.
    items: Vec<Option<Group>>,
    /// Empty where no rule asks: then there is one group.
    of_class: BTreeMap<ClassId, usize>,
    default: usize,
    /// There would be too many.
    pub(crate) closed: bool,
}

#[derive(Debug)]
struct Group {
    near: Arc<Near>,
    /// `None` until it was moved to one.
    stack: Option<StackIndex>,
    members: usize,
}

impl Groups {
    pub(super) fn stacks(&self) -> impl Iterator<Item = StackIndex> + '_ {
        self.items.iter().flatten().filter_map(|group| group.stack)
    }

    /// The stack of near addresses of classes that have none of their own.
    pub(crate) fn default_stack(&self) -> Option<StackIndex> {
        self.items.get(self.default)?.as_ref()?.stack
    }

    /// The classes whose stack is another, with their stacks; sorted.
    pub(crate) fn others(&self) -> impl Iterator<Item = (ClassId, StackIndex)> + '_ {
        let others = self
            .of_class
            .iter()
            .filter(|(_, group)| **group != self.default);
        others.filter_map(|(class, group)| Some((*class, self.items[*group].as_ref()?.stack?)))
    }

    pub(crate) fn stack_of(&self, class: ClassId) -> Option<StackIndex> {
        let group = self.of_class.get(&class).unwrap_or(&self.default);
        self.items.get(*group)?.as_ref()?.stack
    }

    fn single() -> Self {
        let mut groups = Self::default();
        groups.add(Arc::default());
        groups
    }

    /// One group for each answer.
    fn partition(nears: impl Iterator<Item = (ClassId, Near)>) -> Self {
        let mut groups = Self::default();
        let mut numbers: FxHashMap<Arc<Near>, usize> = FxHashMap::default();
        for (class, near) in nears {
            let number = match numbers.get(&near) {
                Some(number) => *number,
                None => {
                    let near = Arc::new(near);
                    numbers.insert(near.clone(), groups.items.len());
                    groups.add(near)
                }
            };
            groups.join(class, number);
        }
        groups
    }

    fn add(&mut self, near: Arc<Near>) -> usize {
        let group = Group {
            near,
            stack: None,
            members: 0,
        };
        match self.items.iter().position(Option::is_none) {
            Some(free) => {
                self.items[free] = Some(group);
                free
            }
            None => {
                self.items.push(Some(group));
                self.items.len() - 1
            }
        }
    }

    fn join(&mut self, class: ClassId, number: usize) {
        if let Some(group) = &mut self.items[number] {
            group.members += 1;
        }
        self.of_class.insert(class, number);
    }

    fn leave(&mut self, class: ClassId) {
        if let Some(number) = self.of_class.remove(&class)
            && let Some(group) = &mut self.items[number]
        {
            group.members -= 1;
        }
    }

    /// A default that is still common stays, so that little changes.
    fn choose_default(&mut self, old: Option<StackIndex>) {
        let groups = || {
            (0..)
                .zip(&self.items)
                .filter_map(|(n, g)| Some((n, g.as_ref()?)))
        };
        let Some(most) = groups().map(|(_, group)| group.members).max() else {
            return;
        };
        let common = |(_, group): &(usize, &Group)| {
            old.is_some() && group.stack == old && group.members * 2 >= most
        };
        let largest = || groups().find(|(_, group)| group.members == most);
        if let Some((number, _)) = groups().find(common).or_else(largest) {
            self.default = number;
        }
    }

    /// Gives each group the stack of the old group that became it, provided that no class changes
    /// its company: a packet in flight may have read class and stack of different moments. Returns
    /// the stacks that no group takes over.
    fn inherit(&mut self, old: &Self) -> Vec<StackIndex> {
        let mut pairs: BTreeSet<(usize, usize)> = BTreeSet::new();
        if self.of_class.is_empty() && old.of_class.is_empty() {
            pairs.extend(old.items.first().map(|_| (0, 0)));
        } else if old.of_class.is_empty() {
            pairs.extend((0..self.items.len()).map(|number| (0, number)));
        } else if self.of_class.is_empty() {
            pairs.extend(old.of_class.values().map(|number| (*number, 0)));
        } else {
            let both =
                |(class, number): (&ClassId, &usize)| Some((*old.of_class.get(class)?, *number));
            pairs.extend(self.of_class.iter().filter_map(both));
        }
        let distinct = |side: fn(&(usize, usize)) -> usize| {
            pairs.iter().map(side).collect::<BTreeSet<_>>().len() == pairs.len()
        };
        let mut left: BTreeSet<StackIndex> = old.stacks().collect();
        if distinct(|pair| pair.0) && distinct(|pair| pair.1) {
            for (from, to) in pairs {
                let stack = old.items.get(from).and_then(|group| group.as_ref()?.stack);
                if let (Some(stack), Some(Some(group))) = (stack, self.items.get_mut(to)) {
                    group.stack = Some(stack);
                    left.remove(&stack);
                }
            }
        }
        left.into_iter().collect()
    }
}

impl Hosts {
    /// Brings the groups of all stages up to date, and tells which of them need other stacks.
    pub(crate) fn regroup(
        &mut self,
        classes: &Classes,
        changes: &ClassChanges,
        stacks: &Slab<StackIndex, Stack>,
    ) -> Vec<GroupMove> {
        let mut moves = Vec::new();
        let quiet = changes.changed.is_empty() && changes.dead.is_empty();
        let entries: Vec<EntryId> = self.items.keys().copied().collect();
        for entry in entries {
            let Some(host) = self.items.get_mut(&entry) else {
                continue;
            };
            let mut stages = std::mem::take(&mut host.stages);
            for (way, stage) in &mut stages {
                let was_closed = stage.groups.closed;
                let many = stage.groups.items.len() > NEAR_GROUPS;
                if std::mem::take(&mut stage.stale) || !quiet && (many || was_closed) {
                    stage.asks = self.asks_near(stage);
                    self.group_again(stage, classes);
                } else if quiet || !stage.asks {
                    continue;
                } else {
                    self.follow(stage, classes, changes);
                }
                if was_closed != stage.groups.closed {
                    self.turned.insert(entry);
                }
                self.touched.insert(entry);
                for number in 0..stage.groups.items.len() {
                    let place = Place {
                        entry,
                        way: *way,
                        number,
                    };
                    moves.extend(move_of(stage, place, stacks));
                }
            }
            if let Some(host) = self.items.get_mut(&entry) {
                host.stages = stages;
            }
        }
        moves
    }

    fn group_again(&mut self, stage: &mut StageState, classes: &Classes) {
        let mut new = if stage.asks {
            let near =
                |class: ClassId| (class, self.near_of(stage, &classes.items[&class].signature));
            Groups::partition(classes.ids().into_iter().map(near))
        } else {
            Groups::single()
        };
        if new.items.len() > NEAR_GROUPS {
            new = Groups {
                closed: true,
                ..Groups::single()
            };
        }
        self.left.extend(new.inherit(&stage.groups));
        new.choose_default(stage.groups.default_stack());
        stage.groups = new;
    }

    /// Follows what became of single classes.
    fn follow(&mut self, stage: &mut StageState, classes: &Classes, changes: &ClassChanges) {
        changes
            .dead
            .iter()
            .for_each(|class| stage.groups.leave(*class));
        for changed in &changes.changed {
            let class = changed.class;
            stage.groups.leave(class);
            let Some(item) = classes.items.get(&class) else {
                continue;
            };
            let near = self.near_of(stage, &item.signature);
            let groups = &mut stage.groups;
            let same = |group: &Option<Group>| group.as_ref().is_some_and(|g| *g.near == near);
            let number = match groups.items.iter().position(same) {
                Some(number) => number,
                None => groups.add(Arc::new(near)),
            };
            groups.join(class, number);
        }
        self.forget_empty(stage);
    }

    fn forget_empty(&mut self, stage: &mut StageState) {
        let old = stage.groups.default_stack();
        for group in &mut stage.groups.items {
            if group.as_ref().is_some_and(|group| group.members == 0) {
                self.left.extend(group.take().and_then(|group| group.stack));
            }
        }
        stage.groups.choose_default(old);
    }

    /// Classes that became one with others.
    pub(crate) fn forget_classes(&mut self, dead: &[ClassId]) {
        for (entry, host) in &mut self.items {
            for stage in host.stages.values_mut() {
                for class in dead {
                    if stage.groups.of_class.contains_key(class) {
                        stage.groups.leave(*class);
                        self.touched.insert(*entry);
                    }
                }
            }
        }
    }

    pub(crate) fn set_stack(&mut self, place: Place, stack: StackIndex) {
        let host = self.items.get_mut(&place.entry);
        let stage = host.and_then(|host| host.stages.get_mut(&place.way));
        if let Some(Some(group)) = stage.and_then(|s| s.groups.items.get_mut(place.number)) {
            group.stack = Some(stack);
        }
    }

    pub(crate) fn stage(&self, entry: EntryId, way: Way) -> Option<&StageState> {
        self.items.get(&entry)?.stages.get(&way)
    }
}

fn move_of(
    stage: &StageState,
    place: Place,
    stacks: &Slab<StackIndex, Stack>,
) -> Option<GroupMove> {
    let group = stage.groups.items[place.number].as_ref()?;
    let (at, direction): (_, Direction) = place.way;
    let ending = match stage.groups.closed {
        true => Ending::Closed,
        false => ending(at),
    };
    let same = |index: StackIndex| {
        let key = &stacks[index].key;
        key.direction == direction
            && key.ending == ending
            && key.blocks == stage.blocks
            && key.profiles == stage.profiles
            && key.near == *group.near
    };
    if group.stack.is_some_and(same) {
        return None;
    }
    let key = StackKey {
        direction,
        blocks: stage.blocks.clone(),
        profiles: stage.profiles.clone(),
        ending,
        near: (*group.near).clone(),
        salt: 0,
    };
    Some(GroupMove {
        place,
        old: group.stack,
        key,
    })
}
