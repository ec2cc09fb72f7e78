//! Questions that lists of addresses answer: what is behind a service, and which nodes have an
//! address. Only lists that a question asks for are told to the space, address by address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_api::ObjectKey;
use ocicat_api::core::{EndpointSlice, Node, SlicePort};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::label::Name;
use crate::owner::{Owner, OwnerTest};
use crate::question::{QuestionKey, Questions};
use crate::rule::AddressTest;
use crate::slab::{LabelSetId, QuestionId};
use crate::source::Interner;
use crate::space::Space;

mod ports;

pub(crate) use ports::{PortSets, TOO_MANY};

/// Namespace and name.
type ServiceName = (Name, Name);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Slice {
    service: ServiceName,
    /// Sorted, without repeats.
    addresses: Box<[IpAddr]>,
    /// Sorted, without repeats.
    ports: Arc<[SlicePort]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NodeRecord {
    labels: LabelSetId,
    addresses: Box<[IpAddr]>,
}

/// What was last given, and what the space was told.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    slices: FxHashMap<ObjectKey, Slice>,
    nodes: FxHashMap<ObjectKey, NodeRecord>,
    /// Of objects that changed in this commit, what they were before; hold their names.
    old_slices: BTreeMap<ObjectKey, Option<Slice>>,
    old_nodes: BTreeMap<ObjectKey, Option<NodeRecord>>,
    services: FxHashMap<ServiceName, AskedService>,
    node_tests: FxHashMap<QuestionId, AskedNodes>,
    pub(crate) port_sets: PortSets,
}

#[derive(Debug)]
struct AskedService {
    question: QuestionId,
    /// For each slice that lists the address, the number of its ports; sorted, held.
    sets: FxHashMap<IpAddr, Vec<u16>>,
}

#[derive(Debug)]
struct AskedNodes {
    test: Arc<OwnerTest>,
    /// How many nodes that satisfy the test have the address.
    counts: FxHashMap<IpAddr, u32>,
}

impl Lists {
    pub(crate) fn put_slice(
        &mut self,
        interner: &mut Interner,
        key: &ObjectKey,
        slice: Option<&EndpointSlice>,
    ) {
        let service = slice.and_then(|slice| Some((slice, slice.service.as_ref()?)));
        let new = service.map(|(slice, service)| {
            let namespace = key.namespace.as_deref().unwrap_or("default");
            let names = &mut interner.names;
            let mut ports = slice.ports.clone();
            ports.sort_unstable();
            ports.dedup();
            Slice {
                service: (names.acquire(namespace), names.acquire(service)),
                addresses: sorted(&slice.addresses),
                ports: ports.into(),
            }
        });
        let release = |slice: Slice, interner: &mut Interner| release(interner, slice.service);
        let slot = (&mut self.slices, &mut self.old_slices);
        put(slot, key, new, |old| release(old, interner));
    }

    pub(crate) fn put_node(
        &mut self,
        interner: &mut Interner,
        key: &ObjectKey,
        node: Option<&Node>,
    ) {
        let new = node.map(|node| NodeRecord {
            labels: interner.label_set(&node.metadata.labels, ""),
            addresses: sorted(&node.addresses),
        });
        let slot = (&mut self.nodes, &mut self.old_nodes);
        put(slot, key, new, |old| interner.release_labels(old.labels));
    }

    /// Tells the space what changed, and what new questions ask for.
    pub(crate) fn apply(
        &mut self,
        interner: &mut Interner,
        space: &mut Space,
        questions: &Questions,
        fresh: &[QuestionId],
    ) {
        for (key, old) in std::mem::take(&mut self.old_slices) {
            let new = self.slices.get(&key);
            change_slice(
                &mut self.services,
                &mut self.port_sets,
                space,
                old.as_ref(),
                new,
            );
            old.into_iter()
                .for_each(|old| release(interner, old.service));
        }
        for (key, old) in std::mem::take(&mut self.old_nodes) {
            let new = self.nodes.get(&key);
            for (question, asked) in &mut self.node_tests {
                let listed = |node: Option<&NodeRecord>| {
                    node.filter(|node| asked.test.matches(&owner(interner, node), &interner.names))
                        .map_or(&[][..], |node| &node.addresses)
                        .to_vec()
                };
                let (old, new) = (listed(old.as_ref()), listed(new));
                asked.change(*question, space, &old, &new);
            }
            old.into_iter()
                .for_each(|old| interner.release_labels(old.labels));
        }
        self.add_questions(interner, space, questions, fresh);
    }

    fn add_questions(
        &mut self,
        interner: &Interner,
        space: &mut Space,
        questions: &Questions,
        fresh: &[QuestionId],
    ) {
        let mut new: FxHashSet<ServiceName> = FxHashSet::default();
        for id in fresh {
            match &questions.items[*id].key {
                QuestionKey::Address(AddressTest::Service(namespace, name)) => {
                    let asked = AskedService {
                        question: *id,
                        sets: FxHashMap::default(),
                    };
                    self.services.insert((*namespace, *name), asked);
                    new.insert((*namespace, *name));
                }
                QuestionKey::Address(AddressTest::Node(test)) => {
                    let mut asked = AskedNodes {
                        test: test.clone(),
                        counts: FxHashMap::default(),
                    };
                    let nodes = self.nodes.values();
                    for node in nodes.filter(|n| test.matches(&owner(interner, n), &interner.names))
                    {
                        asked.change(*id, space, &[], &node.addresses);
                    }
                    self.node_tests.insert(*id, asked);
                }
                _ => {}
            }
        }
        if new.is_empty() {
            return;
        }
        for slice in self
            .slices
            .values()
            .filter(|slice| new.contains(&slice.service))
        {
            change_slice(
                &mut self.services,
                &mut self.port_sets,
                space,
                None,
                Some(slice),
            );
        }
    }

    /// Takes back what was told for questions that nobody asks any more.
    pub(crate) fn remove_questions(
        &mut self,
        space: &mut Space,
        questions: &Questions,
        dead: &[QuestionId],
    ) {
        for id in dead {
            match &questions.items[*id].key {
                QuestionKey::Address(AddressTest::Service(namespace, name)) => {
                    let Some(asked) = self.services.remove(&(*namespace, *name)) else {
                        continue;
                    };
                    for (address, sets) in asked.sets {
                        space.set_listed(address, *id, &[]);
                        sets.into_iter().for_each(|set| self.port_sets.release(set));
                    }
                }
                QuestionKey::Address(AddressTest::Node(_)) => {
                    let asked = self.node_tests.remove(id);
                    for address in asked.into_iter().flat_map(|asked| asked.counts.into_keys()) {
                        space.set_listed(address, *id, &[]);
                    }
                }
                _ => {}
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.slices.is_empty()
            && self.nodes.is_empty()
            && self.services.is_empty()
            && self.node_tests.is_empty()
            && self.port_sets.is_empty()
    }
}

impl AskedNodes {
    fn change(&mut self, id: QuestionId, space: &mut Space, old: &[IpAddr], new: &[IpAddr]) {
        for address in new {
            let count = self.counts.entry(*address).or_default();
            *count += 1;
            if *count == 1 {
                space.set_listed(*address, id, &[0]);
            }
        }
        for address in old {
            let Some(count) = self.counts.get_mut(address) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(address);
                space.set_listed(*address, id, &[]);
            }
        }
    }
}

impl AskedService {
    /// Adds or takes away one slice with these ports for one address.
    /// Returns what was taken away.
    fn tell(
        &mut self,
        space: &mut Space,
        address: IpAddr,
        gone: Option<u16>,
        come: Option<u16>,
    ) -> Option<u16> {
        let sets = self.sets.entry(address).or_default();
        let at = |number: u16| sets.iter().position(|set| *set == number);
        // A set may have been one too many when it came.
        let at = gone.and_then(|gone| at(gone).or_else(|| at(TOO_MANY)));
        let taken = at.map(|at| sets.remove(at));
        sets.extend(come);
        sets.sort_unstable();
        let mut values: Vec<u32> = Vec::with_capacity(sets.len() + 1);
        if !sets.is_empty() {
            values.push(0);
        }
        values.extend(sets.iter().map(|set| u32::from(*set)));
        values.dedup();
        if sets.is_empty() {
            self.sets.remove(&address);
        }
        space.set_listed(address, self.question, &values);
        taken
    }
}

/// The work is in proportion to the addresses that are different.
fn change_slice(
    services: &mut FxHashMap<ServiceName, AskedService>,
    port_sets: &mut PortSets,
    space: &mut Space,
    old: Option<&Slice>,
    new: Option<&Slice>,
) {
    let same_service = old.map(|old| old.service) == new.map(|new| new.service);
    let same_ports = old.map(|old| &old.ports) == new.map(|new| &new.ports);
    let has = |slice: Option<&Slice>, address: &IpAddr| {
        same_service && slice.is_some_and(|s| s.addresses.binary_search(address).is_ok())
    };
    if let Some(new) = new
        && let Some(asked) = services.get_mut(&new.service)
    {
        for address in &new.addresses {
            let kept = has(old, address);
            if kept && same_ports {
                continue;
            }
            let come = port_sets.acquire(&new.ports);
            let gone = old.filter(|_| kept).map(|old| port_sets.find(&old.ports));
            let gone = asked.tell(space, *address, gone, Some(come));
            gone.into_iter().for_each(|set| port_sets.release(set));
        }
    }
    if let Some(old) = old
        && let Some(asked) = services.get_mut(&old.service)
    {
        for address in old.addresses.iter().filter(|address| !has(new, address)) {
            let gone = Some(port_sets.find(&old.ports));
            let gone = asked.tell(space, *address, gone, None);
            gone.into_iter().for_each(|set| port_sets.release(set));
        }
    }
}

/// Puts a record in the place of another one; what the space was told of is kept in `old`.
fn put<T: Clone + PartialEq>(
    (items, olds): (
        &mut FxHashMap<ObjectKey, T>,
        &mut BTreeMap<ObjectKey, Option<T>>,
    ),
    key: &ObjectKey,
    new: Option<T>,
    release: impl FnOnce(T),
) {
    let old = match new.clone() {
        Some(new) => items.insert(key.clone(), new),
        None => items.remove(key),
    };
    if old == new || olds.contains_key(key) {
        if let Some(old) = old {
            release(old);
        }
    } else {
        olds.insert(key.clone(), old);
    }
}

fn release(interner: &mut Interner, (namespace, name): ServiceName) {
    interner.names.release(namespace);
    interner.names.release(name);
}

fn sorted(addresses: &[IpAddr]) -> Box<[IpAddr]> {
    let mut addresses = addresses.to_vec();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into()
}

/// A node as a selector of nodes sees it.
fn owner<'a>(interner: &'a Interner, node: &NodeRecord) -> Owner<'a> {
    Owner {
        labels: interner.labels.labels(node.labels),
        namespace: None,
        namespace_labels: &[],
        account: None,
        kube: false,
    }
}
