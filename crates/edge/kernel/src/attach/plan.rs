//! What an attachment asks for, as requests and settings, and how reality compares with it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Attachment, GATEWAY_V4, GATEWAY_V6, HOST_MAC};
use crate::Result;
use crate::rtnl::{
    Address, Link, Neighbour, NeighbourKind, Request, Route, RouteFilter, Rtnl, link,
};
use crate::sysctl::{Family, of_interface};

type Setting = (String, &'static str);

/// Written while the host end is down for the first time.
pub(super) fn host_settings(attachment: &Attachment) -> Vec<Setting> {
    const V4: [(&str, &str); 4] = [
        ("forwarding", "1"),
        ("rp_filter", "1"),
        ("proxy_arp", "1"),
        ("accept_redirects", "0"),
    ];
    // Mode 1 of addr_gen_mode: no link-local address but the one we add.
    const V6: [(&str, &str); 6] = [
        ("disable_ipv6", "0"),
        ("addr_gen_mode", "1"),
        ("accept_dad", "0"),
        ("accept_ra", "0"),
        ("accept_redirects", "0"),
        ("forwarding", "1"),
    ];
    let name = &attachment.host_interface;
    let mut settings = Vec::new();
    if attachment.has(Family::V4) {
        settings.extend(V4.map(|(key, value)| (of_interface(Family::V4, name, key), value)));
        settings.push((format!("net/ipv4/neigh/{name}/proxy_delay"), "0"));
    }
    if attachment.has(Family::V6) {
        settings.extend(V6.map(|(key, value)| (of_interface(Family::V6, name, key), value)));
    }
    settings
}

/// Runtimes switch IPv6 off in namespaces that had no IPv6 address when they were made.
pub(super) fn workload_settings(attachment: &Attachment) -> Vec<Setting> {
    const V6: [(&str, &str); 3] = [
        ("disable_ipv6", "0"),
        ("accept_dad", "0"),
        ("accept_ra", "0"),
    ];
    if !attachment.has(Family::V6) {
        return Vec::new();
    }
    let mut settings = vec![(of_interface(Family::V6, "lo", "disable_ipv6"), "0")];
    let name = &attachment.interface;
    settings.extend(V6.map(|(key, value)| (of_interface(Family::V6, name, key), value)));
    settings
}

/// For the host end, up or down.
pub(super) fn host_requests(attachment: &Attachment) -> Vec<Request> {
    vec![link::set_mtu(&attachment.host_interface, attachment.mtu)]
}

/// For the workload's end, numbered `index`.
pub(super) fn workload_requests(attachment: &Attachment, index: u32) -> Vec<Request> {
    let mut requests = vec![
        link::up("lo"),
        link::set_mtu(&attachment.interface, attachment.mtu),
        link::up(&attachment.interface),
    ];
    requests.extend(workload_addresses(attachment, index).map(|address| address.replace()));
    for gateway in attachment.gateways() {
        requests.push(neighbour(gateway, index, HOST_MAC.into()).replace());
    }
    requests.extend(workload_routes(attachment, index).map(|route| route.replace()));
    requests
}

/// Switches the host end, numbered `index`, on and leads its addresses there. The kernel takes no route
/// over a link that is down.
pub(super) fn activation(attachment: &Attachment, index: u32) -> Vec<Request> {
    let mut requests = vec![link::up(&attachment.host_interface)];
    if attachment.has(Family::V6) {
        requests.push(host_address(index).replace());
    }
    for address in &attachment.addresses {
        let entry = neighbour(*address, index, attachment.mac.into());
        requests.push(entry.replace());
    }
    requests.extend(host_routes(attachment, index).map(|route| route.replace()));
    requests
}

/// Why there is no pair, in a sentence.
pub(super) fn missing_pair(
    attachment: &Attachment,
    near: Option<Link>,
    far: Option<Link>,
) -> String {
    let (host, workload) = (&attachment.host_interface, &attachment.interface);
    match (near, far) {
        (None, _) => format!("link {host} is missing on the host"),
        (_, None) => format!("link {workload} is missing in the workload"),
        _ => format!("links {host} and {workload} are not the two ends of one pair"),
    }
}

/// Differences of the two ends themselves.
pub(super) fn compare_links(attachment: &Attachment, near: &Link, far: &Link) -> Vec<String> {
    let mut problems = Vec::new();
    for link in [near, far] {
        if !link.is_running {
            problems.push(format!("link {} does not carry packets", link.name));
        }
        if link.mtu != attachment.mtu {
            let (found, wanted) = (link.mtu, attachment.mtu);
            problems.push(format!("link {} has MTU {found}, not {wanted}", link.name));
        }
    }
    problems
}

/// Differences of the host's routes and neighbours. `index` is the host end.
pub(super) fn compare_host(
    attachment: &Attachment,
    index: u32,
    rtnl: &mut Rtnl,
) -> Result<Vec<String>> {
    let routes = rtnl.routes(&RouteFilter {
        interface: Some(index),
        ..RouteFilter::default()
    })?;
    let present = Present {
        routes,
        neighbours: rtnl.neighbours()?,
        addresses: rtnl.addresses()?,
    };
    let missing = missing_on_host(attachment, index, &present);
    Ok(missing.into_iter().map(|(problem, _)| problem).collect())
}

/// What a host has.
pub(super) struct Present {
    pub(super) routes: Vec<Route>,
    pub(super) neighbours: Vec<Neighbour>,
    pub(super) addresses: Vec<Address>,
}

/// What [`activation`] makes for a host end, numbered `index`, and is not there: in words, and how to make
/// it.
pub(super) fn missing_on_host(
    attachment: &Attachment,
    index: u32,
    present: &Present,
) -> Vec<(String, Request)> {
    let mut missing = Vec::new();
    let gateway = attachment.has(Family::V6).then(|| host_address(index));
    if let Some(address) = gateway.filter(|address| !present.addresses.contains(address)) {
        let (net, name) = (address.net, &attachment.host_interface);
        missing.push((
            format!("address {net} of {name} is missing on the host"),
            address.replace(),
        ));
    }
    for address in &attachment.addresses {
        let entry = neighbour(*address, index, attachment.mac.into());
        if !present.neighbours.contains(&entry) {
            let problem = format!("neighbour {address} is missing on the host");
            missing.push((problem, entry.replace()));
        }
    }
    for route in host_routes(attachment, index) {
        if !present.routes.iter().any(|other| same_route(&route, other)) {
            let problem = format!("route {} is missing in the host", route.destination);
            missing.push((problem, route.replace()));
        }
    }
    missing
}

fn same_route(a: &Route, b: &Route) -> bool {
    a.destination == b.destination && a.gateway == b.gateway && a.interface == b.interface
}

/// Differences inside the workload. `index` is its end.
pub(super) fn compare_workload(
    attachment: &Attachment,
    index: u32,
    rtnl: &mut Rtnl,
) -> Result<Vec<String>> {
    let routes = rtnl.routes(&RouteFilter {
        interface: Some(index),
        ..RouteFilter::default()
    })?;
    let addresses = rtnl.addresses()?;
    let neighbours = rtnl.neighbours()?;
    let mut problems = missing_routes(workload_routes(attachment, index), &routes, "the workload");
    for address in workload_addresses(attachment, index) {
        if !addresses.contains(&address) {
            problems.push(format!(
                "address {} is missing in the workload",
                address.net
            ));
        }
    }
    for gateway in attachment.gateways() {
        if !neighbours.contains(&neighbour(gateway, index, HOST_MAC.into())) {
            problems.push(format!("neighbour {gateway} is missing in the workload"));
        }
    }
    Ok(problems)
}

impl Attachment {
    fn has(&self, family: Family) -> bool {
        self.addresses
            .iter()
            .any(|address| address.is_ipv4() == (family == Family::V4))
    }

    fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.has(Family::V4).then_some(IpAddr::V4(GATEWAY_V4));
        let v6 = self.has(Family::V6).then_some(IpAddr::V6(GATEWAY_V6));
        v4.into_iter().chain(v6)
    }
}

fn missing_routes(
    wanted: impl Iterator<Item = Route>,
    present: &[Route],
    place: &str,
) -> Vec<String> {
    wanted
        .filter(|route| !present.iter().any(|other| same_route(route, other)))
        .map(|route| format!("route {} is missing in {place}", route.destination))
        .collect()
}

fn host_address(index: u32) -> Address {
    Address {
        interface: index,
        net: IpNet::new_assert(IpAddr::V6(GATEWAY_V6), 64),
    }
}

fn host_routes(attachment: &Attachment, index: u32) -> impl Iterator<Item = Route> {
    let protocol = attachment.route_protocol;
    let addresses = attachment.addresses.iter();
    addresses.map(move |address| Route::to_link((*address).into(), index).by(protocol))
}

fn workload_addresses(attachment: &Attachment, index: u32) -> impl Iterator<Item = Address> {
    attachment.addresses.iter().map(move |address| Address {
        interface: index,
        net: (*address).into(),
    })
}

fn workload_routes(attachment: &Attachment, index: u32) -> impl Iterator<Item = Route> {
    attachment.gateways().flat_map(move |gateway| {
        let everywhere = match gateway {
            IpAddr::V4(_) => IpNet::new_assert(IpAddr::from([0; 4]), 0),
            IpAddr::V6(_) => IpNet::new_assert(IpAddr::from([0; 16]), 0),
        };
        // The IPv6 gateway is link-local: fe80::/64 leads to it already.
        let link = gateway
            .is_ipv4()
            .then(|| Route::to_link(gateway.into(), index));
        let default = Route::via_onlink(everywhere, gateway, index);
        link.into_iter().chain([default])
    })
}

fn neighbour(address: IpAddr, interface: u32, kind: NeighbourKind) -> Neighbour {
    Neighbour {
        interface,
        address,
        kind,
    }
}

impl From<crate::Mac> for NeighbourKind {
    fn from(mac: crate::Mac) -> Self {
        Self::Permanent(mac)
    }
}
