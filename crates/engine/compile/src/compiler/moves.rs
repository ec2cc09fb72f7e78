//! Addresses that change class, and the packets that are inside a stack while they do.
//!
//! A packet learns its stack first and its class after. If the stack is built anew or removed by the
//! commit between the two, the packet meets the new class in the old stack. What it finds there must
//! be the verdict of the old state or that of the new one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_node::{ClassId, EndpointId, HostEndpoint, RowId, Stack, StackId, StageStacks};
use ocicat_program::nft::Op;

use super::update::Sorted;
use super::{InstalledEndpoint, InstalledStack, Update};
use crate::layout::Epoch;
use crate::prefixes::Prefixes;
use crate::stack;

/// So many classes with repeats are kept while they are collected.
const MANY: usize = 100_000;

#[derive(Default)]
pub(super) struct Moves {
    /// Whether any prefix changes at all.
    pub(super) touched: bool,
    /// Of the classes that the change names, those that no address has before it: no packet in
    /// flight carries them, so their rows may be written freely.
    pub(super) vacant: BTreeSet<ClassId>,
    /// The class before of each changed prefix.
    before: Vec<Option<ClassId>>,
    /// Prefixes with the class they come from and the one they go to.
    moved: Vec<(IpNet, ClassId, ClassId)>,
    /// Who was judged by each stack before, and stays.
    users: BTreeMap<StackId, Users>,
}

#[derive(Default)]
struct Users {
    /// Addresses of workloads.
    addresses: BTreeSet<(EndpointId, IpAddr)>,
    /// A host endpoint is among them: it judges packets of any addresses.
    is_host: bool,
}

impl Moves {
    /// To be made before the prefixes change.
    pub(super) fn before(
        prefixes: &Prefixes,
        endpoints: &BTreeMap<EndpointId, InstalledEndpoint>,
        hosts: &BTreeMap<EndpointId, Arc<HostEndpoint>>,
        sorted: &Sorted<'_>,
    ) -> Self {
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
        let around = |(prefix, _): &(_, _)| prefixes.class_around(prefix);
        Self {
            touched: !sorted.classes.is_empty(),
            vacant: named
                .into_iter()
                .filter(|class| prefixes.is_vacant(*class))
                .collect(),
            before: sorted.classes.iter().map(around).collect(),
            moved: Vec::new(),
            users: users(endpoints, hosts, sorted),
        }
    }

    /// To be told once they have.
    pub(super) fn after(&mut self, prefixes: &Prefixes, sorted: &Sorted<'_>) {
        for ((prefix, _), from) in sorted.classes.iter().zip(&self.before) {
            if let (Some(from), Some(to)) = (*from, prefixes.class_around(prefix))
                && from != to
            {
                self.moved.push((*prefix, from, to));
            }
        }
    }

    /// Whether a packet could find its near address in a class of the old state and its far address
    /// in one of the new, or the other way, and so meet a stack and a row that belong together in
    /// neither.
    pub(super) fn mixes_near<S: PartialEq>(&self, stack: impl Fn(ClassId) -> S) -> bool {
        let changes = |(_, from, to): &(IpNet, ClassId, ClassId)| stack(*from) != stack(*to);
        self.moved.len() > 1 && self.moved.iter().any(changes)
    }

    /// Gives the old stack rows for classes that are new. `new` is what takes its place, if it is
    /// built anew. Where no row would do, the update must be a replacement.
    pub(super) fn bridge(
        &self,
        epoch: Epoch,
        id: StackId,
        old: &InstalledStack,
        new: Option<&Stack>,
        update: &mut Update,
    ) {
        // No packet goes on in the stack of endpoints that are gone.
        let Some(users) = self.users.get(&id) else {
            return;
        };
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for (to, from) in &self.pairs(users) {
            let mut wanted: BTreeSet<RowId> =
                from.iter().map(|class| row(&old.stack, *class)).collect();
            let fitting = match wanted.len() {
                1 => wanted.pop_first(),
                _ => new.map(|new| row(new, *to)),
            };
            let found = row(&old.stack, *to);
            let is_new = new.is_some_and(|new| row(new, *to) == found);
            match fitting {
                Some(fitting) if fitting == found => {}
                Some(fitting) if self.vacant.contains(to) => {
                    if !old.stack.rows.contains_key(to) {
                        pairs.push(stack::pair(*to, fitting));
                    }
                }
                _ if is_new => {}
                _ => update.replace = true,
            }
        }
        if old.held + pairs.len() > old.capacity {
            update.replace = true;
        } else if !pairs.is_empty() {
            let map = old.number.rows(epoch);
            update.apply.push(Op::AddNumbers { map, pairs });
        }
    }

    /// The classes that addresses come from, by the class they go to. A lone user of a stack does
    /// not meet its own addresses there.
    fn pairs(&self, users: &Users) -> BTreeMap<ClassId, BTreeSet<ClassId>> {
        let Users { addresses, is_host } = users;
        let endpoints: BTreeSet<&EndpointId> =
            addresses.iter().map(|(endpoint, _)| endpoint).collect();
        let own: BTreeSet<IpNet> = match endpoints.len() {
            1 if !is_host => addresses
                .iter()
                .map(|(_, address)| IpNet::from(*address))
                .collect(),
            _ => BTreeSet::new(),
        };
        let mut pairs: BTreeMap<ClassId, BTreeSet<ClassId>> = BTreeMap::new();
        for (prefix, from, to) in &self.moved {
            if !own.contains(prefix) {
                pairs.entry(*to).or_default().insert(*from);
            }
        }
        pairs
    }
}

/// Who was judged by the stacks that the change names, and stays.
fn users(
    endpoints: &BTreeMap<EndpointId, InstalledEndpoint>,
    hosts: &BTreeMap<EndpointId, Arc<HostEndpoint>>,
    sorted: &Sorted<'_>,
) -> BTreeMap<StackId, Users> {
    let mut users: BTreeMap<StackId, Users> = BTreeMap::new();
    // Only packets whose address changes class have anything to bridge.
    if sorted.stacks.is_empty() || sorted.classes.is_empty() {
        return users;
    }
    for (id, endpoint) in endpoints {
        let goes = matches!(sorted.endpoints.get(id), Some(None));
        if goes || endpoint.attachment.is_none() {
            continue;
        }
        for local in endpoint.policy.iter().flat_map(|policy| &policy.addresses) {
            for stack in [local.ingress, local.egress] {
                let user = (id.clone(), local.address);
                users.entry(stack).or_default().addresses.insert(user);
            }
        }
    }
    let staying = hosts
        .iter()
        .filter(|(id, _)| !matches!(sorted.hosts.get(id), Some(None)));
    for stack in staying.flat_map(|(_, host)| host.stages.values().flat_map(StageStacks::stacks)) {
        users.entry(stack).or_default().is_host = true;
    }
    users
}

fn row(stack: &Stack, class: ClassId) -> RowId {
    stack.rows.get(&class).copied().unwrap_or(stack.default_row)
}
