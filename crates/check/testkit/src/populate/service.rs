//! Random services, and slices of what is behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ocicat_api::PortSpec;
use ocicat_api::core::{EndpointSlice, Service, ServicePort, SlicePort};

use super::without_repeats;
use crate::Random;
use crate::words::{
    LABELS, PORT_NAMES, SERVICES, labels, metadata, outer_address, pool_address, port_protocol,
};

const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// A part of a service, whether the service exists or not. Its addresses may be those of pods, of
/// nobody, or in another slice too.
pub fn slice(random: &mut Random, space: &str, name: &str) -> EndpointSlice {
    let service: Option<Arc<str>> = random.maybe(95, |random| {
        // The last has none.
        random.pick(&SERVICES[..SERVICES.len() - 1]).into()
    });
    let mut own: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    own.extend(service.clone().map(|name| (SERVICE_LABEL.into(), name)));
    let version = random.pick(&[4, 4, 6]);
    EndpointSlice {
        metadata: metadata(Some(space), name, own),
        service,
        addresses: without_repeats(random.several(0, 7, |random| match random.chance(85) {
            true => pool_address(random, version),
            false => outer_address(random, version),
        })),
        ports: random.several(0, 3, |random| SlicePort {
            protocol: port_protocol(random),
            port: random.maybe(65, |random| random.pick(&[53, 80, 443, 8080])),
        }),
    }
}

pub fn service(random: &mut Random, space: &str) -> Service {
    let name = random.pick(&SERVICES);
    let host = random.between(1, 20);
    let texts = [format!("10.96.0.{host}"), format!("fd00:96::{host:x}")];
    let addresses = texts.iter().map(|text| text.parse().expect("an address"));
    let number = random.between(0, 2);
    Service {
        metadata: metadata(Some(space), name, BTreeMap::new()),
        addresses: addresses.take(number).collect(),
        ports: random.several(0, 2, |random| ServicePort {
            name: random.pick(&PORT_NAMES).into(),
            protocol: port_protocol(random),
            port: random.pick(&[53, 80, 443]),
            target: match random.chance(70) {
                true => PortSpec::single(random.pick(&[53, 80, 8080])),
                false => PortSpec::Name(random.pick(&PORT_NAMES).into()),
            },
        }),
        selector: random
            .maybe(70, |random| labels(random, &LABELS, 40))
            // One of nothing selects nothing, and is read as none.
            .filter(|selector| !selector.is_empty()),
    }
}
