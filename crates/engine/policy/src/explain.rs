//! Reading what was calculated: the state, and what judges whom.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_api::ObjectKey;
use ocicat_api::rule::Action;
use ocicat_flow::{Direction, Outcome, PolicyRef};
use ocicat_node::{
    ClassId, EndpointId, EndpointPolicy, NodeState, Row, ServiceMatch, Stack, StackId,
};

use crate::Engine;
use crate::block::BodyKind;
use crate::delta::endpoint_id;
use crate::local::Local;
use crate::net::endpoints_of;
use crate::policy::side;
use crate::slab::{BlockId, StackIndex};

/// What judges a local endpoint in one direction, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The tiers that take part.
    pub tiers: Vec<TierPolicies>,
    pub profiles: Vec<ProfileStanding>,
}

/// A tier, and the policies in it that select the endpoint, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierPolicies {
    pub tier: Arc<str>,
    /// Deny or Pass.
    pub default_action: Action,
    pub policies: Vec<Arc<PolicyRef>>,
}

/// A profile that an endpoint names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileStanding {
    pub name: Arc<str>,
    /// A profile that does not exist denies.
    pub exists: bool,
}

/// What is known about an address class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassInfo {
    /// Inside a pool, and nobody's.
    pub unclaimed: bool,
    /// Endpoints that have addresses of the class, each once; sorted.
    pub endpoints: Vec<ObjectKey>,
    /// Prefixes of the class: those that are no endpoint's.
    pub prefixes: Vec<IpNet>,
}

/// How large the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    pub classes: usize,
    pub questions: usize,
    pub stacks: usize,
    /// Distinct rows of all stacks.
    pub rows: usize,
    pub outcomes: usize,
    /// (stack, class) pairs that are not on the default row.
    pub entries: usize,
    /// Cells in all distinct rows.
    pub cells: usize,
    /// Cells in the largest row.
    pub largest_row: usize,
    /// Distinct rows of the stack that has most.
    pub most_rows: usize,
    /// Cells in the distinct rows of the stack that has most.
    pub most_cells: usize,
}

impl Engine {
    /// The class of an address as of the last commit: that of the longest prefix that holds it.
    /// `None` before the first commit.
    #[must_use]
    pub fn class_of(&self, address: IpAddr) -> Option<ClassId> {
        if let Some(slot) = self.space.slots.find(address) {
            return self.space.slots.items[slot].emitted();
        }
        self.space.regions.items[self.space.regions.longest(address)?].emitted
    }

    /// Every prefix with its class, as of the last commit.
    pub fn for_each_class(&self, mut with: impl FnMut(IpNet, ClassId)) {
        for slot in self.space.slots.iter() {
            slot.emitted()
                .into_iter()
                .for_each(|class| with(IpNet::from(slot.address), class));
        }
        for (prefix, id) in self.space.regions.iter() {
            let class = self.space.regions.items[id].emitted;
            class.into_iter().for_each(|class| with(prefix, class));
        }
    }

    /// All of the state as of the last commit: what all deltas so far add up to. A copy, meant
    /// for tests and small worlds.
    #[must_use]
    pub fn snapshot(&self) -> NodeState {
        let mut state = NodeState::default();
        self.for_each_class(|prefix, class| {
            state.classes.insert(prefix, class);
        });
        state.outcomes.extend(
            self.outcomes
                .iter()
                .map(|(id, outcome)| (id, outcome.clone())),
        );
        state
            .rows
            .extend(self.rows.iter().map(|(id, row)| (id, row.clone())));
        for (_, stack) in self.stacks.items.iter() {
            let Some(default_row) = stack.table.default_row else {
                continue;
            };
            let rows = stack.table.own_rows().collect();
            let direction = stack.key.direction;
            state.stacks.insert(
                stack.id,
                Stack {
                    direction,
                    default_row,
                    rows,
                },
            );
        }
        let endpoints = self.told_endpoints.iter();
        state
            .endpoints
            .extend(endpoints.map(|(id, policy)| (id.clone(), (**policy).clone())));
        state.host_endpoints.extend(
            self.host_endpoints()
                .map(|(id, host)| (id.clone(), host.clone())),
        );
        state
    }

    /// The local endpoints.
    pub fn local_endpoints(&self) -> impl Iterator<Item = (&EndpointId, &EndpointPolicy)> {
        self.told_endpoints
            .iter()
            .map(|(id, policy)| (id, &**policy))
    }

    /// The policy of a local endpoint.
    #[must_use]
    pub fn endpoint(&self, key: &ObjectKey) -> Option<&EndpointPolicy> {
        self.told_endpoints
            .get(&endpoint_id(key))
            .map(|policy| &**policy)
    }

    /// Whether the address is inside a pool and nobody's.
    #[must_use]
    pub fn is_unclaimed(&self, address: IpAddr) -> bool {
        let class = self
            .class_of(address)
            .and_then(|class| self.classes.items.get(&class));
        class.is_some_and(|class| class.signature.unclaimed)
    }

    /// Pods, WorkloadEndpoints and HostEndpoints that have the address, sorted.
    #[must_use]
    pub fn endpoints_of(&self, address: IpAddr) -> Vec<ObjectKey> {
        endpoints_of(&self.space, &self.endpoints, address)
    }

    /// Network sets with a net that contains the address, sorted.
    #[must_use]
    pub fn sets_of(&self, address: IpAddr) -> Vec<ObjectKey> {
        self.nets.sets_of(address)
    }

    /// Who is in a class; `None` if there is no such class.
    #[must_use]
    pub fn class_info(&self, class: ClassId) -> Option<ClassInfo> {
        let unclaimed = self.classes.items.get(&class)?.signature.unclaimed;
        let mut info = ClassInfo {
            unclaimed,
            endpoints: Vec::new(),
            prefixes: Vec::new(),
        };
        for kind in self.classes.kinds(class) {
            let kind = &self.space.kind_items[kind];
            if kind.of_region {
                info.prefixes
                    .push(self.space.regions.items[kind.key.region].prefix);
            }
            for id in &kind.members {
                let slot = &self.space.slots.items[*id];
                let owners = self.space.slots.owners(*id).iter();
                let before = info.endpoints.len();
                info.endpoints
                    .extend(owners.map(|id| self.endpoints.items[*id].key.clone()));
                if info.endpoints.len() == before {
                    info.prefixes.push(IpNet::from(slot.address));
                }
            }
        }
        info.endpoints.sort_unstable();
        info.endpoints.dedup();
        info.prefixes.sort_unstable();
        Some(info)
    }

    /// Which tiers, policies and profiles judge a local endpoint; `None` if it is not local.
    #[must_use]
    pub fn explain(&self, key: &ObjectKey, direction: Direction) -> Option<Explanation> {
        let local = self.local(key)?;
        let index = local.addresses.first()?.stacks[side(direction)]?;
        let stack = &self.stacks.items[index].key;
        Some(self.explanation(&stack.blocks, &stack.profiles))
    }

    pub(crate) fn explanation(&self, blocks: &[BlockId], profiles: &[BlockId]) -> Explanation {
        let tier = |block: &BlockId| self.blocks.items[*block].tier;
        let mut tiers = Vec::new();
        for blocks in blocks.chunk_by(|a, b| tier(a) == tier(b)) {
            let Some(tier) = tier(&blocks[0]).map(|name| self.policies.tier(name)) else {
                continue;
            };
            tiers.push(TierPolicies {
                tier: tier.name.clone(),
                default_action: tier.default_action,
                policies: blocks
                    .iter()
                    .map(|b| self.blocks.items[*b].reference.clone())
                    .collect(),
            });
        }
        let profiles = profiles.iter().map(|block| {
            let block = &self.blocks.items[*block];
            let exists = block.body.kind != BodyKind::Missing;
            ProfileStanding {
                name: block.reference.name.clone(),
                exists,
            }
        });
        Explanation {
            tiers,
            profiles: profiles.collect(),
        }
    }

    /// What a local endpoint makes of a packet between one of its addresses and another address.
    /// `None` if the endpoint is not local or has no such address.
    #[must_use]
    pub fn judge(
        &self,
        key: &ObjectKey,
        direction: Direction,
        (local, far): (IpAddr, IpAddr),
        service: &ServiceMatch,
    ) -> Option<Arc<Outcome>> {
        let row = self.row(key, direction, (local, far))?;
        self.outcomes.get(row.outcome(service)).cloned()
    }

    /// The row that [`Engine::judge`] reads.
    #[must_use]
    pub fn row(
        &self,
        key: &ObjectKey,
        direction: Direction,
        (local, far): (IpAddr, IpAddr),
    ) -> Option<Arc<Row>> {
        let addresses = &self.local(key)?.addresses;
        let address = addresses.iter().find(|known| known.address == local)?;
        let table = &self.stacks.items[address.stacks[side(direction)]?].table;
        self.rows.get(table.row_of(self.class_of(far)?)?).cloned()
    }

    /// The outcome of a number.
    #[must_use]
    pub fn outcome(&self, id: ocicat_node::OutcomeId) -> Option<Arc<Outcome>> {
        self.outcomes.get(id).cloned()
    }

    /// Whether the stack is over its budget, and therefore closed.
    #[must_use]
    pub fn is_over_budget(&self, id: StackId) -> bool {
        self.stacks
            .items
            .iter()
            .any(|(_, stack)| stack.id == id && stack.table.over_budget)
    }

    /// How large everything is.
    #[must_use]
    pub fn size(&self) -> Size {
        let mut size = Size {
            classes: self.classes.items.len(),
            outcomes: self.outcomes.iter().count(),
            questions: self.questions.items.iter().count(),
            ..Size::default()
        };
        for (_, row) in self.rows.iter() {
            size.rows += 1;
            size.cells += row.cell_count();
            size.largest_row = size.largest_row.max(row.cell_count());
        }
        for (index, _) in self.stacks.items.iter() {
            let (entries, rows, cells) = self.size_of(index);
            size.stacks += 1;
            size.entries += entries;
            size.most_rows = size.most_rows.max(rows);
            size.most_cells = size.most_cells.max(cells);
        }
        size
    }

    fn size_of(&self, index: StackIndex) -> (usize, usize, usize) {
        let table = &self.stacks.items[index].table;
        let mut rows: Vec<_> = table.own_rows().map(|(_, row)| row).collect();
        let entries = rows.len();
        rows.extend(table.default_row);
        rows.sort_unstable();
        rows.dedup();
        let cells = rows
            .iter()
            .filter_map(|row| self.rows.get(*row))
            .map(|r| r.cell_count())
            .sum();
        (entries, rows.len(), cells)
    }

    fn local(&self, key: &ObjectKey) -> Option<&Local> {
        self.locals.items.get(&self.endpoints.find(key)?)
    }
}
