//! Host endpoints of this host: which policies select them, and the stages that follow.
//!
//! A host endpoint judges packets of many near addresses, so what a stage's rules ask of the near
//! side is asked of the address space, like what they ask of the far side. The classes with equal
//! answers are a *group*; each group has a stack.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ocicat_api::ObjectKey;
use ocicat_api::core::HostInterface;
use ocicat_api::policy::PolicyStage;
use ocicat_flow::Direction;
use ocicat_node::{EndpointId, HostInterfaces, Stage};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::block::Blocks;
use crate::endpoint::Endpoints;
use crate::identity::Identities;
use crate::label::Name;
use crate::local::Affected;
use crate::policy::{DIRECTIONS, Policies, side};
use crate::question::Questions;
use crate::slab::{BlockId, EntryId, IdentityId, PolicyId, StackIndex};
use crate::source::Interner;
use crate::stack::Ending;

mod group;
mod near;
mod tell;

use group::Groups;
pub(crate) use group::{GroupMove, NEAR_GROUPS, Place};
use near::NearBlock;

/// A stage of a host endpoint and a direction.
pub(crate) type Way = (Stage, Direction);

#[derive(Debug, Default)]
pub(crate) struct Hosts {
    pub(crate) items: BTreeMap<EntryId, Host>,
    near: FxHashMap<BlockId, NearBlock>,
    /// Policies and host endpoints that count as absent.
    suspended: BTreeSet<ObjectKey>,
    gone: Vec<Host>,
    /// Stacks that nobody uses any more.
    pub(crate) left: Vec<StackIndex>,
    told: BTreeMap<EndpointId, Arc<ocicat_node::HostEndpoint>>,
    touched: BTreeSet<EntryId>,
    /// Of which a stage was closed or opened.
    turned: BTreeSet<EntryId>,
    removed: BTreeSet<EndpointId>,
}

#[derive(Debug)]
pub(crate) struct Host {
    id: EndpointId,
    identity: IdentityId,
    interfaces: HostInterfaces,
    /// Its labels or profiles may be others than before.
    fresh: bool,
    /// Its lists have to be made again.
    stale: bool,
    /// The policies that select it; sorted by number.
    pub(crate) policies: Vec<PolicyId>,
    /// Whose blocks it holds.
    names: Box<[Name]>,
    /// Of profiles, by direction.
    profiles: [Box<[BlockId]>; 2],
    stages: BTreeMap<Way, StageState>,
    /// Blocks whose near sides it asks; sorted.
    near: Vec<BlockId>,
}

#[derive(Debug, Default)]
pub(crate) struct StageState {
    pub(crate) blocks: Box<[BlockId]>,
    pub(crate) profiles: Box<[BlockId]>,
    pub(crate) groups: Groups,
    stale: bool,
    /// Whether a rule asks something of the near side.
    asks: bool,
}

/// How the stages of a host endpoint go by.
const WAYS: [Way; 7] = [
    (Stage::Untracked, Direction::Ingress),
    (Stage::Untracked, Direction::Egress),
    (Stage::PreDnat, Direction::Ingress),
    (Stage::Forward, Direction::Ingress),
    (Stage::Forward, Direction::Egress),
    (Stage::Local, Direction::Ingress),
    (Stage::Local, Direction::Egress),
];

/// Whether policies of that kind judge at the stage.
fn judges(stage: Stage, policy: PolicyStage) -> bool {
    match stage {
        Stage::Untracked => policy == PolicyStage::Untracked,
        Stage::PreDnat => policy == PolicyStage::PreDnat,
        Stage::Forward => policy == PolicyStage::Forward,
        Stage::Local => matches!(policy, PolicyStage::Normal | PolicyStage::Forward),
    }
}

pub(crate) fn ending(stage: Stage) -> Ending {
    match stage {
        Stage::Untracked | Stage::PreDnat => Ending::Next,
        Stage::Forward | Stage::Local => Ending::Deny,
    }
}

impl StageState {
    fn holds(&self, which: &FxHashSet<BlockId>) -> bool {
        let mut blocks = self.blocks.iter().chain(&self.profiles);
        blocks.any(|block| which.contains(block))
    }
}

impl Hosts {
    /// `true` if that is a change.
    pub(crate) fn suspend(&mut self, key: &ObjectKey) -> bool {
        self.suspended.insert(key.clone())
    }

    pub(crate) fn resume(&mut self, key: &ObjectKey) -> bool {
        self.suspended.remove(key)
    }

    /// Takes over what an entry is now.
    pub(crate) fn put(
        &mut self,
        entry: EntryId,
        local: bool,
        endpoints: &Endpoints,
        id: EndpointId,
    ) {
        let key = endpoints.items.get(entry).map(|entry| &entry.key);
        let suspended = key.is_some_and(|key| self.suspended.contains(key));
        let found = endpoints.identity(entry).zip(endpoints.host(entry));
        let Some((identity, (interface, addresses))) = found.filter(|_| local && !suspended) else {
            if let Some(host) = self.items.remove(&entry) {
                self.removed.insert(host.id.clone());
                self.gone.push(host);
            }
            return;
        };
        let interfaces = match interface {
            HostInterface::Named(name) => HostInterfaces::Named(name.clone()),
            HostInterface::All => HostInterfaces::All,
            HostInterface::ByAddress => {
                let mut addresses = addresses.to_vec();
                addresses.sort_unstable();
                addresses.dedup();
                HostInterfaces::ByAddress(addresses)
            }
        };
        let host = self.items.entry(entry).or_insert_with(|| Host {
            id,
            identity,
            interfaces: interfaces.clone(),
            fresh: true,
            stale: true,
            policies: Vec::new(),
            names: Box::default(),
            profiles: Default::default(),
            stages: BTreeMap::new(),
            near: Vec::new(),
        });
        host.fresh |= host.identity != identity;
        host.identity = identity;
        host.interfaces = interfaces;
        self.touched.insert(entry);
    }

    /// Decides which policies select which host endpoints. Both lists are sorted.
    pub(crate) fn select(
        &mut self,
        (ids, interner): (&Identities, &Interner),
        policies: &mut Policies,
        (changed, dirty): (&[IdentityId], &[PolicyId]),
        affected: &mut Affected,
    ) {
        for host in &mut self.gone {
            for policy in std::mem::take(&mut host.policies) {
                policies.items[policy].selected -= 1;
                affected.insert(policy);
            }
        }
        for host in self.items.values_mut() {
            host.fresh |= changed.binary_search(&host.identity).is_ok();
            if !host.fresh && dirty.is_empty() {
                continue;
            }
            let owner = ids.owner(interner, host.identity);
            let selects = |id: &PolicyId| {
                let policy = &policies.items[*id];
                let test = policy.hosts.as_ref().filter(|_| policies.exists(*id));
                test.is_some_and(|test| test.matches(&owner, &interner.names))
                    && !self.suspended.contains(&policy.key)
            };
            let mut new: Vec<PolicyId> = if host.fresh {
                policies
                    .items
                    .iter()
                    .map(|(id, _)| id)
                    .filter(selects)
                    .collect()
            } else {
                let kept = host.policies.iter().copied();
                let kept = kept.filter(|id| dirty.binary_search(id).is_err());
                kept.chain(dirty.iter().copied().filter(selects)).collect()
            };
            new.sort_unstable();
            let is_dirty = |id: &PolicyId| dirty.binary_search(id).is_ok();
            if new == host.policies && !host.fresh && !new.iter().any(is_dirty) {
                continue;
            }
            host.stale = true;
            for id in host
                .policies
                .iter()
                .filter(|id| new.binary_search(id).is_err())
            {
                policies.items[*id].selected -= 1;
                affected.insert(*id);
            }
            for id in new
                .iter()
                .filter(|id| host.policies.binary_search(id).is_err())
            {
                policies.items[*id].selected += 1;
                affected.insert(*id);
            }
            host.policies = new;
        }
    }

    /// Holds the blocks of profiles. Returns those that have no content yet.
    pub(crate) fn hold_profiles(
        &mut self,
        ids: &Identities,
        interner: &mut Interner,
        policies: &mut Policies,
        (blocks, questions): (&mut Blocks, &mut Questions),
    ) -> Vec<BlockId> {
        let mut fresh = Vec::new();
        let mut let_go: Vec<Name> = Vec::new();
        for host in self.items.values_mut().filter(|host| host.fresh) {
            host.fresh = false;
            let names = ids.items[host.identity].key.profiles.clone();
            if names == host.names && host.profiles[0].len() == names.len() {
                continue;
            }
            host.stale = true;
            for direction in DIRECTIONS {
                let hold = |name: &Name| {
                    let token = || policies.next_token();
                    let (block, new) = blocks.hold_profile(interner, *name, direction, token);
                    fresh.extend(new.then_some(block));
                    block
                };
                host.profiles[side(direction)] = names.iter().map(hold).collect();
            }
            let_go.extend(std::mem::replace(&mut host.names, names));
        }
        let_go.extend(
            self.gone
                .iter_mut()
                .flat_map(|host| std::mem::take(&mut host.names)),
        );
        for name in let_go {
            for direction in DIRECTIONS {
                blocks.let_go_profile(questions, name, direction);
            }
        }
        fresh
    }

    /// Host endpoints that hold one of the blocks have to be looked at again.
    pub(crate) fn mark_holders(&mut self, which: &FxHashSet<BlockId>) {
        if which.is_empty() {
            return;
        }
        for host in self.items.values_mut() {
            host.stale |= host.stages.values().any(|stage| stage.holds(which));
        }
    }

    /// Makes the lists of stale host endpoints again, and asks what they ask of near addresses.
    pub(crate) fn list_blocks(
        &mut self,
        policies: &Policies,
        blocks: &Blocks,
        (interner, questions): (&mut Interner, &mut Questions),
    ) {
        if self.items.is_empty() && self.gone.is_empty() {
            return;
        }
        let mut listed = !self.gone.is_empty();
        let mut let_go: Vec<BlockId> = Vec::new();
        for mut host in std::mem::take(&mut self.gone) {
            let_go.append(&mut host.near);
            for stage in host.stages.into_values() {
                self.left.extend(stage.groups.stacks());
            }
        }
        for (entry, host) in self.items.iter_mut().filter(|(_, host)| host.stale) {
            host.stale = false;
            listed = true;
            self.touched.insert(*entry);
            self.left.extend(host.list(policies));
            let near = host.near_blocks(blocks);
            let old = std::mem::replace(&mut host.near, near);
            for block in &host.near {
                self.near.entry(*block).or_default().holds += 1;
            }
            let_go.extend(old);
        }
        for block in let_go {
            if let Some(near) = self.near.get_mut(&block) {
                near.holds -= 1;
            }
        }
        if listed || !blocks.changed.is_empty() {
            self.ask_near(blocks, interner, questions);
        }
    }

    /// Policies of host endpoints of which a stage was closed or opened since the last call.
    pub(crate) fn take_turned(&mut self) -> Vec<PolicyId> {
        let turned = std::mem::take(&mut self.turned);
        let hosts = turned.iter().filter_map(|entry| self.items.get(entry));
        hosts
            .flat_map(|host| host.policies.iter().copied())
            .collect()
    }

    /// How many host endpoints of this host the policy selects.
    pub(crate) fn selected_by(&self, policy: PolicyId) -> usize {
        let selected = |host: &&Host| host.policies.binary_search(&policy).is_ok();
        self.items.values().filter(selected).count()
    }
}

impl Host {
    /// Returns the stacks that it no longer uses.
    fn list(&mut self, policies: &Policies) -> Vec<StackIndex> {
        let mut ordered = self.policies.clone();
        ordered.sort_by(|a, b| policies.compare(*a, *b));
        let mut old = std::mem::take(&mut self.stages);
        for (stage, direction) in WAYS {
            let block = |id: &PolicyId| {
                let policy = &policies.items[*id];
                policy.blocks[side(direction)].filter(|_| judges(stage, policy.stage))
            };
            let blocks: Box<[BlockId]> = ordered.iter().filter_map(block).collect();
            if blocks.is_empty() && stage != Stage::Local {
                continue;
            }
            let mut state = old.remove(&(stage, direction)).unwrap_or_default();
            state.stale = true;
            state.blocks = blocks;
            if stage == Stage::Local {
                state.profiles = self.profiles[side(direction)].clone();
            }
            self.stages.insert((stage, direction), state);
        }
        old.into_values()
            .flat_map(|state| state.groups.stacks().collect::<Vec<_>>())
            .collect()
    }

    fn near_blocks(&self, blocks: &Blocks) -> Vec<BlockId> {
        let stages = self.stages.values();
        let all = stages.flat_map(|stage| stage.blocks.iter().chain(&stage.profiles));
        let asks = |block: &BlockId| {
            let body = &blocks.items[*block].body;
            !body.near_rules.is_empty() || !body.near_ports.is_empty()
        };
        let mut near: Vec<BlockId> = all.copied().filter(asks).collect();
        near.sort_unstable();
        near.dedup();
        near
    }
}
