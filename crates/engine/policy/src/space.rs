//! The address space: regions, slots, and the kinds of addresses.
//!
//! A *kind* is what decides every answer about an address: the identities of the endpoints that
//! have it, the region it lies in, and whether a node has it. Kinds are few, addresses many.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_node::ClassId;
use rustc_hash::FxHashMap;

use crate::endpoint::Endpoints;
use crate::identity::{Answer, Identities};
use crate::region::{List, Regions, is_full_length};
use crate::slab::{EntryId, IdentityId, KindId, QuestionId, RegionId, Slab, SlotId, give_back};
use crate::slot::{Slots, successor};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct KindKey {
    pub(crate) owners: OwnerSet,
    pub(crate) region: RegionId,
    /// A node has the address.
    pub(crate) node: bool,
    /// Answers that lists of addresses give; sorted, `None` for none.
    pub(crate) listed: Option<Arc<[Answer]>>,
}

/// Distinct identities, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum OwnerSet {
    None,
    One(IdentityId),
    Many(Box<[IdentityId]>),
}

#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) key: KindKey,
    pub(crate) members: Vec<SlotId>,
    /// The kind is also that of the region's own entry.
    pub(crate) of_region: bool,
    place_in_region: u32,
    pub(crate) dirty: bool,
    pub(crate) class: Option<ClassId>,
    /// The class that its first member was in before, while it has none of its own.
    pub(crate) origin: Option<ClassId>,
}

#[derive(Debug, Default)]
pub(crate) struct Space {
    pub(crate) regions: Regions,
    pub(crate) slots: Slots,
    kinds: FxHashMap<KindKey, KindId>,
    pub(crate) kind_items: Slab<KindId, Kind>,
    /// Kinds whose answers must be looked at again, the new ones included.
    pub(crate) dirty_kinds: Vec<KindId>,
    touched: Vec<SlotId>,
    /// Of the few addresses that have such answers: see [`KindKey`].
    listed: FxHashMap<SlotId, Arc<[Answer]>>,
    /// Slots that have (perhaps) another kind than before the commit.
    pub(crate) moved_slots: Vec<SlotId>,
    pub(crate) new_regions: Vec<RegionId>,
    /// Prefixes that went, with the class that was told of them.
    pub(crate) vacated: FxHashMap<IpNet, ClassId>,
    /// Kinds that lost their last member, with the class they were in.
    pub(crate) lost_kinds: Vec<(KindId, ClassId)>,
}

impl OwnerSet {
    pub(crate) fn identities(&self) -> &[IdentityId] {
        match self {
            Self::None => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

impl Space {
    /// Takes a hold on the region of a prefix.
    pub(crate) fn hold_region(&mut self, ids: &mut Identities, prefix: IpNet) -> RegionId {
        let (id, new) = self.regions.hold(prefix);
        if new {
            if is_full_length(&prefix) {
                let slot = self.slots.obtain(prefix.addr());
                self.slots.items[slot].pinned = true;
                self.touch(slot);
            } else {
                let around = self.chain(id).nth(1);
                let own = around.and_then(|around| self.regions.items[around].own);
                let origin = own.and_then(|kind| self.class_before(kind));
                let key = KindKey {
                    owners: OwnerSet::None,
                    region: id,
                    node: false,
                    listed: None,
                };
                let kind = self.kind(ids, key, origin);
                self.kind_items[kind].of_region = true;
                let region = &mut self.regions.items[id];
                region.own = Some(kind);
                self.new_regions.push(id);
                self.touch_direct(prefix);
            }
        }
        id
    }

    /// The slots inside the prefix that lie in no smaller region. Skips over smaller regions,
    /// so that a wide prefix costs nothing for the pools below it.
    fn touch_direct(&mut self, prefix: IpNet) {
        let mut from = Some(prefix.network());
        while let Some((address, slot)) = from.and_then(|from| self.slots.next_inside(prefix, from))
        {
            let around = self.regions.around(address);
            let inside = around
                .map(|id| self.regions.items[id].prefix)
                .take_while(|net| net.prefix_len() > prefix.prefix_len() && !is_full_length(net));
            match inside.last() {
                Some(smaller) => from = successor(smaller.broadcast()),
                None => {
                    self.touch(slot);
                    from = successor(address);
                }
            }
        }
    }

    /// All kinds inside the prefix have to answer again.
    pub(crate) fn mark_inside(&mut self, prefix: IpNet) {
        let regions: Vec<RegionId> = self.regions.inside(prefix).collect();
        for region in regions {
            for kind in self.regions.items[region].kinds.clone() {
                self.mark(kind);
            }
        }
    }

    pub(crate) fn mark(&mut self, id: KindId) {
        let kind = &mut self.kind_items[id];
        if !kind.dirty {
            kind.dirty = true;
            self.dirty_kinds.push(id);
        }
    }

    pub(crate) fn touch(&mut self, id: SlotId) {
        let slot = &mut self.slots.items[id];
        if !slot.touched {
            slot.touched = true;
            self.touched.push(id);
        }
    }

    pub(crate) fn add_owner(&mut self, address: IpAddr, entry: EntryId) {
        let slot = self.slots.obtain(address);
        self.slots.add_owner(slot, entry);
        self.touch(slot);
    }

    pub(crate) fn remove_owner(&mut self, address: IpAddr, entry: EntryId) {
        if let Some(slot) = self.slots.find(address) {
            self.slots.remove_owner(slot, entry);
            self.touch(slot);
        }
    }

    /// Sets what a list of addresses answers to a question about the address.
    pub(crate) fn set_listed(&mut self, address: IpAddr, question: QuestionId, values: &[u32]) {
        if values.is_empty() && self.slots.find(address).is_none() {
            return;
        }
        let slot = self.slots.obtain(address);
        let old = self.listed.get(&slot).map_or(&[][..], |answers| answers);
        let others = old.iter().copied().filter(|(other, _)| *other != question);
        let mut new: Vec<Answer> = others.collect();
        new.extend(values.iter().map(|value| (question, *value)));
        new.sort_unstable();
        if new != old {
            if new.is_empty() {
                self.listed.remove(&slot);
            } else {
                self.listed.insert(slot, new.into());
            }
        }
        self.touch(slot);
    }

    pub(crate) fn add_node(&mut self, address: IpAddr) {
        let slot = self.slots.obtain(address);
        self.slots.items[slot].nodes += 1;
        self.touch(slot);
    }

    pub(crate) fn remove_node(&mut self, address: IpAddr) {
        if let Some(slot) = self.slots.find(address) {
            self.slots.items[slot].nodes -= 1;
            self.touch(slot);
        }
    }

    /// Whether addresses only went from kind to kind, and no local endpoint has any of them.
    pub(crate) fn is_settled(&self) -> bool {
        let mut moved = self.moved_slots.iter();
        self.dirty_kinds.is_empty()
            && self.lost_kinds.is_empty()
            && self.new_regions.is_empty()
            && moved.all(|slot| self.slots.items.get(*slot).is_none_or(|slot| !slot.local))
    }

    /// Retires regions without holds, then gives every touched slot its kind.
    pub(crate) fn settle(&mut self, ids: &mut Identities, endpoints: &Endpoints) {
        let retired = self.regions.take_idle();
        for id in &retired {
            self.retire(ids, *id);
        }
        let mut touched = std::mem::take(&mut self.touched);
        for id in &touched {
            self.settle_slot(ids, endpoints, *id);
        }
        give_back(&mut touched);
        self.touched = touched;
        for id in retired {
            self.regions.items.remove(id);
        }
    }

    fn retire(&mut self, ids: &mut Identities, id: RegionId) {
        let region = &mut self.regions.items[id];
        let (prefix, kinds) = (region.prefix, region.kinds.clone());
        if let Some(class) = region.emitted {
            self.vacated.insert(prefix, class);
        }
        let own = region.own.take();
        if is_full_length(&prefix)
            && let Some(slot) = self.slots.find(prefix.addr())
        {
            self.slots.items[slot].pinned = false;
            self.touch(slot);
        }
        for kind in kinds {
            for slot in self.kind_items[kind].members.clone() {
                self.touch(slot);
            }
        }
        if let Some(kind) = own {
            self.kind_items[kind].of_region = false;
            self.drop_kind_if_empty(ids, kind);
        }
    }

    fn settle_slot(&mut self, ids: &mut Identities, endpoints: &Endpoints, id: SlotId) {
        let slot = &mut self.slots.items[id];
        slot.touched = false;
        let (address, old) = (slot.address, slot.kind());
        let listed = self.listed.get(&id).cloned();
        if slot.is_unused() && listed.is_none() {
            if let Some(class) = slot.emitted() {
                self.vacated.insert(IpNet::from(address), class);
            }
            self.leave_kind(ids, id);
            self.slots.remove(id);
            return;
        }
        let node = slot.nodes > 0;
        let owners = self.slots.owners(id).iter();
        let mut owners: Vec<IdentityId> = owners
            .filter_map(|entry| endpoints.identity(*entry))
            .collect();
        owners.sort_unstable();
        owners.dedup();
        let owners = match owners.as_slice() {
            [] => OwnerSet::None,
            [one] => OwnerSet::One(*one),
            _ => OwnerSet::Many(owners.into()),
        };
        let region = self
            .regions
            .longest(address)
            .expect("two regions hold every address");
        let origin = old.and_then(|kind| self.class_before(kind));
        let kind = self.kind(
            ids,
            KindKey {
                owners,
                region,
                node,
                listed,
            },
            origin,
        );
        if old != Some(kind) {
            self.leave_kind(ids, id);
            let members = &mut self.kind_items[kind].members;
            let place = u32::try_from(members.len()).unwrap_or(u32::MAX);
            members.push(id);
            let slot = &mut self.slots.items[id];
            slot.set_kind(Some(kind));
            slot.place = place;
        }
        self.moved_slots.push(id);
    }

    fn leave_kind(&mut self, ids: &mut Identities, id: SlotId) {
        let slot = &mut self.slots.items[id];
        let (kind, place) = (slot.kind(), slot.place);
        slot.set_kind(None);
        let Some(kind) = kind else {
            return;
        };
        let members = &mut self.kind_items[kind].members;
        members.swap_remove(place as usize);
        if let Some(moved) = members.get(place as usize) {
            self.slots.items[*moved].place = place;
        }
        self.drop_kind_if_empty(ids, kind);
    }

    fn class_before(&self, kind: KindId) -> Option<ClassId> {
        let kind = self.kind_items.get(kind)?;
        kind.class.or(kind.origin)
    }

    /// Finds or makes the kind.
    fn kind(&mut self, ids: &mut Identities, key: KindKey, origin: Option<ClassId>) -> KindId {
        if let Some(&id) = self.kinds.get(&key) {
            return id;
        }
        let region = &mut self.regions.items[key.region];
        let id = self.kind_items.insert(Kind {
            key: key.clone(),
            members: Vec::new(),
            of_region: false,
            place_in_region: u32::try_from(region.kinds.len()).unwrap_or(u32::MAX),
            dirty: true,
            class: None,
            origin,
        });
        region.kinds.push(id);
        for identity in key.owners.identities() {
            ids.items[*identity].kinds.push(id);
        }
        self.kinds.insert(key, id);
        self.dirty_kinds.push(id);
        id
    }

    fn drop_kind_if_empty(&mut self, ids: &mut Identities, id: KindId) {
        let kind = &self.kind_items[id];
        if kind.of_region || !kind.members.is_empty() {
            return;
        }
        let Some(kind) = self.kind_items.remove(id) else {
            return;
        };
        self.kinds.remove(&kind.key);
        let place = kind.place_in_region as usize;
        let kinds = &mut self.regions.items[kind.key.region].kinds;
        kinds.swap_remove(place);
        if let Some(moved) = kinds.get(place) {
            self.kind_items[*moved].place_in_region = kind.place_in_region;
        }
        for identity in kind.key.owners.identities() {
            if let Some(identity) = ids.items.get_mut(*identity) {
                identity.kinds.retain(|other| *other != id);
            }
        }
        if let Some(class) = kind.class {
            self.lost_kinds.push((id, class));
        }
    }

    /// Whether addresses of the kind are inside a pool and nobody's.
    pub(crate) fn is_unclaimed(&self, key: &KindKey) -> bool {
        key.owners == OwnerSet::None && !key.node && self.in_pool(key.region)
    }

    fn in_pool(&self, region: RegionId) -> bool {
        self.chain(region)
            .any(|id| self.regions.items[id].pools > 0)
    }

    /// The region and those around it, longest first.
    pub(crate) fn chain(&self, region: RegionId) -> impl Iterator<Item = RegionId> + '_ {
        let prefix = self.regions.items[region].prefix;
        let around = self.regions.around(prefix.addr());
        around.filter(move |id| self.regions.items[*id].prefix.prefix_len() <= prefix.prefix_len())
    }

    /// The questions about nets to which addresses of the region answer yes.
    pub(crate) fn nets_answered(&self, region: RegionId) -> Vec<QuestionId> {
        let mut yes = Vec::new();
        let mut no = Vec::new();
        for id in self.chain(region) {
            for (question, list) in &self.regions.items[id].asked {
                match list {
                    List::Nets => yes.push(*question),
                    List::Except => no.push(*question),
                }
            }
        }
        yes.retain(|question| !no.contains(question));
        yes
    }

    /// Identities of the network sets that hold the region.
    pub(crate) fn sets_around(&self, region: RegionId) -> Vec<IdentityId> {
        let chain = self.chain(region);
        chain
            .flat_map(|id| self.regions.items[id].sets.iter().copied())
            .collect()
    }

    pub(crate) fn end_rest(&mut self) {
        self.slots.items.end_rest();
        self.kind_items.end_rest();
        self.regions.items.end_rest();
        give_back(&mut self.moved_slots);
        self.new_regions.clear();
    }
}
