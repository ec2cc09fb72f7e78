//! Which addresses of the pools can be told apart by CIDRs.
//!
//! ```text
//!   pool 10.0.0.0/16      rule 10.0.8.0/24       rule 10.0.8.7/32
//!   ├─ 10.0.0.0/16 but not 10.0.8.0/24      one region
//!   ├─ 10.0.8.0/24 but not 10.0.8.7/32      one region
//!   └─ 10.0.8.7/32                          one region
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Addresses of a pool that no CIDR tells apart: those of `cidr` in none of the narrower ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Region {
    pub cidr: IpNet,
    /// What the region is made of: inclusive ranges in order.
    gaps: Vec<(u128, u128)>,
}

/// The regions into which `cuts` divide the pools, in the order of their CIDRs. Pools that lie in
/// other pools are cuts themselves.
pub(crate) fn regions(pools: &BTreeSet<IpNet>, cuts: &BTreeSet<IpNet>) -> Vec<Region> {
    let within = |cut: &&IpNet| pools.iter().any(|pool| pool.contains(*cut));
    let cidrs: BTreeSet<IpNet> = cuts
        .iter()
        .filter(within)
        .chain(pools)
        .map(IpNet::trunc)
        .collect();
    // In this order a prefix comes right before all that lie in it.
    let mut cidrs: Vec<IpNet> = cidrs.into_iter().collect();
    cidrs.sort_by_key(|cidr| (cidr.addr(), cidr.prefix_len()));
    let region = |(index, cidr): (usize, &IpNet)| {
        let inner = cidrs[index + 1..]
            .iter()
            .take_while(|inner| cidr.contains(*inner));
        Region {
            cidr: *cidr,
            gaps: gaps(cidr, inner),
        }
    };
    let regions = cidrs.iter().enumerate().map(region);
    regions.filter(|region| !region.gaps.is_empty()).collect()
}

impl Region {
    /// How many addresses it has, at most [`u128::MAX`].
    pub(crate) fn size(&self) -> u128 {
        let size = |(first, last): &(u128, u128)| (last - first).saturating_add(1);
        self.gaps.iter().map(size).fold(0, u128::saturating_add)
    }

    /// An address of the region that is in neither set: the lowest.
    pub(crate) fn spare(
        &self,
        used: &BTreeSet<IpAddr>,
        asked: &BTreeSet<IpAddr>,
    ) -> Option<IpAddr> {
        let free = |address: &IpAddr| !used.contains(address) && !asked.contains(address);
        let each = self.gaps.iter().flat_map(|(first, last)| *first..=*last);
        // The search is as long as the addresses in use are many, at most.
        each.map(|number| address(&self.cidr, number)).find(free)
    }
}

/// What is left of a prefix without narrower ones, which come in order.
fn gaps<'a>(cidr: &IpNet, inner: impl Iterator<Item = &'a IpNet>) -> Vec<(u128, u128)> {
    let (mut next, last) = (number(cidr.network()), number(cidr.broadcast()));
    let mut gaps = Vec::new();
    for cut in inner {
        let (from, to) = (number(cut.network()), number(cut.broadcast()));
        if from > next {
            gaps.push((next, from - 1));
        }
        if to >= last {
            return gaps;
        }
        next = next.max(to + 1);
    }
    gaps.push((next, last));
    gaps
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn address(family: &IpNet, number: u128) -> IpAddr {
    match family {
        // Numbers of IPv4 regions come from `number` above.
        IpNet::V4(_) => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpNet::V6(_) => Ipv6Addr::from(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> BTreeSet<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn described(pools: &[&str], cuts: &[&str]) -> Vec<String> {
        let spare = |region: &Region| region.spare(&BTreeSet::new(), &BTreeSet::new()).unwrap();
        let regions = regions(&nets(pools), &nets(cuts));
        regions
            .iter()
            .map(|region| format!("{} {}", region.cidr, spare(region)))
            .collect()
    }

    #[test]
    fn cuts_nest() {
        assert_eq!(
            described(
                &["10.0.0.0/16"],
                &["10.0.0.0/24", "10.0.0.0/32", "10.0.8.0/24", "11.0.0.0/8"]
            ),
            [
                "10.0.0.0/16 10.0.1.0",
                "10.0.0.0/24 10.0.0.1",
                "10.0.0.0/32 10.0.0.0",
                "10.0.8.0/24 10.0.8.0"
            ]
        );
    }

    #[test]
    fn a_prefix_that_its_halves_fill_is_no_region() {
        assert_eq!(
            described(&["fd00::/64"], &["fd00::/65", "fd00::8000:0:0:0/65"]),
            ["fd00::/65 fd00::", "fd00::8000:0:0:0/65 fd00::8000:0:0:0"]
        );
    }

    #[test]
    fn a_cut_around_the_pool_changes_nothing() {
        assert_eq!(
            described(&["10.1.0.0/16"], &["10.0.0.0/8", "0.0.0.0/0"]),
            ["10.1.0.0/16 10.1.0.0"]
        );
    }

    #[test]
    fn used_addresses_are_not_spare() {
        let one = &regions(&nets(&["10.0.0.0/31"]), &BTreeSet::new())[0];
        let used = |texts: &[&str]| texts.iter().map(|x| x.parse().unwrap()).collect();
        let spare = one.spare(&used(&["10.0.0.0"]), &used(&[]));
        assert_eq!(spare, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(one.spare(&used(&["10.0.0.0"]), &used(&["10.0.0.1"])), None);
    }

    #[test]
    fn the_whole_of_ipv6_does_not_overflow() {
        assert_eq!(
            described(&["::/0"], &["ffff::/16"]),
            ["::/0 ::", "ffff::/16 ffff::"]
        );
    }
}
