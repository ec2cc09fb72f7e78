//! Which protocols and ports a rule covers, with named ports resolved.

use std::borrow::Cow;

use ocicat_api::core::SlicePort;
use ocicat_api::rule::Icmp;
use ocicat_flow::Direction;

use crate::block::Asked;
use crate::interval::{self, ALL, Interval};
use crate::label::Name;
use crate::paint::Sheet;
use crate::rule::{PortList, Ports, Service, has_ports};

/// One line to paint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane {
    /// `None`: any protocol that no rule names.
    pub(crate) protocol: Option<u8>,
    /// One source port of the range that the plane stands for.
    pub(crate) source_port: u16,
}

/// The services of a rule.
pub(crate) enum Services<'a> {
    /// Numbers stand as they are written.
    Plain(&'a [Service]),
    Resolved(Vec<Covers<'a>>),
}

/// The part of a plane's line that matches, and the part that matches or may match.
pub(crate) struct Part<'a> {
    pub(crate) certain: Cow<'a, [Interval]>,
    pub(crate) possible: Cow<'a, [Interval]>,
}

/// A service with its ports resolved.
pub(crate) struct Covers<'a> {
    service: &'a Service,
    /// The only protocol that it is for.
    only: Option<u8>,
    source: Option<Cover<'a>>,
    destination: Option<Cover<'a>>,
}

/// The ports that match, and those that match or may match.
struct Cover<'a> {
    certain: Cow<'a, [Interval]>,
    possible: Cow<'a, [Interval]>,
}

impl<'a> Services<'a> {
    pub(crate) fn new(sheet: &Sheet<'a>, services: &'a [Service], asked: &'a Asked) -> Self {
        if let Some(sets) = backend_sets(sheet, asked) {
            return Self::Resolved(Covers::of_backend(sheet, services, asked, &sets));
        }
        let plain = |ports: &Option<Box<Ports>>| match ports.as_deref() {
            None => true,
            Some(Ports {
                within: Some(list),
                outside: None,
            }) => list.names.is_empty(),
            Some(_) => false,
        };
        if services
            .iter()
            .all(|s| plain(&s.source) && plain(&s.destination))
        {
            return Self::Plain(services);
        }
        let covers = services
            .iter()
            .map(|service| Covers::new(sheet, service, asked));
        Self::Resolved(covers.collect())
    }

    /// What the rule covers of a plane; `None` for nothing.
    pub(crate) fn on(&self, plane: Plane) -> Option<Part<'_>> {
        match self {
            Self::Plain(services) => services.iter().find_map(|service| {
                let destination = service.destination.as_deref().map(numbers);
                let source = service.source.as_deref().map(numbers);
                part(
                    service,
                    plane,
                    destination.zip(destination),
                    source.zip(source),
                )
            }),
            Self::Resolved(covers) => covers.iter().find_map(|covers| {
                if covers.only.is_some() && covers.only != plane.protocol {
                    return None;
                }
                let destination = covers.destination.as_ref().map(Cover::lists);
                let source = covers.source.as_ref().map(Cover::lists);
                part(covers.service, plane, destination, source)
            }),
        }
    }

    /// Protocols that are treated differently, besides those that the services name.
    pub(crate) fn protocols(&self) -> impl Iterator<Item = u8> + '_ {
        let covers: &[Covers<'_>] = match self {
            Self::Plain(_) => &[],
            Self::Resolved(covers) => covers,
        };
        covers.iter().filter_map(|covers| covers.only)
    }

    /// Adds where a source port range of the protocol begins that is treated differently.
    pub(crate) fn add_source_starts(&self, protocol: u8, starts: &mut Vec<u16>) {
        let mut add = |list: &[Interval]| {
            let edges = list.iter();
            starts.extend(
                edges
                    .flat_map(|(first, last)| [Some(*first), last.checked_add(1)])
                    .flatten(),
            );
        };
        match self {
            Self::Plain(services) => {
                let services = services.iter().filter(|s| s.protocol == Some(protocol));
                let ports = services.filter_map(|service| service.source.as_deref());
                ports.for_each(|ports| add(numbers(ports)));
            }
            Self::Resolved(covers) => {
                let covers = covers
                    .iter()
                    .filter(|c| c.service.protocol == Some(protocol));
                for cover in covers.filter_map(|covers| covers.source.as_ref()) {
                    add(&cover.certain);
                    add(&cover.possible);
                }
            }
        }
    }
}

/// The numbers of a plain list.
fn numbers(ports: &Ports) -> &[Interval] {
    ports.within.as_ref().map_or(ALL, |list| &list.numbers)
}

/// Certain and possible.
type Lists<'a> = (&'a [Interval], &'a [Interval]);

fn part<'a>(
    service: &Service,
    plane: Plane,
    destination: Option<Lists<'a>>,
    source: Option<Lists<'a>>,
) -> Option<Part<'a>> {
    let named = |protocol: Option<u8>| protocol.is_some() && protocol == plane.protocol;
    if service.protocol.is_some() && !named(service.protocol) || named(service.not_protocol) {
        return None;
    }
    if !plane.protocol.is_some_and(has_ports) {
        // Positive port parts are false for packets without ports.
        let asks =
            |ports: &Option<Box<Ports>>| ports.as_ref().is_some_and(|ports| ports.within.is_some());
        if asks(&service.source) || asks(&service.destination) {
            return None;
        }
        let certain = match (&service.icmp, &service.not_icmp) {
            (None, None) => Cow::Borrowed(ALL),
            _ => Cow::Owned(icmp_part(service, plane.protocol)?),
        };
        let possible = certain.clone();
        return Some(Part { certain, possible });
    }
    // No packet with ports is of ICMP.
    if service.icmp.is_some() {
        return None;
    }
    let (mut certain, possible) = destination.unwrap_or((ALL, ALL));
    if let Some((sure, maybe)) = source {
        if !interval::contains(maybe, plane.source_port) {
            return None;
        }
        if !interval::contains(sure, plane.source_port) {
            certain = &[];
        }
    }
    Some(Part {
        certain: Cow::Borrowed(certain),
        possible: Cow::Borrowed(possible),
    })
}

/// What `icmp` and `notICMP` leave of a plane; `None` for nothing.
fn icmp_part(service: &Service, protocol: Option<u8>) -> Option<Vec<Interval>> {
    let is_icmp = matches!(protocol, Some(1 | 58));
    let codes = |icmp: &Icmp| match (icmp.icmp_type, icmp.code) {
        (None, _) => (0, u16::MAX),
        (Some(kind), None) => (
            u16::from_be_bytes([kind, 0]),
            u16::from_be_bytes([kind, 0xff]),
        ),
        (Some(kind), Some(code)) => {
            let value = u16::from_be_bytes([kind, code]);
            (value, value)
        }
    };
    let mut part = ALL.to_vec();
    if let Some(icmp) = &service.icmp {
        part = if is_icmp {
            vec![codes(icmp)]
        } else {
            Vec::new()
        };
    }
    if let Some(icmp) = service.not_icmp.as_ref().filter(|_| is_icmp) {
        part = interval::difference(&part, &[codes(icmp)]);
    }
    (!part.is_empty()).then_some(part)
}

impl<'a> Covers<'a> {
    fn new(sheet: &Sheet<'a>, service: &'a Service, asked: &'a Asked) -> Self {
        let resolve = |ports: &'a Ports, far: bool| {
            let protocol = service.protocol.unwrap_or_default();
            let numbers = |name: Name| -> Vec<u16> {
                if far {
                    return asked.far_ports(sheet.signature, name, protocol).collect();
                }
                let own = sheet.near_ports.iter();
                own.filter(|(n, p, _)| (*n, *p) == (name, protocol))
                    .map(|port| port.2)
                    .collect()
            };
            let open = if far {
                sheet.signature.unclaimed
            } else {
                sheet.near_open
            };
            Cover::new(ports, numbers, open)
        };
        let of = |ports: Option<&'a Ports>, far: bool| ports.map(|ports| resolve(ports, far));
        let ingress = sheet.direction == Direction::Ingress;
        Self {
            service,
            only: None,
            source: of(service.source.as_deref(), ingress),
            destination: of(service.destination.as_deref(), !ingress),
        }
    }
}

/// The ports under which the far address is behind the service that the rule asks for. `None`: the
/// rule asks for no ports of a service, or who has the address is not known.
fn backend_sets<'a>(sheet: &Sheet<'a>, asked: &Asked) -> Option<Vec<&'a [SlicePort]>> {
    let question = asked.backend?;
    let known = !sheet.signature.unclaimed || sheet.signature.has(question);
    known.then(|| sheet.port_sets.of(sheet.signature, question).collect())
}

impl<'a> Covers<'a> {
    /// One for each protocol of the backend.
    fn of_backend(
        sheet: &Sheet<'a>,
        services: &'a [Service],
        asked: &'a Asked,
        sets: &[&[SlicePort]],
    ) -> Vec<Self> {
        let ports = || sets.iter().flat_map(|set| set.iter());
        let mut protocols: Vec<u8> = ports().map(|port| port.protocol.0).collect();
        protocols.sort_unstable();
        protocols.dedup();
        let numbers = |protocol: u8| {
            let of_protocol = ports().filter(|port| port.protocol.0 == protocol);
            let ranges = of_protocol.map(|port| port.port.map_or((0, u16::MAX), |p| (p, p)));
            interval::normal(ranges.collect())
        };
        let covers = |service: &'a Service, protocol: u8| {
            let numbers = numbers(protocol);
            if !has_ports(protocol) && numbers != ALL {
                return None;
            }
            let destination = Cover {
                certain: Cow::Owned(numbers.clone()),
                possible: Cow::Owned(numbers),
            };
            Some(Self {
                only: Some(protocol),
                destination: Some(destination),
                ..Self::new(sheet, service, asked)
            })
        };
        let each = services.iter();
        each.flat_map(|service| protocols.iter().filter_map(move |p| covers(service, *p)))
            .collect()
    }
}

impl<'a> Cover<'a> {
    fn lists(&self) -> Lists<'_> {
        (&self.certain, &self.possible)
    }

    /// `open`: names cannot be resolved, because nobody is known to have the address.
    fn new(ports: &'a Ports, numbers: impl Fn(Name) -> Vec<u16>, open: bool) -> Self {
        let listed = |list: &'a PortList| -> Cow<'a, [Interval]> {
            if list.names.is_empty() {
                return Cow::Borrowed(&list.numbers);
            }
            let named = list.names.iter().flat_map(|name| numbers(*name));
            let named = interval::normal(named.map(|port| (port, port)).collect());
            Cow::Owned(interval::union(&list.numbers, &named))
        };
        let unknown = |list: &PortList| open && !list.names.is_empty();
        let (mut certain, mut possible) = (Cow::Borrowed(ALL), Cow::Borrowed(ALL));
        if let Some(list) = &ports.within {
            certain = listed(list);
            possible = if unknown(list) {
                Cow::Borrowed(ALL)
            } else {
                certain.clone()
            };
        }
        if let Some(list) = &ports.outside {
            let outside = interval::complement(&listed(list));
            possible = interval::intersection(&possible, &outside).into();
            certain = if unknown(list) {
                Cow::Borrowed(&[])
            } else {
                interval::intersection(&certain, &outside).into()
            };
        }
        Self { certain, possible }
    }
}
