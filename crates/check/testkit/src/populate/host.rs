//! Random host endpoints, and what hosts are configured to do.

use ocicat_api::config::{EndpointToHost, Failsafe, FelixConfiguration};
use ocicat_api::core::{HostEndpoint, HostInterface};
use ocicat_api::{Object, Protocol};

use super::{addresses, endpoint_labels, endpoint_port, profile_name};
use crate::Random;
use crate::words::{INTERFACES, NAMESPACES, NODES, host_address, metadata, random_net};

/// One whose addresses may be another's too: of a node, a pod, or another host endpoint.
pub fn endpoint(random: &mut Random, name: &str) -> HostEndpoint {
    let expected_ips = match random.chance(85) {
        true => addresses(random, host_address),
        false => Vec::new(),
    };
    let by_address = if expected_ips.is_empty() {
        // One that nothing chooses is none.
        HostInterface::All
    } else {
        HostInterface::ByAddress
    };
    HostEndpoint {
        metadata: metadata(None, name, endpoint_labels(random)),
        node: random.weighted(&[(70, NODES[0]), (30, NODES[1])]).into(),
        interface: match random.below(10) {
            0..5 => HostInterface::Named(random.pick(&INTERFACES).into()),
            5..7 => HostInterface::All,
            _ => by_address,
        },
        expected_ips,
        profiles: random.several(0, 2, |random| {
            let space = random.pick(&NAMESPACES);
            profile_name(random, space)
        }),
        ports: random.several(0, 2, |random| {
            let mut port = endpoint_port(random);
            if port.name.is_empty() {
                port.name = "web".into();
            }
            port
        }),
    }
}

/// A FelixConfiguration of all hosts or of the first: fail-safe ports among those that rules ask for,
/// and what workloads may send to their hosts.
#[must_use]
pub fn configuration(random: &mut Random) -> Object {
    let name = random.pick(&["default", "node.node-1"]);
    let list = |random: &mut Random| random.several(0, 4, failsafe);
    let action = |random: &mut Random| {
        random.weighted(&[
            (60, EndpointToHost::Accept),
            (20, EndpointToHost::Return),
            (20, EndpointToHost::Drop),
        ])
    };
    Object::FelixConfiguration(FelixConfiguration {
        metadata: metadata(None, name, std::collections::BTreeMap::new()),
        default_endpoint_to_host: random.maybe(85, action),
        failsafe_inbound: random.maybe(75, list),
        failsafe_outbound: random.maybe(75, list),
        ..FelixConfiguration::default()
    })
}

fn failsafe(random: &mut Random) -> Failsafe {
    Failsafe {
        protocol: random.pick(&[Protocol::TCP, Protocol::TCP, Protocol::UDP, Protocol::SCTP]),
        port: random.pick(&[22, 53, 80, 443, 1500, 8080, 40_000]),
        net: random.maybe(30, random_net),
    }
}
