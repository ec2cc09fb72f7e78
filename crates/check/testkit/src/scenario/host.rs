//! Hosts of a scenario, and the way of a packet through one.

use std::net::IpAddr;

use ocicat_api::config::{EndpointToHost, Failsafe, FelixConfiguration};
use ocicat_api::{Kind, Object, ObjectKey};
use ocicat_oracle::{Census, Host, Interface, Packet, Passage, Way, World};

use super::{Ask, HostPath, Link};

/// A host of a world: with these interfaces, and the configuration that the world has for it.
#[must_use]
pub fn of(world: &World, links: &[Link], node: &str) -> Host {
    let here = links.iter().filter(|link| link.node == node);
    let interfaces = here.map(|link| Interface {
        name: link.interface.clone(),
        addresses: link.addresses.clone(),
    });
    let own = configuration(world, &format!("node.{node}"));
    let all = configuration(world, "default");
    // A field of the host's own configuration goes before that of all hosts.
    let failsafe_inbound = own
        .and_then(|own| own.failsafe_inbound.clone())
        .or_else(|| all?.failsafe_inbound.clone());
    let failsafe_outbound = own
        .and_then(|own| own.failsafe_outbound.clone())
        .or_else(|| all?.failsafe_outbound.clone());
    let endpoint_to_host = own
        .and_then(|own| own.default_endpoint_to_host)
        .or_else(|| all?.default_endpoint_to_host);
    Host {
        node: node.to_owned(),
        interfaces: interfaces.collect(),
        failsafe_inbound: failsafe_inbound.unwrap_or_else(Failsafe::default_inbound),
        failsafe_outbound: failsafe_outbound.unwrap_or_else(Failsafe::default_outbound),
        endpoint_to_host: endpoint_to_host.unwrap_or(EndpointToHost::Drop),
    }
}

/// The way of a packet: what the interfaces do not say, its addresses do.
pub fn passage(
    census: &Census<'_>,
    host: &Host,
    path: &HostPath,
    ask: &Ask,
) -> Result<Passage, String> {
    let way = |interface: &Option<String>, address: IpAddr| match interface {
        Some(name) if host.interfaces.iter().any(|known| known.name == *name) => {
            Ok(Way::Interface(name.clone()))
        }
        Some(name) => Err(format!("host {} has no interface {name}", host.node)),
        None if is_own(host, address) => Ok(Way::Host),
        None => workload(census, host, address),
    };
    let after: &Packet = ask.translated.as_ref().unwrap_or(&ask.packet);
    let from = way(&path.input, ask.packet.source)?;
    let to = way(&path.output, after.destination)?;
    // Before the translation, the destination is an address of this host or of a service.
    Ok(Passage {
        from,
        to: match ask.translated {
            None => to.clone(),
            Some(_) => Way::Host,
        },
        packet: ask.packet,
        translated: ask.translated.map(|packet| (packet, to)),
    })
}

fn is_own(host: &Host, address: IpAddr) -> bool {
    let mut addresses = host.interfaces.iter().flat_map(|x| &x.addresses);
    addresses.any(|own| *own == address)
}

/// A workload of this host: one of no host is of every.
fn workload(census: &Census<'_>, host: &Host, address: IpAddr) -> Result<Way, String> {
    let here = |key: &ObjectKey| match census.world.objects.get(key) {
        Some(Object::Pod(pod)) => pod.node.as_ref().is_none_or(|node| **node == *host.node),
        Some(Object::WorkloadEndpoint(wep)) => *wep.node == *host.node,
        _ => false,
    };
    let mut found = census.endpoints_at(address).map(|endpoint| &endpoint.key);
    let found = found.find(|key| here(key)).cloned();
    let node = &host.node;
    found.map(Way::Workload).ok_or(format!(
        "{address} is of no workload of {node}, and not its own"
    ))
}

fn configuration<'w>(world: &'w World, name: &str) -> Option<&'w FelixConfiguration> {
    let key = ObjectKey {
        kind: Kind::FelixConfiguration,
        namespace: None,
        name: name.into(),
    };
    match world.objects.get(&key)? {
        Object::FelixConfiguration(configuration) => Some(configuration),
        _ => None,
    }
}
