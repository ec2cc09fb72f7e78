//! Prefixes that matter: the nets of rules and network sets, pools, and the two that hold all.

use std::net::IpAddr;

use ipnet::IpNet;
use ocicat_node::ClassId;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

use crate::slab::{IdentityId, KindId, QuestionId, RegionId, Slab};

/// Which list of a question about nets a prefix stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    Nets,
    Except,
}

#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) prefix: IpNet,
    pub(crate) asked: Vec<(QuestionId, List)>,
    /// Identities of the network sets that list the prefix.
    pub(crate) sets: Vec<IdentityId>,
    /// How many pools have this prefix.
    pub(crate) pools: u32,
    holds: u32,
    /// Kinds of addresses of which this is the longest region.
    pub(crate) kinds: Vec<KindId>,
    /// The kind of an address without owner; absent for full-length prefixes, whose address has
    /// a slot.
    pub(crate) own: Option<KindId>,
    pub(crate) emitted: Option<ClassId>,
}

#[derive(Debug, Default)]
pub(crate) struct Regions {
    numbers: FxHashMap<IpNet, RegionId>,
    ordered: BTreeMap<IpNet, RegionId>,
    pub(crate) items: Slab<RegionId, Region>,
    /// How many regions there are of each length, of IPv4 and IPv6.
    lengths: [Lengths; 2],
    idle: Vec<RegionId>,
}

/// Lengths in use, longest first, with how often.
type Lengths = Vec<(u8, u32)>;

impl Regions {
    /// Takes one hold on the region of a prefix. The second value says that it is new.
    pub(crate) fn hold(&mut self, prefix: IpNet) -> (RegionId, bool) {
        if let Some(&id) = self.numbers.get(&prefix) {
            self.items[id].holds += 1;
            return (id, false);
        }
        let id = self.items.insert(Region {
            prefix,
            asked: Vec::new(),
            sets: Vec::new(),
            pools: 0,
            holds: 1,
            kinds: Vec::new(),
            own: None,
            emitted: None,
        });
        self.numbers.insert(prefix, id);
        self.ordered.insert(prefix, id);
        let lengths = &mut self.lengths[family_of(prefix.addr())];
        match lengths.binary_search_by(|(length, _)| prefix.prefix_len().cmp(length)) {
            Ok(at) => lengths[at].1 += 1,
            Err(at) => lengths.insert(at, (prefix.prefix_len(), 1)),
        }
        (id, true)
    }

    /// Gives back one hold. A region without holds stays until [`Regions::take_idle`].
    pub(crate) fn let_go(&mut self, id: RegionId) {
        let region = &mut self.items[id];
        region.holds -= 1;
        if region.holds == 0 {
            self.idle.push(id);
        }
    }

    pub(crate) fn find(&self, prefix: &IpNet) -> Option<RegionId> {
        self.numbers.get(prefix).copied()
    }

    /// The regions without holds, which are no longer found from now on.
    pub(crate) fn take_idle(&mut self) -> Vec<RegionId> {
        let mut idle = std::mem::take(&mut self.idle);
        idle.sort_unstable();
        idle.dedup();
        idle.retain(|id| self.items[*id].holds == 0);
        for id in &idle {
            let prefix = self.items[*id].prefix;
            self.numbers.remove(&prefix);
            self.ordered.remove(&prefix);
            let lengths = &mut self.lengths[family_of(prefix.addr())];
            if let Some(at) = lengths
                .iter()
                .position(|(length, _)| *length == prefix.prefix_len())
            {
                lengths[at].1 -= 1;
                if lengths[at].1 == 0 {
                    lengths.remove(at);
                }
            }
        }
        idle
    }

    /// The regions that hold the address, longest first.
    pub(crate) fn around(&self, address: IpAddr) -> impl Iterator<Item = RegionId> + '_ {
        let lengths = &self.lengths[family_of(address)];
        lengths.iter().filter_map(move |(length, _)| {
            let prefix = IpNet::new(address, *length).ok()?.trunc();
            self.numbers.get(&prefix).copied()
        })
    }

    /// The longest region that holds the address.
    pub(crate) fn longest(&self, address: IpAddr) -> Option<RegionId> {
        self.around(address).next()
    }

    /// The region and all that are inside it.
    pub(crate) fn inside(&self, prefix: IpNet) -> impl Iterator<Item = RegionId> + '_ {
        let longest = prefix.max_prefix_len();
        let end = IpNet::new(prefix.broadcast(), longest).unwrap_or(prefix);
        self.ordered.range(prefix..=end).map(|(_, id)| *id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (IpNet, RegionId)> + '_ {
        self.ordered.iter().map(|(prefix, id)| (*prefix, *id))
    }
}

pub(crate) fn family_of(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

pub(crate) fn is_full_length(prefix: &IpNet) -> bool {
    prefix.prefix_len() == prefix.max_prefix_len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_and_inside() {
        let mut regions = Regions::default();
        let texts = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.3/32",
            "11.0.0.0/8",
            "::/0",
        ];
        let ids: Vec<RegionId> = texts
            .iter()
            .map(|text| regions.hold(text.parse().unwrap()).0)
            .collect();
        let longest = |regions: &Regions, text: &str| regions.longest(text.parse().unwrap());
        assert_eq!(longest(&regions, "10.1.2.3"), Some(ids[3]));
        assert_eq!(longest(&regions, "10.1.2.4"), Some(ids[2]));
        assert_eq!(longest(&regions, "12.0.0.0"), Some(ids[0]));
        assert_eq!(longest(&regions, "::1"), Some(ids[5]));
        let inside: Vec<RegionId> = regions.inside("10.0.0.0/8".parse().unwrap()).collect();
        assert_eq!(inside, ids[1..4]);
        regions.let_go(ids[2]);
        assert_eq!(regions.take_idle(), [ids[2]]);
        assert_eq!(longest(&regions, "10.1.2.4"), Some(ids[1]));
    }
}
