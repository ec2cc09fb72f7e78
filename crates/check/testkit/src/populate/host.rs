//! Random host endpoints.

use ocicat_api::core::{HostEndpoint, HostInterface};

use super::{addresses, endpoint_labels, endpoint_port, profile_name};
use crate::Random;
use crate::words::{INTERFACES, NAMESPACES, NODES, host_address, metadata};

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
