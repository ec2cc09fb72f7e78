//! Addresses that matter: those of endpoints and nodes, and full-length prefixes of rules and
//! network sets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use ocicat_node::ClassId;

use crate::slab::{EntryId, KindId, Slab, SlotId};

#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) address: IpAddr,
    owners: Owners,
    /// How many nodes have the address.
    pub(crate) nodes: u16,
    /// How many regions are just this address: one or none.
    pub(crate) pins: u16,
    /// Whether a local endpoint has the address.
    pub(crate) local: bool,
    pub(crate) touched: bool,
    pub(crate) kind: Option<KindId>,
    /// Where the slot stands among the members of its kind.
    pub(crate) place: u32,
    pub(crate) emitted: Option<ClassId>,
}

/// Endpoints that have the address: nearly always at most one.
#[derive(Debug, Default)]
enum Owners {
    #[default]
    None,
    One(EntryId),
    #[expect(clippy::box_collection, reason = "keeps the common slot small")]
    Many(Box<Vec<EntryId>>),
}

impl Slot {
    pub(crate) fn owners(&self) -> &[EntryId] {
        match &self.owners {
            Owners::None => &[],
            Owners::One(entry) => std::slice::from_ref(entry),
            Owners::Many(entries) => entries,
        }
    }

    pub(crate) fn add_owner(&mut self, entry: EntryId) {
        let mut owners = self.owners().to_vec();
        if let Err(at) = owners.binary_search(&entry) {
            owners.insert(at, entry);
            self.set_owners(owners);
        }
    }

    pub(crate) fn remove_owner(&mut self, entry: EntryId) {
        let mut owners = self.owners().to_vec();
        if let Ok(at) = owners.binary_search(&entry) {
            owners.remove(at);
            self.set_owners(owners);
        }
    }

    fn set_owners(&mut self, owners: Vec<EntryId>) {
        self.owners = match owners.as_slice() {
            [] => Owners::None,
            [entry] => Owners::One(*entry),
            _ => Owners::Many(Box::new(owners)),
        };
    }

    /// Nothing asks for the slot any more.
    pub(crate) fn is_unused(&self) -> bool {
        self.owners().is_empty() && self.nodes == 0 && self.pins == 0
    }
}

#[derive(Debug, Default)]
pub(crate) struct Slots {
    v4: BTreeMap<u32, SlotId>,
    v6: BTreeMap<u128, SlotId>,
    pub(crate) items: Slab<SlotId, Slot>,
}

impl Slots {
    pub(crate) fn find(&self, address: IpAddr) -> Option<SlotId> {
        match address {
            IpAddr::V4(address) => self.v4.get(&u32::from(address)).copied(),
            IpAddr::V6(address) => self.v6.get(&u128::from(address)).copied(),
        }
    }

    /// The slot of the address, made if need be.
    pub(crate) fn obtain(&mut self, address: IpAddr) -> SlotId {
        let items = &mut self.items;
        let make = || {
            items.insert(Slot {
                address,
                owners: Owners::None,
                nodes: 0,
                pins: 0,
                local: false,
                touched: false,
                kind: None,
                place: 0,
                emitted: None,
            })
        };
        match address {
            IpAddr::V4(address) => *self.v4.entry(u32::from(address)).or_insert_with(make),
            IpAddr::V6(address) => *self.v6.entry(u128::from(address)).or_insert_with(make),
        }
    }

    pub(crate) fn remove(&mut self, id: SlotId) {
        let Some(slot) = self.items.remove(id) else { return };
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
        self.v4.values().chain(self.v6.values()).map(|id| &self.items[*id])
    }
}

/// The address after this one, unless it is the last of its family.
pub(crate) fn successor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            Some(Ipv4Addr::from(u32::from(address).checked_add(1)?).into())
        }
        IpAddr::V6(address) => {
            Some(Ipv6Addr::from(u128::from(address).checked_add(1)?).into())
        }
    }
}
