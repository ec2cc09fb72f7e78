//! Which stacks keep their chains.
//!
//! A stack whose rows may change in its own map keeps its chain. Another one is built anew under a fresh
//! number, and its old map stays as it was for packets that are inside, with rows for classes that are new
//! to them. Where no row would do, the update must be a replacement.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use ocicat_node::{ClassId, RowId, StackId};

use super::InstalledStack;
use super::moves::{Moves, Near, Sight, Users};
use super::rows::Rows;
use super::update::{Sorted, StackChange};
use crate::prefixes::Prefixes;

/// Rows that the old map of a stack gets.
pub(super) type Bridge = Vec<(ClassId, RowId)>;

#[derive(Default)]
pub(super) struct Plan {
    /// Stacks that do not keep their chains.
    pub(super) left: BTreeMap<StackId, Bridge>,
    pub(super) replace: bool,
}

/// All that follows from a delta, before stacks change.
pub(super) struct Planner<'a> {
    pub(super) stacks: &'a BTreeMap<StackId, InstalledStack>,
    pub(super) rows: &'a Rows,
    pub(super) sorted: &'a Sorted<'a>,
    pub(super) prefixes: &'a Prefixes,
    pub(super) moves: &'a Moves,
}

impl Planner<'_> {
    pub(super) fn plan(&self, users: &BTreeMap<StackId, Users>) -> Plan {
        let mut plan = Plan::default();
        let changed = self.sorted.stacks.keys();
        let with_users = users.keys();
        let all: BTreeSet<StackId> = changed.chain(with_users).copied().collect();
        for id in all {
            let Some(old) = self.stacks.get(&id) else {
                continue;
            };
            let none = StackChange::default();
            let change = self.sorted.stacks.get(&id).unwrap_or(&none);
            let users = users.get(&id);
            let stays = self.may_stay(old, change)
                && users.is_none_or(|users| self.stays(id, old, change, users));
            if stays {
                continue;
            }
            let bridge = users.map_or(Some(Bridge::new()), |users| self.bridge(old, users));
            plan.replace |= bridge.is_none();
            plan.left.insert(id, bridge.unwrap_or_default());
        }
        plan
    }

    /// Whether rows may change in the stack's own map.
    fn stays(
        &self,
        id: StackId,
        old: &InstalledStack,
        change: &StackChange<'_>,
        users: &Users,
    ) -> bool {
        let own = users.own();
        users.to.iter().all(|(to, near)| {
            // A packet that has read its class, and finds a row of now.
            let changed = change.rows.iter().all(|(class, new)| {
                // What a class had that is left without addresses is only taken away later.
                let is_kept = new.is_none() && self.prefixes.is_vacant(*class);
                let new = new.or_else(|| self.rows.id(old.default_row));
                is_kept
                    || self.moves.vacant.contains(class)
                    || new == self.before(old, *class)
                    || self.goes_to(*class).all(|now| self.after(*to, now) == new)
            });
            // One that has not.
            let is_fine = |(sight, prefixes): (&Sight, &Vec<IpNet>)| {
                let met = self.after(Some(id), sight.seen);
                is_exempt(prefixes, &own, *near)
                    || met == self.before(old, sight.from)
                    || met == self.after(*to, sight.to)
            };
            let detours = || self.moves.detours.iter();
            let sights = &self.moves.sights;
            changed
                && match *to == Some(id) {
                    true => detours().all(|sight| is_fine((sight, &sights[sight]))),
                    false => sights.iter().all(is_fine),
                }
        })
    }

    /// Where the addresses of a class are afterwards.
    fn goes_to(&self, class: ClassId) -> impl Iterator<Item = ClassId> + '_ {
        let left = self
            .moves
            .leaving
            .get(&class)
            .into_iter()
            .flatten()
            .copied();
        let stays = (!self.prefixes.is_vacant(class)).then_some(class);
        left.chain(stays)
    }

    /// Rows for the old map by which each packet meets what it met before or will meet.
    fn bridge(&self, old: &InstalledStack, users: &Users) -> Option<Bridge> {
        let own = users.own();
        let mut fitting: BTreeMap<ClassId, BTreeSet<RowId>> = BTreeMap::new();
        for (to, near) in &users.to {
            for (sight, prefixes) in &self.moves.sights {
                if is_exempt(prefixes, &own, *near) {
                    continue;
                }
                let before = self.before(old, sight.from);
                let both = [before, self.after(*to, sight.to)];
                let both: BTreeSet<RowId> = both.into_iter().flatten().collect();
                fitting
                    .entry(sight.seen)
                    .and_modify(|rows| rows.retain(|row| both.contains(row)))
                    .or_insert(both);
            }
        }
        let mut bridge = Bridge::new();
        for (class, rows) in fitting {
            if self
                .before(old, class)
                .is_some_and(|row| rows.contains(&row))
            {
                continue;
            }
            let is_new = self.moves.vacant.contains(&class) && !old.rows.contains_key(&class);
            bridge.push((class, *rows.first().filter(|_| is_new)?));
        }
        (old.held + bridge.len() <= old.capacity).then_some(bridge)
    }

    /// The row that a stack will have for a class.
    fn after(&self, stack: Option<StackId>, class: ClassId) -> Option<RowId> {
        let id = stack?;
        let old = self.stacks.get(&id);
        let Some(change) = self.sorted.stacks.get(&id) else {
            return old.and_then(|old| self.before(old, class));
        };
        if change.removed {
            return None;
        }
        let default = change.set.map(|(_, row)| row);
        let default = default.or_else(|| self.rows.id(old?.default_row));
        if let Ok(at) = change
            .rows
            .binary_search_by_key(&class, |(class, _)| *class)
        {
            return change.rows[at].1.or(default);
        }
        if let Ok(at) = change
            .many
            .binary_search_by_key(&class, |(class, _)| *class)
        {
            return Some(change.many[at].1);
        }
        let own = old.and_then(|old| old.rows.get(&class));
        own.and_then(|row| self.rows.id(*row)).or(default)
    }

    /// The row that a stack has for a class.
    fn before(&self, stack: &InstalledStack, class: ClassId) -> Option<RowId> {
        self.rows.id(stack.row(class))
    }

    /// Whether there is room for the rows, and the default row is the same.
    fn may_stay(&self, old: &InstalledStack, change: &StackChange<'_>) -> bool {
        let come = change.rows.iter().filter(|(_, row)| row.is_some()).count();
        let same = |(_, row)| Some(row) == self.rows.id(old.default_row);
        !change.removed && change.set.is_none_or(same) && old.held + come <= old.capacity
    }
}

/// Whether no packet is between these far addresses and near addresses that change stacks so.
fn is_exempt(far: &[IpNet], own: &BTreeSet<IpNet>, near: Near) -> bool {
    let is_own = far.len() <= own.len() && far.iter().all(|prefix| own.contains(prefix));
    is_own || matches!(near, Near::One(near) if *far == [near])
}
