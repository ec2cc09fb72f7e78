//! Arithmetic of blocks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use ocicat_api::Metadata;
use ocicat_api::core::{IpPool, IpamBlock};

/// Blocks hold at most this many addresses, whatever their prefix length says.
const LARGEST: u32 = 65_536;

/// How many addresses of a block are given out: all of them, at most 65,536.
#[must_use]
pub fn size(cidr: &IpNet) -> u32 {
    let bits = u32::from(cidr.max_prefix_len() - cidr.prefix_len());
    1u32.checked_shl(bits).unwrap_or(LARGEST).min(LARGEST)
}

/// The object name of a block: its CIDR with `.`, `:` and `/` as `-`.
#[must_use]
pub fn block_name(cidr: &IpNet) -> String {
    cidr.to_string().replace(['.', ':', '/'], "-")
}

/// The `ordinal`-th address of a block, from 0.
pub(crate) fn address(cidr: &IpNet, ordinal: u32) -> IpAddr {
    match cidr.network() {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first).wrapping_add(ordinal)).into()),
        IpAddr::V6(first) => {
            IpAddr::V6((u128::from(first).wrapping_add(u128::from(ordinal))).into())
        }
    }
}

/// The inverse of [`address`], for an address inside the block.
pub(crate) fn ordinal(cidr: &IpNet, address: IpAddr) -> u32 {
    match (cidr.network(), address) {
        (IpAddr::V4(first), IpAddr::V4(a)) => u32::from(a).wrapping_sub(u32::from(first)),
        (IpAddr::V6(first), IpAddr::V6(a)) => {
            let distance = u128::from(a).wrapping_sub(u128::from(first));
            u32::try_from(distance).unwrap_or(u32::MAX)
        }
        _ => u32::MAX,
    }
}

/// Every block of a pool, in order. Bounded: at most 65,536 are offered.
pub(crate) fn all(pool: &IpPool) -> impl Iterator<Item = IpNet> {
    let length = block_length(pool);
    let count = 1u32
        .checked_shl(u32::from(length - pool.cidr.prefix_len()))
        .unwrap_or(LARGEST);
    let step = u32::from(pool.cidr.max_prefix_len() - length);
    let pool = pool.cidr;
    (0..count.min(LARGEST)).filter_map(move |index| {
        let first = match pool.network() {
            IpAddr::V4(first) => IpAddr::V4((u32::from(first) + (index << step)).into()),
            IpAddr::V6(first) => {
                IpAddr::V6((u128::from(first) + (u128::from(index) << step)).into())
            }
        };
        IpNet::new(first, length).ok()
    })
}

/// The block of a pool that an address belongs to.
pub(crate) fn containing(pool: &IpPool, address: IpAddr) -> IpNet {
    IpNet::new(address, block_length(pool))
        .unwrap_or(pool.cidr)
        .trunc()
}

pub(crate) fn empty(cidr: IpNet, node: &str) -> IpamBlock {
    IpamBlock {
        metadata: Metadata {
            name: block_name(&cidr).into(),
            ..Metadata::default()
        },
        cidr,
        node: Some(node.into()),
        allocations: BTreeMap::new(),
    }
}

/// A block is never larger than its pool.
fn block_length(pool: &IpPool) -> u8 {
    pool.block_size
        .clamp(pool.cidr.prefix_len(), pool.cidr.max_prefix_len())
}
