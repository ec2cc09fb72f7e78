//! Pools, nodes and network sets: objects that make prefixes and addresses matter.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use ocicat_api::core::{IpPool, Node};
use ocicat_api::policy::NetworkSet;
use ocicat_api::{Kind, ObjectKey};
use rustc_hash::FxHashMap;

use crate::endpoint::{Endpoints, NAMESPACE_LABEL};
use crate::identity::{Identities, IdentityKey, Role};
use crate::question::{QuestionKey, Questions};
use crate::region::List;
use crate::rule::net_list;
use crate::slab::{IdentityId, QuestionId};
use crate::source::Interner;
use crate::space::Space;

#[derive(Debug, Clone, PartialEq, Eq)]
struct SetRecord {
    identity: IdentityId,
    /// Sorted, without repeats.
    nets: Box<[IpNet]>,
}

/// What was last given, and what the space was told.
#[derive(Debug, Default)]
pub(crate) struct Nets {
    sets: FxHashMap<ObjectKey, SetRecord>,
    pools: FxHashMap<ObjectKey, IpNet>,
    nodes: FxHashMap<ObjectKey, Box<[IpAddr]>>,
    /// Of objects that changed in this commit, what they were before; holds identities.
    old_sets: BTreeMap<ObjectKey, Option<SetRecord>>,
    old_pools: BTreeMap<ObjectKey, Option<IpNet>>,
    old_nodes: BTreeMap<ObjectKey, Option<Box<[IpAddr]>>>,
}

impl Nets {
    pub(crate) fn put_set(
        &mut self,
        interner: &mut Interner,
        ids: &mut Identities,
        key: &ObjectKey,
        set: Option<&NetworkSet>,
    ) {
        let new = set.map(|set| SetRecord {
            identity: set_identity(interner, ids, key, set),
            nets: net_list(&set.nets),
        });
        let old = match new.clone() {
            Some(new) => self.sets.insert(key.clone(), new),
            None => self.sets.remove(key),
        };
        if old == new {
            old.into_iter().for_each(|old| ids.release(old.identity));
        } else if self.old_sets.contains_key(key) {
            // What the space was told is noted already.
            old.into_iter().for_each(|old| ids.release(old.identity));
        } else {
            self.old_sets.insert(key.clone(), old);
        }
    }

    pub(crate) fn put_pool(&mut self, key: &ObjectKey, pool: Option<&IpPool>) {
        let new = pool.map(|pool| pool.cidr.trunc());
        let old = match new {
            Some(cidr) => self.pools.insert(key.clone(), cidr),
            None => self.pools.remove(key),
        };
        if old != new {
            self.old_pools.entry(key.clone()).or_insert(old);
        }
    }

    pub(crate) fn put_node(&mut self, key: &ObjectKey, node: Option<&Node>) {
        let new: Option<Box<[IpAddr]>> = node.map(|node| {
            let mut addresses = node.addresses.clone();
            addresses.sort_unstable();
            addresses.dedup();
            addresses.into()
        });
        let old = match new.clone() {
            Some(new) => self.nodes.insert(key.clone(), new),
            None => self.nodes.remove(key),
        };
        if old != new {
            self.old_nodes.entry(key.clone()).or_insert(old);
        }
    }

    /// Whether a network set is among what changed.
    pub(crate) fn sets_changed(&self) -> bool {
        !self.old_sets.is_empty()
    }

    /// Tells the space. Returns identities that the caller releases when kinds are settled.
    pub(crate) fn apply(&mut self, space: &mut Space, ids: &mut Identities) -> Vec<IdentityId> {
        for (key, old) in std::mem::take(&mut self.old_pools) {
            let new = self.pools.get(&key).copied();
            if let Some(cidr) = new {
                let region = space.hold_region(ids, cidr);
                space.regions.items[region].pools += 1;
                space.mark_inside(cidr);
            }
            if let Some(cidr) = old
                && let Some(region) = space.regions.find(&cidr)
            {
                space.regions.items[region].pools -= 1;
                space.mark_inside(cidr);
                space.regions.let_go(region);
            }
        }
        for (key, old) in std::mem::take(&mut self.old_nodes) {
            let new = self.nodes.get(&key).map_or(&[][..], |addresses| addresses);
            new.iter().for_each(|address| space.add_node(*address));
            old.iter()
                .flat_map(|o| o.iter())
                .for_each(|address| space.remove_node(*address));
        }
        let mut released = Vec::new();
        for (key, old) in std::mem::take(&mut self.old_sets) {
            apply_set(space, ids, old.as_ref(), self.sets.get(&key));
            released.extend(old.map(|old| old.identity));
        }
        released
    }

    /// The prefixes of the sets that have one of the identities.
    pub(crate) fn prefixes_of<'a>(
        &'a self,
        identities: &'a [IdentityId],
    ) -> impl Iterator<Item = IpNet> + 'a {
        let sets = self.sets.values();
        sets.filter(|set| identities.binary_search(&set.identity).is_ok())
            .flat_map(|set| set.nets.iter().copied())
    }

    /// The sets with a net that contains the address, sorted.
    pub(crate) fn sets_of(&self, address: IpAddr) -> Vec<ObjectKey> {
        let holds = |set: &SetRecord| set.nets.iter().any(|net| net.contains(&address));
        let mut keys: Vec<ObjectKey> = self
            .sets
            .iter()
            .filter(|(_, set)| holds(set))
            .map(|(key, _)| key.clone())
            .collect();
        keys.sort_unstable();
        keys
    }
}

fn set_identity(
    interner: &mut Interner,
    ids: &mut Identities,
    key: &ObjectKey,
    set: &NetworkSet,
) -> IdentityId {
    let labels = &set.metadata.labels;
    let namespace = key
        .namespace
        .as_deref()
        .filter(|_| key.kind == Kind::NetworkSet);
    let (own, profiles): (_, Box<[_]>) = match namespace {
        Some(namespace) => {
            let own = interner.label_set_with(labels, &[(NAMESPACE_LABEL, namespace)]);
            (
                own,
                Box::new([interner.names.acquire(&format!("kns.{namespace}"))]),
            )
        }
        None => (interner.label_set(labels, ""), Box::default()),
    };
    let identity = IdentityKey {
        role: Role::NetworkSet,
        namespace: namespace.map(|namespace| interner.names.acquire(namespace)),
        own,
        account: None,
        profiles,
        ports: Box::default(),
    };
    ids.acquire(interner, identity)
}

fn apply_set(
    space: &mut Space,
    ids: &mut Identities,
    old: Option<&SetRecord>,
    new: Option<&SetRecord>,
) {
    let same_identity = old.map(|old| old.identity) == new.map(|new| new.identity);
    let has = |record: Option<&SetRecord>, net: &IpNet| {
        same_identity && record.is_some_and(|record| record.nets.binary_search(net).is_ok())
    };
    for (net, identity) in new
        .iter()
        .flat_map(|set| set.nets.iter().map(|net| (net, set.identity)))
    {
        if has(old, net) {
            continue;
        }
        let region = space.hold_region(ids, *net);
        space.regions.items[region].sets.push(identity);
        space.mark_inside(*net);
    }
    for (net, identity) in old
        .iter()
        .flat_map(|set| set.nets.iter().map(|net| (net, set.identity)))
    {
        if has(new, net) {
            continue;
        }
        let Some(region) = space.regions.find(net) else {
            continue;
        };
        let sets = &mut space.regions.items[region].sets;
        if let Some(at) = sets.iter().position(|other| *other == identity) {
            sets.swap_remove(at);
        }
        space.mark_inside(*net);
        space.regions.let_go(region);
    }
}

/// Makes the prefixes of new questions about nets matter.
pub(crate) fn add_questions(
    space: &mut Space,
    ids: &mut Identities,
    questions: &Questions,
    fresh: &[QuestionId],
) {
    for id in fresh {
        for (prefix, list) in prefixes(&questions.items[*id].key) {
            let region = space.hold_region(ids, prefix);
            space.regions.items[region].asked.push((*id, list));
            if list == List::Nets {
                space.mark_inside(prefix);
            }
        }
    }
}

/// The prefixes of these questions matter no longer. No kind is marked: the classes know.
pub(crate) fn remove_questions(space: &mut Space, questions: &Questions, dead: &[QuestionId]) {
    for id in dead {
        for (prefix, list) in prefixes(&questions.items[*id].key) {
            let Some(region) = space.regions.find(&prefix) else {
                continue;
            };
            let asked = &mut space.regions.items[region].asked;
            if let Some(at) = asked.iter().position(|other| *other == (*id, list)) {
                asked.swap_remove(at);
            }
            space.regions.let_go(region);
        }
    }
}

fn prefixes(key: &QuestionKey) -> Vec<(IpNet, List)> {
    use crate::rule::AddressTest;
    match key {
        QuestionKey::Address(AddressTest::Nets(test)) => {
            let nets = test.nets.iter().map(|net| (*net, List::Nets));
            nets.chain(test.except.iter().map(|net| (*net, List::Except)))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Endpoints that have the address, sorted.
pub(crate) fn endpoints_of(
    space: &Space,
    endpoints: &Endpoints,
    address: IpAddr,
) -> Vec<ObjectKey> {
    let slot = space.slots.find(address).into_iter();
    let owners = slot.flat_map(|slot| space.slots.owners(slot));
    let mut keys: Vec<ObjectKey> = owners
        .map(|entry| endpoints.items[*entry].key.clone())
        .collect();
    keys.sort_unstable();
    keys
}
