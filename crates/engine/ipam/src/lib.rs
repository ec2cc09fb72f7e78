//! Which address a workload gets: pools, blocks and handles.
//!
//! ```text
//!   (snapshot of pools and blocks, request) ──► plan: an address and at most one block to write
//! ```
//!
//! A plan is a compare-and-swap: the block carries the resource version it was read at. Who loses
//! the race reads again and plans again. Nothing here reads a clock or talks to a server.
//!
//! A *handle* names who holds an address, and is the same each time the holder asks, so that a
//! repeated request finds its address instead of taking a second one.
//!
//! ```
//! use ocicat_api::Family;
//! use ocicat_ipam::{Request, Snapshot, assign, pool};
//!
//! let snapshot = Snapshot { pools: vec![pool("p", "10.244.0.0/16", 26)], blocks: vec![] };
//! let none = Default::default();
//! let request = Request { node: "a", handle: "pod-1", family: Family::Ipv4, resting: &none };
//! let plan = assign(&snapshot, &request).unwrap();
//! assert_eq!(plan.address.to_string(), "10.244.0.0");
//! ```

mod block;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_api::core::{IpPool, IpamBlock};
use ocicat_api::{Family, Metadata};

pub use block::{block_name, size};

/// Pools and blocks as they were read together.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub pools: Vec<IpPool>,
    pub blocks: Vec<IpamBlock>,
}

/// Asks for any address of one family.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub node: &'a str,
    pub handle: &'a str,
    pub family: Family,
    /// Addresses given back a moment ago: taken only when nothing else is free.
    pub resting: &'a BTreeSet<IpAddr>,
}

/// Asks for one certain address.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub node: &'a str,
    pub handle: &'a str,
    pub address: IpAddr,
}

/// What to write. The resource version in the block's metadata is that of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Create(IpamBlock),
    Replace(IpamBlock),
}

/// The address, and the write that makes it the handle's; none if it is the handle's already, or
/// if no pool holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub address: IpAddr,
    pub write: Option<Write>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssignError {
    /// No enabled pool of this family exists.
    NoPool(Family),
    /// Every address of every pool is taken.
    Exhausted(Family),
    /// Another handle holds the address.
    Taken { address: IpAddr, holder: Arc<str> },
}

/// Plans one address of a family: first from the node's own blocks, then from a new block, and
/// last from any block of the pools, because a small pool has fewer blocks than there are nodes.
///
/// # Errors
/// [`AssignError::NoPool`] and [`AssignError::Exhausted`].
pub fn assign(snapshot: &Snapshot, request: &Request<'_>) -> Result<Plan, AssignError> {
    if let Some(address) = held(snapshot, request) {
        return Ok(Plan {
            address,
            write: None,
        });
    }
    let pools: Vec<&IpPool> = snapshot
        .pools
        .iter()
        .filter(|pool| !pool.disabled && family_of(&pool.cidr) == request.family)
        .collect();
    if pools.is_empty() {
        return Err(AssignError::NoPool(request.family));
    }
    let own = || own_blocks(snapshot, request.node, &pools);
    let rested = own().find_map(|block| take_free(block, request, request.resting));
    rested
        .or_else(|| new_block(snapshot, request, &pools))
        .or_else(|| own().find_map(|block| take_free(block, request, &BTreeSet::new())))
        .or_else(|| {
            let any = || blocks_of(snapshot, &pools);
            let rested = any().find_map(|block| take_free(block, request, request.resting));
            rested.or_else(|| any().find_map(|block| take_free(block, request, &BTreeSet::new())))
        })
        .ok_or(AssignError::Exhausted(request.family))
}

/// Plans a certain address. Outside every pool it needs no record.
///
/// # Errors
/// [`AssignError::Taken`] if another handle holds it.
pub fn claim(snapshot: &Snapshot, claim: &Claim<'_>) -> Result<Plan, AssignError> {
    let address = claim.address;
    let Some(pool) = snapshot
        .pools
        .iter()
        .find(|pool| pool.cidr.contains(&address))
    else {
        return Ok(Plan {
            address,
            write: None,
        });
    };
    let write = match snapshot
        .blocks
        .iter()
        .find(|block| block.cidr.contains(&address))
    {
        None => {
            let mut block = block::empty(block::containing(pool, address), claim.node);
            block
                .allocations
                .insert(block::ordinal(&block.cidr, address), claim.handle.into());
            Some(Write::Create(block))
        }
        Some(block) => {
            let ordinal = block::ordinal(&block.cidr, address);
            match block.allocations.get(&ordinal) {
                Some(holder) if **holder == *claim.handle => None,
                Some(holder) => {
                    return Err(AssignError::Taken {
                        address,
                        holder: holder.clone(),
                    });
                }
                None => {
                    let mut block = block.clone();
                    block.allocations.insert(ordinal, claim.handle.into());
                    Some(Write::Replace(block))
                }
            }
        }
    };
    Ok(Plan { address, write })
}

/// Plans to give back everything that a handle holds. Blocks stay with their node.
#[must_use]
pub fn release(snapshot: &Snapshot, handle: &str) -> Vec<(Vec<IpAddr>, Write)> {
    let holds = |block: &&IpamBlock| block.allocations.values().any(|h| **h == *handle);
    snapshot
        .blocks
        .iter()
        .filter(holds)
        .map(|block| {
            let mut left = block.clone();
            left.allocations.retain(|_, holder| **holder != *handle);
            let freed = block
                .allocations
                .iter()
                .filter(|(_, holder)| ***holder == *handle)
                .map(|(ordinal, _)| block::address(&block.cidr, *ordinal))
                .collect();
            (freed, Write::Replace(left))
        })
        .collect()
}

fn held(snapshot: &Snapshot, request: &Request<'_>) -> Option<IpAddr> {
    let of_family = |block: &&IpamBlock| family_of(&block.cidr) == request.family;
    snapshot.blocks.iter().filter(of_family).find_map(|block| {
        let (ordinal, _) = block
            .allocations
            .iter()
            .find(|(_, h)| ***h == *request.handle)?;
        Some(block::address(&block.cidr, *ordinal))
    })
}

fn own_blocks<'a>(
    snapshot: &'a Snapshot,
    node: &'a str,
    pools: &'a [&IpPool],
) -> impl Iterator<Item = &'a IpamBlock> {
    blocks_of(snapshot, pools).filter(move |block| block.node.as_deref() == Some(node))
}

fn blocks_of<'a>(
    snapshot: &'a Snapshot,
    pools: &'a [&IpPool],
) -> impl Iterator<Item = &'a IpamBlock> {
    let in_pools = |block: &&IpamBlock| pools.iter().any(|pool| pool.cidr.contains(&block.cidr));
    snapshot.blocks.iter().filter(in_pools)
}

fn take_free(block: &IpamBlock, request: &Request<'_>, resting: &BTreeSet<IpAddr>) -> Option<Plan> {
    let free = |ordinal: &u32| {
        !block.allocations.contains_key(ordinal)
            && !resting.contains(&block::address(&block.cidr, *ordinal))
    };
    let ordinal = (0..size(&block.cidr)).find(free)?;
    let mut taken = block.clone();
    taken.allocations.insert(ordinal, request.handle.into());
    let address = block::address(&block.cidr, ordinal);
    Some(Plan {
        address,
        write: Some(Write::Replace(taken)),
    })
}

fn new_block(snapshot: &Snapshot, request: &Request<'_>, pools: &[&IpPool]) -> Option<Plan> {
    let taken: BTreeSet<IpNet> = snapshot.blocks.iter().map(|block| block.cidr).collect();
    let overlaps = |cidr: &IpNet| taken.iter().any(|t| t.contains(cidr) || cidr.contains(t));
    pools.iter().find_map(|pool| {
        let cidr = block::all(pool).find(|cidr| !overlaps(cidr))?;
        let mut block = block::empty(cidr, request.node);
        block.allocations.insert(0, request.handle.into());
        let address = block::address(&cidr, 0);
        Some(Plan {
            address,
            write: Some(Write::Create(block)),
        })
    })
}

fn family_of(cidr: &IpNet) -> Family {
    match cidr {
        IpNet::V4(_) => Family::Ipv4,
        IpNet::V6(_) => Family::Ipv6,
    }
}

/// An enabled pool without NAT.
///
/// # Panics
/// If `cidr` is not a CIDR.
#[must_use]
pub fn pool(name: &str, cidr: &str, block_size: u8) -> IpPool {
    IpPool {
        metadata: Metadata {
            name: name.into(),
            ..Metadata::default()
        },
        cidr: cidr.parse().expect("the caller gives a CIDR"),
        block_size,
        disabled: false,
        nat_outgoing: false,
    }
}

impl fmt::Display for AssignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = |family: &Family| match family {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        };
        match self {
            Self::NoPool(of) => write!(f, "no enabled IPPool for {}", family(of)),
            Self::Exhausted(of) => {
                write!(
                    f,
                    "every {} address of the pools is taken; add an IPPool",
                    family(of)
                )
            }
            Self::Taken { address, holder } => write!(f, "{address} is held by {holder}"),
        }
    }
}

impl std::error::Error for AssignError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            pools: vec![
                pool("four", "10.0.0.0/29", 30),
                pool("six", "fd00::/120", 122),
            ],
            blocks: vec![],
        }
    }

    fn apply(snapshot: &mut Snapshot, write: Option<Write>) {
        match write {
            None => {}
            Some(Write::Create(block)) => snapshot.blocks.push(block),
            Some(Write::Replace(block)) => {
                let place = snapshot.blocks.iter_mut().find(|b| b.cidr == block.cidr);
                *place.expect("a replaced block exists") = block;
            }
        }
    }

    fn ask(snapshot: &mut Snapshot, node: &str, handle: &str) -> Result<String, AssignError> {
        let none = BTreeSet::new();
        let request = Request {
            node,
            handle,
            family: Family::Ipv4,
            resting: &none,
        };
        let plan = assign(snapshot, &request)?;
        apply(snapshot, plan.write);
        Ok(plan.address.to_string())
    }

    #[test]
    fn nodes_take_blocks_of_their_own_and_borrow_when_there_is_none() {
        let mut world = snapshot();
        assert_eq!(ask(&mut world, "a", "h0").unwrap(), "10.0.0.0");
        assert_eq!(ask(&mut world, "b", "h1").unwrap(), "10.0.0.4");
        for (handle, address) in [("h2", "10.0.0.1"), ("h3", "10.0.0.2"), ("h4", "10.0.0.3")] {
            assert_eq!(ask(&mut world, "a", handle).unwrap(), address);
        }
        for (handle, address) in [("h5", "10.0.0.5"), ("h6", "10.0.0.6"), ("h7", "10.0.0.7")] {
            assert_eq!(ask(&mut world, "a", handle).unwrap(), address);
        }
        assert_eq!(
            ask(&mut world, "a", "h8"),
            Err(AssignError::Exhausted(Family::Ipv4))
        );
    }

    #[test]
    fn a_handle_that_asks_again_gets_the_same_address() {
        let mut world = snapshot();
        assert_eq!(ask(&mut world, "a", "h0"), ask(&mut world, "a", "h0"));
        assert_eq!(world.blocks[0].allocations.len(), 1);
    }

    #[test]
    fn resting_addresses_are_taken_last() {
        let mut world = snapshot();
        world.pools[0].cidr = "10.0.0.0/30".parse().unwrap();
        ask(&mut world, "a", "h0").unwrap();
        let resting = BTreeSet::from(["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()]);
        let mut got = Vec::new();
        for handle in ["h1", "h2", "h3"] {
            let request = Request {
                node: "a",
                handle,
                family: Family::Ipv4,
                resting: &resting,
            };
            let plan = assign(&world, &request).unwrap();
            apply(&mut world, plan.write);
            got.push(plan.address.to_string());
        }
        assert_eq!(got, ["10.0.0.3", "10.0.0.1", "10.0.0.2"]);
    }

    #[test]
    fn a_released_handle_frees_its_addresses_only() {
        let mut world = snapshot();
        ask(&mut world, "a", "h0").unwrap();
        ask(&mut world, "a", "h1").unwrap();
        for (freed, write) in release(&world.clone(), "h0") {
            assert_eq!(freed, ["10.0.0.0".parse::<IpAddr>().unwrap()]);
            apply(&mut world, Some(write));
        }
        assert_eq!(world.blocks[0].allocations.len(), 1);
        assert!(release(&world, "h0").is_empty());
    }

    #[test]
    fn a_claimed_address_has_one_holder() {
        let mut world = snapshot();
        let address = "10.0.0.6".parse().unwrap();
        let plan = claim(
            &world,
            &Claim {
                node: "a",
                handle: "h0",
                address,
            },
        )
        .unwrap();
        apply(&mut world, plan.write);
        assert_eq!(world.blocks[0].cidr.to_string(), "10.0.0.4/30");
        let again = claim(
            &world,
            &Claim {
                node: "a",
                handle: "h0",
                address,
            },
        )
        .unwrap();
        assert_eq!(again.write, None);
        let other = claim(
            &world,
            &Claim {
                node: "b",
                handle: "h1",
                address,
            },
        );
        assert_eq!(
            other,
            Err(AssignError::Taken {
                address,
                holder: "h0".into()
            })
        );
        let outside = "192.0.2.1".parse().unwrap();
        let plan = claim(
            &world,
            &Claim {
                node: "a",
                handle: "h2",
                address: outside,
            },
        )
        .unwrap();
        assert_eq!(
            plan,
            Plan {
                address: outside,
                write: None
            }
        );
    }

    #[test]
    fn both_families_use_the_same_code() {
        let world = snapshot();
        let none = BTreeSet::new();
        let request = Request {
            node: "a",
            handle: "h",
            family: Family::Ipv6,
            resting: &none,
        };
        let plan = assign(&world, &request).unwrap();
        assert_eq!(plan.address.to_string(), "fd00::");
        let Some(Write::Create(block)) = plan.write else {
            panic!("a new block")
        };
        assert_eq!(block.cidr.to_string(), "fd00::/122");
        assert_eq!(&*block.metadata.name, "fd00---122");
    }
}
