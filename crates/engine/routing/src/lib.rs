//! Who owns which prefix, and so which routes this host needs.
//!
//! ```text
//!   nodes, blocks, stray addresses, local workloads ──► routes of this host's main table
//! ```
//!
//! All hosts share one wire here: a block is reached through its node's address of the same
//! family. Nothing is read from the kernel and nothing is written to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_node::{Attachment, Route, RouteTarget};

/// What the routes of one host follow from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// Addresses of each node on the wire.
    pub nodes: BTreeMap<Arc<str>, Vec<IpAddr>>,
    /// The node that each block belongs to.
    pub blocks: BTreeMap<IpNet, Arc<str>>,
    /// Addresses of workloads that are not in a block of their node, and that node.
    pub strays: BTreeMap<IpAddr, Arc<str>>,
}

impl Topology {
    /// Whether a workload's address needs a route of its own.
    #[must_use]
    pub fn is_stray(&self, address: IpAddr, node: &str) -> bool {
        // Blocks are disjoint: only the last one that begins at or before the address can hold it.
        let candidate = self.blocks.range(..=IpNet::from(address)).next_back();
        let owner = candidate.filter(|(block, _)| block.contains(&address));
        owner.is_none_or(|(_, owner)| **owner != *node)
    }

    /// The routes of `node`. Blocks and addresses of unknown nodes have none. The node's own
    /// blocks end in a blackhole, so that packets to free addresses do not travel in circles.
    pub fn routes<'a>(
        &self,
        node: &str,
        local: impl IntoIterator<Item = &'a Attachment>,
    ) -> BTreeSet<Route> {
        let blocks = self.blocks.iter().filter_map(|(block, owner)| {
            let target = if **owner == *node {
                RouteTarget::Blackhole
            } else {
                RouteTarget::Gateway(self.address_of(owner, block.addr())?)
            };
            Some(Route {
                destination: *block,
                target,
            })
        });
        let strays = self.strays.iter().filter(|(_, owner)| ***owner != *node);
        let strays = strays.filter_map(|(address, owner)| {
            let target = RouteTarget::Gateway(self.address_of(owner, *address)?);
            Some(Route {
                destination: IpNet::from(*address),
                target,
            })
        });
        let local = local.into_iter().flat_map(|attachment| {
            attachment.addresses.iter().map(|address| Route {
                destination: IpNet::from(*address),
                target: RouteTarget::Interface(attachment.interface.clone()),
            })
        });
        let mut by_destination: BTreeMap<IpNet, Route> = BTreeMap::new();
        for route in blocks.chain(strays).chain(local) {
            by_destination.insert(route.destination, route);
        }
        by_destination.into_values().collect()
    }

    fn address_of(&self, node: &str, family: IpAddr) -> Option<IpAddr> {
        let addresses = self.nodes.get(node)?;
        addresses
            .iter()
            .copied()
            .find(|address| address.is_ipv4() == family.is_ipv4())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        Topology {
            nodes: BTreeMap::from([
                ("a".into(), vec![ip("192.0.2.1"), ip("2001:db8::1")]),
                ("b".into(), vec![ip("192.0.2.2")]),
            ]),
            blocks: BTreeMap::from([
                ("10.0.0.0/26".parse().unwrap(), "a".into()),
                ("10.0.0.64/26".parse().unwrap(), "b".into()),
                ("fd00::/122".parse().unwrap(), "b".into()),
                ("10.0.0.128/26".parse().unwrap(), "gone".into()),
            ]),
            strays: BTreeMap::from([(ip("198.51.100.10"), "b".into())]),
        }
    }

    fn texts(routes: BTreeSet<Route>) -> Vec<String> {
        let text = |route: Route| match route.target {
            RouteTarget::Gateway(via) => format!("{} via {via}", route.destination),
            RouteTarget::Interface(name) => format!("{} dev {name}", route.destination),
            RouteTarget::Blackhole => format!("blackhole {}", route.destination),
        };
        routes.into_iter().map(text).collect()
    }

    #[test]
    fn routes_of_one_host() {
        let local = Attachment {
            interface: "ocwabc".into(),
            mac: [2; 6],
            addresses: vec!["10.0.0.5".parse().unwrap()],
        };
        let got = texts(topology().routes("a", [&local]));
        let want = [
            "blackhole 10.0.0.0/26",
            "10.0.0.5/32 dev ocwabc",
            "10.0.0.64/26 via 192.0.2.2",
            "198.51.100.10/32 via 192.0.2.2",
        ];
        assert_eq!(got.len(), want.len(), "{got:?}");
        for line in want {
            assert!(
                got.iter().any(|g| g == line),
                "{line} is missing from {got:?}"
            );
        }
    }

    #[test]
    fn strays_are_addresses_outside_the_blocks_of_their_node() {
        let topology = topology();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(!topology.is_stray(ip("10.0.0.70"), "b"));
        assert!(topology.is_stray(ip("10.0.0.70"), "a"));
        assert!(topology.is_stray(ip("198.51.100.10"), "b"));
    }
}
