//! [19] `services`: what EndpointSlices say is behind a service.

use std::net::IpAddr;

use ocicat_api::Object;
use ocicat_api::core::{EndpointSlice, SlicePort};
use ocicat_api::rule::ServiceMatch;

use super::Answer;
use crate::census::Census;
use crate::world::namespace_of;
use crate::{Packet, World};

/// In a source: the addresses of the slices.
pub fn source(census: &Census<'_>, wanted: Option<&ServiceMatch>, packet: &Packet) -> Answer {
    match wanted {
        None => Answer::Yes,
        Some(wanted) => behind(census, wanted, packet.source, |_| true),
    }
}

/// In a destination: the addresses of the slices, each with the ports of its slice.
pub fn destination(census: &Census<'_>, wanted: Option<&ServiceMatch>, packet: &Packet) -> Answer {
    let serves = |port: &SlicePort| {
        let is_right = |number| packet.has_ports() && number == packet.destination_port;
        port.protocol.0 == packet.protocol && port.port.is_none_or(is_right)
    };
    match wanted {
        None => Answer::Yes,
        Some(wanted) => behind(census, wanted, packet.destination, |slice| {
            slice.ports.iter().any(serves)
        }),
    }
}

/// Of an unclaimed address that no slice has, nothing is known.
fn behind(
    census: &Census<'_>,
    wanted: &ServiceMatch,
    address: IpAddr,
    serves: impl Fn(&EndpointSlice) -> bool,
) -> Answer {
    let mut slices = slices(census.world, wanted);
    slices.retain(|slice| slice.addresses.contains(&address));
    if slices.is_empty() && census.is_unclaimed(address) {
        return Answer::Undetermined;
    }
    Answer::from(slices.into_iter().any(serves))
}

/// Whether there is a Service of that name or not.
fn slices<'w>(world: &'w World, wanted: &ServiceMatch) -> Vec<&'w EndpointSlice> {
    let all = world.objects.values().filter_map(|object| match object {
        Object::EndpointSlice(slice) => Some(slice),
        _ => None,
    });
    all.filter(|slice| slice.service.as_ref() == Some(&wanted.name))
        .filter(|slice| namespace_of(&slice.metadata) == *wanted.namespace)
        .collect()
}
