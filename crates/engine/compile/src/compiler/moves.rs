//! What packets in flight may see while addresses change class and packets change hands.
//!
//! A packet learns its stack first, then the class of its far address, then the row. What it finds must
//! be the verdict of the old state or that of the new one, wherever the commit comes between.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use ocicat_node::{ClassId, EndpointId, StackId};

use super::InstalledEndpoint;
use super::host::Handover;
use super::update::Sorted;
use crate::prefixes::{Length, Prefixes};

/// So many classes with repeats are kept while they are collected.
const MANY: usize = 100_000;

/// Addresses that leave a class, and one that a look-up of them may find meanwhile. It is the class that
/// they go to, or that of a prefix around: maps are asked for the longest prefixes first, and those may
/// have been asked before the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sight {
    pub(super) from: ClassId,
    pub(super) seen: ClassId,
    pub(super) to: ClassId,
}

#[derive(Default)]
pub(super) struct Moves {
    /// Of the classes that the change names, those that no address has before it: no packet in
    /// flight carries them, so their rows may be written freely.
    pub(super) vacant: BTreeSet<ClassId>,
    /// With the prefixes that have them.
    pub(super) sights: BTreeMap<Sight, Vec<IpNet>>,
    /// Those in which a third class is seen.
    pub(super) detours: BTreeSet<Sight>,
    /// Where addresses of a class go.
    pub(super) leaving: BTreeMap<ClassId, BTreeSet<ClassId>>,
    before: Before,
}

/// The classes as they were.
#[derive(Default)]
struct Before {
    lengths: BTreeSet<Length>,
    /// What each changed prefix matched.
    matches: Vec<Option<(Length, ClassId)>>,
}

impl Moves {
    /// To be made before the prefixes change.
    pub(super) fn before(prefixes: &Prefixes, sorted: &Sorted<'_>) -> Self {
        let mut named: Vec<ClassId> = Vec::new();
        for change in sorted.stacks.values() {
            named.extend(change.rows.iter().map(|(class, _)| *class));
            named.extend(change.many.iter().map(|(class, _)| *class));
            // Stacks name the same classes again and again.
            if named.len() > MANY {
                named.sort_unstable();
                named.dedup();
            }
        }
        named.extend(sorted.classes.iter().filter_map(|(_, class)| *class));
        named.sort_unstable();
        named.dedup();
        let around = |(prefix, _): &(IpNet, _)| prefixes.around(prefix).next();
        let vacant = named.into_iter().filter(|c| prefixes.is_vacant(*c));
        Self {
            vacant: vacant.collect(),
            before: Before {
                lengths: prefixes.lengths().clone(),
                matches: sorted.classes.iter().map(around).collect(),
            },
            ..Self::default()
        }
    }

    /// To be told once they have.
    pub(super) fn after(&mut self, prefixes: &Prefixes, sorted: &Sorted<'_>) {
        let before = std::mem::take(&mut self.before);
        for ((prefix, _), old) in sorted.classes.iter().zip(before.matches) {
            let mut around = prefixes.around(prefix);
            let (Some((length, from)), Some((mut at, to))) = (old, around.next()) else {
                continue;
            };
            if from != to {
                self.leaving.entry(from).or_default().insert(to);
                let sight = Sight { from, seen: to, to };
                self.sights.entry(sight).or_default().push(*prefix);
            }
            // The map of that length was there, and what it holds now is asked for after the commit by
            // all who did not find the old match before.
            while at < length || !before.lengths.contains(&at) {
                let Some((next, seen)) = around.next() else {
                    break;
                };
                if seen != from && seen != to {
                    let sight = Sight { from, seen, to };
                    self.detours.insert(sight);
                    self.sights.entry(sight).or_default().push(*prefix);
                }
                at = next;
            }
        }
    }
}

/// Who was judged by a stack before, and stays.
#[derive(Default)]
pub(super) struct Users {
    /// Addresses of workloads.
    addresses: BTreeSet<(EndpointId, IpAddr)>,
    /// A host endpoint is among them: it judges packets of any addresses.
    is_host: bool,
    /// What judges them afterwards; `None` where nothing does.
    pub(super) to: BTreeMap<Option<StackId>, Near>,
}

/// Which near addresses change stacks so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Near {
    Any,
    /// Only this one, which is not its own far address.
    One(IpNet),
}

impl Near {
    pub(super) fn of(prefixes: &[IpNet]) -> Self {
        match prefixes {
            [one] if one.prefix_len() == one.max_prefix_len() => Self::One(*one),
            _ => Self::Any,
        }
    }
}

impl Users {
    fn add(&mut self, to: Option<StackId>, near: Near) {
        let known = self.to.entry(to).or_insert(near);
        if *known != near {
            *known = Near::Any;
        }
    }

    /// Addresses that its packets do not have at their far end: a lone workload's own.
    pub(super) fn own(&self) -> BTreeSet<IpNet> {
        let endpoints: BTreeSet<&EndpointId> = self.addresses.iter().map(|(id, _)| id).collect();
        match endpoints.len() {
            1 if !self.is_host => self
                .addresses
                .iter()
                .map(|(_, a)| IpNet::from(*a))
                .collect(),
            _ => BTreeSet::new(),
        }
    }
}

/// Who was judged by which stacks, and stays.
pub(super) fn users(
    endpoints: &BTreeMap<EndpointId, InstalledEndpoint>,
    handovers: &[Handover],
    sorted: &Sorted<'_>,
    (moves, prefixes): (&Moves, &Prefixes),
) -> BTreeMap<StackId, Users> {
    let mut users: BTreeMap<StackId, Users> = BTreeMap::new();
    for (id, endpoint) in endpoints {
        let Some(old) = endpoint
            .policy
            .as_ref()
            .filter(|_| endpoint.attachment.is_some())
        else {
            continue;
        };
        // Who is gone has no packets that matter.
        let new = match sorted.endpoints.get(id) {
            None => old,
            Some(Some(new)) => new,
            Some(None) => continue,
        };
        for local in &old.addresses {
            let mut all = new.addresses.iter();
            let Some(now) = all.find(|now| now.address == local.address) else {
                continue;
            };
            for (from, to) in [(local.ingress, now.ingress), (local.egress, now.egress)] {
                let users = users.entry(from).or_default();
                users.addresses.insert((id.clone(), local.address));
                users.add(Some(to), Near::Any);
            }
        }
    }
    for handover in handovers {
        of_host(handover, (moves, prefixes), &mut users);
    }
    users
}

fn of_host(
    handover: &Handover,
    (moves, prefixes): (&Moves, &Prefixes),
    users: &mut BTreeMap<StackId, Users>,
) {
    let Some(old) = handover.before() else {
        return;
    };
    let new = handover.after();
    let mut add = |from: StackId, to: Option<StackId>, near: Near| {
        let users = users.entry(from).or_default();
        users.is_host = true;
        users.add(to, near);
    };
    let after = |class: ClassId| new.map(|new| new.of(class));
    add(old.default, new.map(|new| new.default), Near::Any);
    let named = old.by_near.keys();
    for class in named.chain(new.into_iter().flat_map(|new| new.by_near.keys())) {
        // Who stays in the class.
        if !moves.vacant.contains(class) && !prefixes.is_vacant(*class) {
            add(old.of(*class), after(*class), Near::Any);
        }
    }
    if old.by_near.is_empty() && new.is_none_or(|new| new.by_near.is_empty()) {
        return;
    }
    for (sight, prefixes) in &moves.sights {
        add(old.of(sight.from), after(sight.to), Near::of(prefixes));
    }
}
