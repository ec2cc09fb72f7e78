//! Addresses that matter: those of endpoints and nodes, and full-length prefixes of rules and
//! network sets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use ocicat_node::ClassId;
use rustc_hash::FxHashMap;

use crate::slab::{EntryId, Id, KindId, Slab, SlotId};

/// There are as many as addresses: kept small.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) address: IpAddr,
    /// A region is just this address.
    pub(crate) pinned: bool,
    /// A local endpoint has the address.
    pub(crate) local: bool,
    pub(crate) touched: bool,
    /// How many nodes have the address.
    pub(crate) nodes: u16,
    /// The only owner, or one of several: see [`Slots::owners`].
    owner: Maybe<EntryId>,
    kind: Maybe<KindId>,
    emitted: Maybe<ClassId>,
    /// Where the slot stands among the members of its kind.
    pub(crate) place: u32,
}

/// A number or none, in the room of a number. The highest number of all is never given out.
#[derive(Debug, Clone, Copy)]
struct Maybe<I>(I);

impl<I: Id> Maybe<I> {
    fn new(id: Option<I>) -> Self {
        Self(id.unwrap_or_else(|| I::from_number(u32::MAX)))
    }

    fn get(self) -> Option<I> {
        (self.0.number() < u32::MAX).then_some(self.0)
    }
}

impl Slot {
    pub(crate) fn kind(&self) -> Option<KindId> {
        self.kind.get()
    }

    pub(crate) fn set_kind(&mut self, kind: Option<KindId>) {
        self.kind = Maybe::new(kind);
    }

    /// The class that was told of the address.
    pub(crate) fn emitted(&self) -> Option<ClassId> {
        self.emitted.get()
    }

    pub(crate) fn set_emitted(&mut self, class: Option<ClassId>) {
        self.emitted = Maybe::new(class);
    }

    /// Nothing asks for the slot any more.
    pub(crate) fn is_unused(&self) -> bool {
        self.owner.get().is_none() && self.nodes == 0 && !self.pinned
    }
}

#[derive(Debug, Default)]
pub(crate) struct Slots {
    v4: BTreeMap<u32, SlotId>,
    v6: BTreeMap<u128, SlotId>,
    pub(crate) items: Slab<SlotId, Slot>,
    /// Owners of the few addresses that have several; sorted.
    shared: FxHashMap<SlotId, Vec<EntryId>>,
}

impl Slots {
    pub(crate) fn find(&self, address: IpAddr) -> Option<SlotId> {
        match address {
            IpAddr::V4(address) => self.v4.get(&u32::from(address)).copied(),
            IpAddr::V6(address) => self.v6.get(&u128::from(address)).copied(),
        }
    }

    /// Endpoints that have the address: nearly always at most one. Sorted.
    pub(crate) fn owners(&self, id: SlotId) -> &[EntryId] {
        match self.shared.get(&id) {
            Some(owners) => owners,
            None => match &self.items[id].owner {
                owner if owner.get().is_some() => std::slice::from_ref(&owner.0),
                _ => &[],
            },
        }
    }

    pub(crate) fn add_owner(&mut self, id: SlotId, entry: EntryId) {
        let slot = &mut self.items[id];
        if slot.owner.get().is_none() {
            slot.owner = Maybe::new(Some(entry));
            return;
        }
        let owners = self.owners(id);
        if let Err(at) = owners.binary_search(&entry) {
            let mut owners = owners.to_vec();
            owners.insert(at, entry);
            self.set_owners(id, owners);
        }
    }

    pub(crate) fn remove_owner(&mut self, id: SlotId, entry: EntryId) {
        let owners = self.owners(id);
        if let Ok(at) = owners.binary_search(&entry) {
            let mut owners = owners.to_vec();
            owners.remove(at);
            self.set_owners(id, owners);
        }
    }

    fn set_owners(&mut self, id: SlotId, owners: Vec<EntryId>) {
        self.items[id].owner = Maybe::new(owners.first().copied());
        if owners.len() > 1 {
            self.shared.insert(id, owners);
        } else {
            self.shared.remove(&id);
        }
    }

    /// The slot of the address, made if need be.
    pub(crate) fn obtain(&mut self, address: IpAddr) -> SlotId {
        let items = &mut self.items;
        let make = || {
            items.insert(Slot {
                address,
                pinned: false,
                local: false,
                touched: false,
                nodes: 0,
                owner: Maybe::new(None),
                kind: Maybe::new(None),
                emitted: Maybe::new(None),
                place: 0,
            })
        };
        match address {
            IpAddr::V4(address) => *self.v4.entry(u32::from(address)).or_insert_with(make),
            IpAddr::V6(address) => *self.v6.entry(u128::from(address)).or_insert_with(make),
        }
    }

    pub(crate) fn remove(&mut self, id: SlotId) {
        self.shared.remove(&id);
        let Some(slot) = self.items.remove(id) else {
            return;
        };
        match slot.address {
            IpAddr::V4(address) => self.v4.remove(&u32::from(address)),
            IpAddr::V6(address) => self.v6.remove(&u128::from(address)),
        };
    }

    /// The first slot from `from` on that lies inside `prefix`.
    pub(crate) fn next_inside(&self, prefix: IpNet, from: IpAddr) -> Option<(IpAddr, SlotId)> {
        match (prefix, from) {
            (IpNet::V4(net), IpAddr::V4(from)) => {
                let (first, last) = (u32::from(from), u32::from(net.broadcast()));
                let mut inside = self.v4.range(first..=last.max(first));
                let (address, id) = inside.next().filter(|(address, _)| **address <= last)?;
                Some((Ipv4Addr::from(*address).into(), *id))
            }
            (IpNet::V6(net), IpAddr::V6(from)) => {
                let (first, last) = (u128::from(from), u128::from(net.broadcast()));
                let mut inside = self.v6.range(first..=last.max(first));
                let (address, id) = inside.next().filter(|(address, _)| **address <= last)?;
                Some((Ipv6Addr::from(*address).into(), *id))
            }
            _ => None,
        }
    }

    /// IPv4 before IPv6, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.v4
            .values()
            .chain(self.v6.values())
            .map(|id| &self.items[*id])
    }
}

/// The address after this one, unless it is the last of its family.
pub(crate) fn successor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(Ipv4Addr::from(u32::from(address).checked_add(1)?).into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from(u128::from(address).checked_add(1)?).into()),
    }
}
