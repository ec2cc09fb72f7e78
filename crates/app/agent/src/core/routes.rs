//! Routes to other hosts: kept as `engine/routing` says.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_api::{Kind, Object, ObjectKey};
use ocicat_kernel::rtnl;
use ocicat_node::{Route, RouteTarget};

use super::Core;

/// The number of our routes in `ip route` (`rtnetlink.h`, `rtm_protocol`).
pub(super) const PROTOCOL: u8 = 111;

impl Core {
    /// Takes from an object what routes follow from.
    pub(super) fn note_topology(&mut self, object: &Object) {
        match object {
            Object::Node(node) => {
                let (name, addresses) = (node.metadata.name.clone(), node.addresses.clone());
                let known = self.topology.nodes.insert(name, addresses);
                self.routes_changed |= known.as_ref() != Some(&node.addresses);
            }
            Object::IpamBlock(block) => {
                let known = match &block.node {
                    Some(node) => self.topology.blocks.insert(block.cidr, node.clone()),
                    None => self.topology.blocks.remove(&block.cidr),
                };
                if known != block.node {
                    self.routes_changed = true;
                    self.drop_strays_in_blocks();
                }
            }
            Object::Pod(pod) if !pod.host_network && !pod.finished => {
                self.note_stray(&object.key(), pod.node.as_ref(), &pod.addresses);
            }
            Object::Pod(_) => self.forget_topology(&object.key()),
            Object::WorkloadEndpoint(endpoint) => {
                self.note_stray(&object.key(), Some(&endpoint.node), &endpoint.addresses);
            }
            _ => {}
        }
    }

    pub(super) fn forget_topology(&mut self, key: &ObjectKey) {
        match key.kind {
            Kind::Node => {
                self.routes_changed |= self.topology.nodes.remove(&key.name).is_some();
            }
            Kind::IpamBlock => {
                let name = &*key.name;
                let before = self.topology.blocks.len();
                self.topology
                    .blocks
                    .retain(|cidr, _| ocicat_ipam::block_name(cidr) != name);
                self.routes_changed |= before != self.topology.blocks.len();
            }
            Kind::Pod | Kind::WorkloadEndpoint => {
                if let Some(addresses) = self.stray_owners.remove(key) {
                    for address in addresses {
                        self.topology.strays.remove(&address);
                    }
                    self.routes_changed = true;
                }
            }
            _ => {}
        }
    }

    /// Writes the routes that differ from those we wrote last.
    pub(super) fn sync_routes(&mut self) -> anyhow::Result<()> {
        if !self.routes_changed || !self.in_force {
            return Ok(());
        }
        if self.commits <= 1 {
            return self.resync_routes();
        }
        self.write_routes()
    }

    /// Reads our routes back first: for the start, and for those that others have changed.
    pub(super) fn resync_routes(&mut self) -> anyhow::Result<()> {
        let found = self
            .rtnl
            .routes(&rtnl::RouteFilter::by_protocol(PROTOCOL))?;
        self.routes = found.iter().filter_map(known_target).collect();
        self.repair_links();
        self.write_routes()
    }

    fn write_routes(&mut self) -> anyhow::Result<()> {
        // Routes to local workloads come and go with their links: see `repair_links`.
        let desired = self.topology.routes(&self.config.node, []);
        let gone = self
            .routes
            .difference(&desired)
            .map(|route| request(route).remove());
        let come = desired
            .difference(&self.routes)
            .map(|route| request(route).replace());
        let requests: Vec<_> = gone.chain(come).collect();
        for outcome in self.rtnl.apply_each(&requests)? {
            if let Err(error) = outcome {
                tracing::error!(%error, "route");
            }
        }
        self.routes = desired;
        self.routes_changed = false;
        Ok(())
    }

    fn note_stray(&mut self, key: &ObjectKey, node: Option<&Arc<str>>, addresses: &[IpAddr]) {
        let is_stray =
            |address: &IpAddr| node.is_some_and(|node| self.topology.is_stray(*address, node));
        let strays: Vec<_> = addresses.iter().copied().filter(is_stray).collect();
        if self.stray_owners.get(key).map_or(&[][..], Vec::as_slice) == strays {
            return;
        }
        self.forget_topology(key);
        let Some(node) = node else { return };
        for address in &strays {
            self.topology.strays.insert(*address, node.clone());
        }
        if !strays.is_empty() {
            self.stray_owners.insert(key.clone(), strays);
            self.routes_changed = true;
        }
    }

    /// An address may be known before its block.
    fn drop_strays_in_blocks(&mut self) {
        let settled: BTreeSet<_> = (self.topology.strays.iter())
            .filter(|(address, node)| !self.topology.is_stray(**address, node))
            .map(|(address, _)| *address)
            .collect();
        self.topology
            .strays
            .retain(|address, _| !settled.contains(address));
    }
}

fn request(route: &Route) -> rtnl::Route {
    match route.target {
        RouteTarget::Gateway(gateway) => rtnl::Route::via(route.destination, gateway),
        RouteTarget::Blackhole | RouteTarget::Interface(_) => {
            rtnl::Route::blackhole(route.destination)
        }
    }
    .by(PROTOCOL)
}

/// Routes of ours that lead to other hosts or nowhere; those to local workloads are the links'.
fn known_target(route: &rtnl::Route) -> Option<Route> {
    let target = match (route.kind, route.gateway) {
        (rtnl::RouteKind::Blackhole, _) => RouteTarget::Blackhole,
        (rtnl::RouteKind::Unicast, Some(gateway)) => RouteTarget::Gateway(gateway),
        _ => return None,
    };
    Some(Route {
        destination: route.destination,
        target,
    })
}
