//! Local endpoints: which policies select them, and what their addresses answer to the near
//! sides of rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ocicat_api::ObjectKey;
use ocicat_flow::Direction;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::block::Blocks;
use crate::endpoint::{Endpoints, Presence};
use crate::identity::{Identities, NamedPort};
use crate::label::Name;
use crate::owner::TestIndex;
use crate::policy::{DIRECTIONS, Policies, Subject, side};
use crate::question::Questions;
use crate::rule::{AddressTest, Sense, Side};
use crate::slab::{BlockId, EntryId, IdentityId, PolicyId, SlotId, StackIndex};
use crate::source::Interner;
use crate::space::Space;
use crate::stack::{Ending, Near, StackKey};

/// So many changed policies are asked one by one; for more the index is asked.
const ONE_BY_ONE: usize = 64;

/// Which endpoints are judged here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locality {
    /// None, but those that are set one by one.
    Nothing,
    /// Those of the node of this name.
    Node(std::sync::Arc<str>),
    /// All.
    Everything,
}

/// Whether one endpoint is judged here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Local,
    Remote,
    /// As the locality of the engine says.
    ByNode,
}

#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) identity: IdentityId,
    pub(crate) addresses: Vec<LocalAddress>,
}

#[derive(Debug)]
pub(crate) struct LocalAddress {
    pub(crate) address: IpAddr,
    /// By direction; `None` until the end of the commit that brought the address.
    pub(crate) stacks: [Option<StackIndex>; 2],
}

/// What all local endpoints of one identity have in common.
#[derive(Debug, Default)]
pub(crate) struct LocalIdentity {
    count: u32,
    /// Whether it was looked at before.
    known: bool,
    /// The policies that select it; sorted by number.
    policies: Vec<PolicyId>,
    /// The same in the order in which they were last applied.
    ordered: Vec<PolicyId>,
    /// Blocks of policies in their order, by direction.
    pub(crate) blocks: [Box<[BlockId]>; 2],
    profiles: [Box<[BlockId]>; 2],
}

#[derive(Debug)]
pub(crate) struct Locals {
    pub(crate) locality: Locality,
    places: FxHashMap<ObjectKey, Place>,
    pub(crate) items: BTreeMap<EntryId, Local>,
    pub(crate) identities: BTreeMap<IdentityId, LocalIdentity>,
    subjects: TestIndex,
    /// Identities whose blocks have to be listed again.
    pub(crate) stale: BTreeSet<IdentityId>,
    /// Endpoints whose stacks have to be looked at again.
    pub(crate) dirty: BTreeSet<EntryId>,
    /// Stacks that endpoints used which went.
    pub(crate) left: Vec<StackIndex>,
    /// Identities of which there are more or fewer endpoints than before the commit.
    pub(crate) recounted: BTreeSet<IdentityId>,
}

/// Policies whose blocks have to be looked at again.
pub(crate) type Affected = BTreeSet<PolicyId>;

impl Locals {
    pub(crate) fn new(locality: Locality) -> Self {
        Self {
            locality,
            places: FxHashMap::default(),
            items: BTreeMap::new(),
            identities: BTreeMap::new(),
            subjects: TestIndex::default(),
            stale: BTreeSet::new(),
            dirty: BTreeSet::new(),
            left: Vec::new(),
            recounted: BTreeSet::new(),
        }
    }

    pub(crate) fn set_place(&mut self, key: &ObjectKey, place: Place) {
        match place {
            Place::ByNode => self.places.remove(key),
            _ => self.places.insert(key.clone(), place),
        };
    }

    pub(crate) fn is_local(&self, interner: &Interner, endpoints: &Endpoints, id: EntryId) -> bool {
        let Some(entry) = endpoints.items.get(id) else {
            return false;
        };
        match (self.places.get(&entry.key), &self.locality) {
            (Some(Place::Local), _) => true,
            (Some(Place::Remote), _) | (_, Locality::Nothing) => false,
            (_, Locality::Everything) => true,
            (_, Locality::Node(node)) => entry
                .node
                .is_some_and(|name| interner.names.text(name) == node),
        }
    }

    /// Takes over what an entry is now; `None` if it is not local or not there.
    pub(crate) fn put(&mut self, id: EntryId, presence: Option<&Presence>) {
        let Some(presence) = presence else {
            if let Some(old) = self.items.remove(&id) {
                self.let_go(old.identity);
                self.left
                    .extend(old.addresses.iter().flat_map(|a| a.stacks).flatten());
            }
            self.dirty.remove(&id);
            return;
        };
        let mut old = self.items.remove(&id);
        self.identities.entry(presence.identity).or_default().count += 1;
        self.recounted.insert(presence.identity);
        let mut stacks_of = |address: IpAddr| {
            let addresses = &mut old.as_mut()?.addresses;
            let at = addresses
                .iter()
                .position(|known| known.address == address)?;
            Some(addresses.swap_remove(at).stacks)
        };
        let addresses = presence.addresses.iter().map(|address| LocalAddress {
            address: *address,
            stacks: stacks_of(*address).unwrap_or_default(),
        });
        let addresses = addresses.collect();
        if let Some(old) = old {
            self.let_go(old.identity);
            self.left
                .extend(old.addresses.iter().flat_map(|a| a.stacks).flatten());
        }
        self.items.insert(
            id,
            Local {
                identity: presence.identity,
                addresses,
            },
        );
        self.dirty.insert(id);
    }

    fn let_go(&mut self, identity: IdentityId) {
        if let Some(local) = self.identities.get_mut(&identity) {
            local.count -= 1;
            self.recounted.insert(identity);
        }
    }

    /// Decides which policies select which local identities. `changed` are identities with other
    /// labels, `dirty` policies with another content; both sorted.
    pub(crate) fn select(
        &mut self,
        (ids, interner): (&Identities, &Interner),
        policies: &mut Policies,
        changed: &[IdentityId],
        dirty: &[PolicyId],
    ) -> Affected {
        let mut affected: Affected = dirty.iter().copied().collect();
        let is_local = |id: &IdentityId| self.identities.contains_key(id);
        if dirty.is_empty() && self.recounted.is_empty() && !changed.iter().any(is_local) {
            return affected;
        }
        for id in dirty {
            self.index_subject(policies, *id);
        }
        let many = dirty.len() > ONE_BY_ONE;
        let Self {
            identities,
            subjects,
            stale,
            ..
        } = self;
        for (id, local) in identities.iter_mut() {
            let fresh = !std::mem::replace(&mut local.known, true);
            let new = if local.count == 0 {
                Vec::new()
            } else if many || fresh || changed.binary_search(id).is_ok() {
                let owner = ids.owner(interner, *id);
                let found = subjects.satisfied(&owner, &interner.names);
                found.into_iter().map(PolicyId).collect()
            } else if dirty.is_empty() {
                continue;
            } else {
                let owner = ids.owner(interner, *id);
                let mut new = local.policies.clone();
                new.retain(|policy| dirty.binary_search(policy).is_err());
                new.extend(dirty.iter().copied().filter(|policy| {
                    let test = &policies.items[*policy].indexed;
                    test.as_ref()
                        .is_some_and(|test| test.matches(&owner, &interner.names))
                }));
                new.sort_unstable();
                new
            };
            let selects_dirty = |list: &[PolicyId]| {
                dirty
                    .iter()
                    .any(|policy| list.binary_search(policy).is_ok())
            };
            if new == local.policies && !selects_dirty(&new) && local.count > 0 && !fresh {
                continue;
            }
            stale.insert(*id);
            for policy in local
                .policies
                .iter()
                .filter(|p| new.binary_search(p).is_err())
            {
                policies.items[*policy].selected -= 1;
                affected.insert(*policy);
            }
            for policy in new
                .iter()
                .filter(|p| local.policies.binary_search(p).is_err())
            {
                policies.items[*policy].selected += 1;
                affected.insert(*policy);
            }
            local.policies = new;
        }
        affected
    }

    fn index_subject(&mut self, policies: &mut Policies, id: PolicyId) {
        let exists = policies.exists(id);
        let policy = &mut policies.items[id];
        let new = match &policy.subject {
            Subject::Owners(test) | Subject::Closed(test) if exists => Some(test.clone()),
            _ => None,
        };
        let old = std::mem::replace(&mut policy.indexed, new.clone());
        if old == new {
            return;
        }
        old.into_iter()
            .for_each(|test| self.subjects.remove(id.0, &test));
        new.into_iter()
            .for_each(|test| self.subjects.insert(id.0, &test));
    }

    /// Profiles of new local identities get blocks, and those of identities that went lose them.
    /// Returns the blocks that have no content yet.
    pub(crate) fn hold_profiles(
        &mut self,
        ids: &Identities,
        interner: &mut Interner,
        policies: &mut Policies,
        (blocks, questions): (&mut Blocks, &mut Questions),
    ) -> Vec<BlockId> {
        let mut fresh = Vec::new();
        let mut gone = Vec::new();
        for id in &self.stale {
            let Some(local) = self.identities.get_mut(id) else {
                continue;
            };
            let names = &ids.items[*id].key.profiles;
            if local.count > 0 && local.profiles[0].len() != names.len() {
                for direction in DIRECTIONS {
                    let hold = |name: &Name| {
                        let token = || policies.next_token();
                        let (block, new) = blocks.hold_profile(interner, *name, direction, token);
                        fresh.extend(new.then_some(block));
                        block
                    };
                    local.profiles[side(direction)] = names.iter().map(hold).collect();
                }
            } else if local.count == 0 {
                gone.push(*id);
            }
        }
        for id in gone {
            self.stale.remove(&id);
            if self
                .identities
                .remove(&id)
                .is_some_and(|local| !local.profiles[0].is_empty())
            {
                for name in &ids.items[id].key.profiles {
                    for direction in DIRECTIONS {
                        blocks.let_go_profile(questions, *name, direction);
                    }
                }
            }
        }
        fresh
    }

    /// Lists the blocks of stale identities again; their endpoints become dirty.
    pub(crate) fn list_blocks(&mut self, policies: &Policies) {
        let stale = std::mem::take(&mut self.stale);
        for id in &stale {
            let Some(local) = self.identities.get_mut(id) else {
                continue;
            };
            let selects = |id: &PolicyId| local.policies.binary_search(id).is_ok();
            let mut ordered = std::mem::take(&mut local.ordered);
            ordered.retain(selects);
            if ordered.len() < local.policies.len() {
                let known: FxHashSet<PolicyId> = ordered.iter().copied().collect();
                let new = local.policies.iter().filter(|id| !known.contains(id));
                ordered.extend(new);
            }
            // Nearly sorted is nearly nothing to do.
            ordered.sort_by(|a, b| policies.compare(*a, *b));
            local.blocks = DIRECTIONS.map(|direction| {
                let block = |policy: &PolicyId| policies.items[*policy].blocks[side(direction)];
                ordered.iter().filter_map(block).collect()
            });
            local.ordered = ordered;
        }
        if !stale.is_empty() {
            let dirty = self
                .items
                .iter()
                .filter(|(_, local)| stale.contains(&local.identity));
            self.dirty.extend(dirty.map(|(id, _)| *id));
        }
    }

    /// Identities that hold one of the blocks have to be looked at again.
    pub(crate) fn mark_holders(&mut self, which: &FxHashSet<BlockId>) {
        if which.is_empty() {
            return;
        }
        for (id, local) in &self.identities {
            let blocks = local
                .blocks
                .iter()
                .chain(&local.profiles)
                .flat_map(|list| list.iter());
            if blocks.into_iter().any(|block| which.contains(block)) {
                self.stale.insert(*id);
            }
        }
    }

    /// Endpoints with an address that others may have come to answer for differently.
    pub(crate) fn mark_near(
        &mut self,
        space: &Space,
        ids: &Identities,
        changed: &[IdentityId],
        everywhere: Everywhere,
    ) {
        if everywhere == Everywhere::Yes {
            self.dirty.extend(self.items.keys());
            return;
        }
        let moved = space.moved_slots.iter().copied();
        let kinds = changed
            .iter()
            .filter_map(|id| ids.items.get(*id))
            .flat_map(|i| &i.kinds);
        let members = kinds.flat_map(|kind| space.kind_items[*kind].members.iter().copied());
        for slot in moved.chain(members) {
            if space.slots.items.get(slot).is_some_and(|slot| slot.local) {
                let owners = space.slots.owners(slot).iter();
                let own = owners.filter(|entry| self.items.contains_key(entry));
                self.dirty.extend(own);
            }
        }
    }

    /// What judges an address of a local endpoint.
    pub(crate) fn key(
        &self,
        view: &NearView<'_>,
        identity: IdentityId,
        slot: SlotId,
        direction: Direction,
    ) -> StackKey {
        let local = &self.identities[&identity];
        let blocks = local.blocks[side(direction)].clone();
        let profiles = local.profiles[side(direction)].clone();
        let near = view.near(slot, blocks.iter().chain(&profiles).copied());
        StackKey {
            direction,
            blocks,
            profiles,
            ending: Ending::Deny,
            near,
            salt: 0,
        }
    }

    pub(crate) fn policies(&self, identity: IdentityId) -> &[PolicyId] {
        self.identities
            .get(&identity)
            .map_or(&[], |local| &local.policies)
    }

    /// How many local endpoints the policy selects.
    pub(crate) fn selected_by(&self, policy: PolicyId) -> usize {
        let of_policy = |local: &&LocalIdentity| local.policies.binary_search(&policy).is_ok();
        self.identities
            .values()
            .filter(of_policy)
            .map(|local| local.count as usize)
            .sum()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Everywhere {
    Yes,
    No,
}

/// What near sides are asked of.
pub(crate) struct NearView<'a> {
    pub(crate) space: &'a Space,
    pub(crate) ids: &'a Identities,
    pub(crate) interner: &'a Interner,
    pub(crate) blocks: &'a Blocks,
}

impl NearView<'_> {
    fn near(&self, slot: SlotId, blocks: impl Iterator<Item = BlockId>) -> Near {
        let slot = &self.space.slots.items[slot];
        let kind = slot
            .kind()
            .expect("every slot has a kind once the space is settled");
        let kind = &self.space.kind_items[kind].key;
        let endpoints = kind.owners.identities();
        let mut sets: Option<Vec<IdentityId>> = None;
        let mut off = Vec::new();
        let mut ports: Vec<NamedPort> = Vec::new();
        for (place, block) in (0u32..).zip(blocks) {
            let body = &self.blocks.items[block].body;
            for index in &body.near_rules {
                let sets = sets.get_or_insert_with(|| self.space.sets_around(kind.region));
                let owners = || endpoints.iter().chain(sets.iter()).copied();
                let near = &body.rules[*index as usize].near;
                if !self.holds(near, slot.address, &owners) {
                    off.push((place, *index));
                }
            }
            for (name, protocol) in &body.near_ports {
                let known = endpoints
                    .iter()
                    .flat_map(|id| &self.ids.items[*id].key.ports);
                ports.extend(known.filter(|(n, p, _)| (n, p) == (name, protocol)));
            }
        }
        ports.sort_unstable();
        ports.dedup();
        Near {
            off: off.into(),
            ports: ports.into(),
            ..Near::default()
        }
    }

    fn holds<I: Iterator<Item = IdentityId>>(
        &self,
        side: &Side,
        address: IpAddr,
        owners: &impl Fn() -> I,
    ) -> bool {
        let test = |test: &AddressTest| match test {
            AddressTest::Owner(test) => owners().any(|id| {
                let owner = self.ids.owner(self.interner, id);
                test.matches(&owner, &self.interner.names)
            }),
            AddressTest::Nets(test) => {
                let inside = |nets: &[ipnet::IpNet]| nets.iter().any(|net| net.contains(&address));
                inside(&test.nets) && !inside(&test.except)
            }
            // No rule asks that of its near side.
            AddressTest::Node(_) | AddressTest::Service(..) => false,
        };
        match side {
            Side::Always => true,
            Side::All(tests) => tests
                .iter()
                .all(|(t, sense)| test(t) == (*sense == Sense::Positive)),
            Side::Any(tests) => tests.iter().any(test),
        }
    }
}
