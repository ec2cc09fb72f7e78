//! Routes.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::Parseable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route as wire_route;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};

use super::{Request, Rtnl};
use crate::transport::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use crate::wire::Message;
use crate::{Error, Result};

const GONE: &[i32] = &[libc::ESRCH, libc::ENODEV];
/// The metric the kernel gives to an IPv6 route that asks for none.
const V6_METRIC: u32 = 1024;
/// `RTM_F_CLONED`: a cached copy, not a route of the table.
const CLONED: u32 = 0x200;

/// A route of the main table, or of [`Route::table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// What it leads to; host bits are ignored.
    pub destination: IpNet,
    /// What happens to packets that take it.
    pub kind: RouteKind,
    /// The next router; none if the destination is on the link itself.
    pub gateway: Option<IpAddr>,
    /// Whether the kernel shall believe that the gateway is on the link, although no route says so.
    pub onlink: bool,
    /// The number of the interface it leaves by.
    pub interface: Option<u32>,
    /// How far the destination is. IPv6 knows only [`RouteScope::Global`].
    pub scope: RouteScope,
    /// Who made it: a number of `rtnetlink.h`, or one of our own. 3 (boot) is the kernel's guess.
    pub protocol: u8,
    /// Smaller wins among routes to one destination. `None` is the kernel's default (0 or 1,024).
    pub metric: Option<u32>,
    /// The address that packets of this host take as their source.
    pub source: Option<IpAddr>,
    /// The table; 254 is the main one.
    pub table: u32,
}

/// What happens to packets that take a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteKind {
    /// They are forwarded.
    Unicast,
    /// They are dropped silently.
    Blackhole,
    /// They are dropped, and the sender is told that the host is unreachable.
    Unreachable,
    /// They are dropped, and the sender is told that it is forbidden.
    Prohibit,
    /// Another type of `rtnetlink.h`, such as 2 (local).
    Other(u8),
}

/// How far a destination is (`rtm_scope`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteScope {
    /// Behind a router.
    Global,
    /// On the link.
    Link,
    /// This host.
    Host,
    /// Another number of `rtnetlink.h`.
    Other(u8),
}

/// Which routes to list; a field that is absent asks nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteFilter {
    /// Made by this protocol.
    pub protocol: Option<u8>,
    /// Leaving by this interface.
    pub interface: Option<u32>,
    /// In this table.
    pub table: Option<u32>,
}

impl Route {
    /// The main table, `RT_TABLE_MAIN`.
    pub const MAIN: u32 = 254;
    /// `RTPROT_BOOT`, the protocol of the constructors below.
    pub const BOOT: u8 = 3;

    /// `destination` is on the link `interface`.
    #[must_use]
    pub fn to_link(destination: IpNet, interface: u32) -> Self {
        Self {
            interface: Some(interface),
            scope: match destination {
                IpNet::V4(_) => RouteScope::Link,
                IpNet::V6(_) => RouteScope::Global,
            },
            ..Self::of_kind(destination, RouteKind::Unicast)
        }
    }

    /// `destination` is behind `gateway`, which must be on a link that routes already name.
    #[must_use]
    pub fn via(destination: IpNet, gateway: IpAddr) -> Self {
        Self {
            gateway: Some(gateway),
            ..Self::of_kind(destination, RouteKind::Unicast)
        }
    }

    /// `destination` is behind `gateway`, which is on the link `interface` whatever routes say.
    #[must_use]
    pub fn via_onlink(destination: IpNet, gateway: IpAddr, interface: u32) -> Self {
        Self {
            onlink: true,
            interface: Some(interface),
            ..Self::via(destination, gateway)
        }
    }

    /// Packets to `destination` are dropped silently.
    #[must_use]
    pub fn blackhole(destination: IpNet) -> Self {
        Self::of_kind(destination, RouteKind::Blackhole)
    }

    /// The same route, made by `protocol`.
    #[must_use]
    pub fn by(self, protocol: u8) -> Self {
        Self { protocol, ..self }
    }

    /// Adds the route. Refused with `EEXIST` if there is one to this destination with this metric.
    #[must_use]
    pub fn add(&self) -> Request {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        Request::new(self.object(), libc::RTM_NEWROUTE, flags, &self.message())
    }

    /// Adds the route, or puts it in the place of the one to this destination with this metric.
    #[must_use]
    pub fn replace(&self) -> Request {
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        Request::new(self.object(), libc::RTM_NEWROUTE, flags, &self.message())
    }

    /// Removes the route that agrees with every field. Removing what is not there succeeds.
    #[must_use]
    pub fn remove(&self) -> Request {
        Request::new(self.object(), libc::RTM_DELROUTE, 0, &self.message()).tolerating(GONE)
    }

    fn of_kind(destination: IpNet, kind: RouteKind) -> Self {
        Self {
            destination: destination.trunc(),
            kind,
            gateway: None,
            onlink: false,
            interface: None,
            scope: RouteScope::Global,
            protocol: Self::BOOT,
            metric: None,
            source: None,
            table: Self::MAIN,
        }
    }

    fn object(&self) -> String {
        format!("route {}", self.destination)
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        let destination = self.destination.trunc();
        message.header = RouteHeader {
            address_family: super::family(destination.addr()),
            destination_prefix_length: destination.prefix_len(),
            table: u8::try_from(self.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
            protocol: RouteProtocol::from(self.protocol),
            scope: wire_route::RouteScope::from(u8::from(self.scope)),
            kind: RouteType::from(u8::from(self.kind)),
            ..RouteHeader::default()
        };
        if self.onlink {
            message.header.flags = RouteFlags::Onlink;
        }
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Destination(destination.addr().into()));
        attributes.push(RouteAttribute::Table(self.table));
        attributes.extend(self.gateway.map(|ip| RouteAttribute::Gateway(ip.into())));
        attributes.extend(self.interface.map(RouteAttribute::Oif));
        attributes.extend(self.metric.map(RouteAttribute::Priority));
        attributes.extend(self.source.map(|ip| RouteAttribute::PrefSource(ip.into())));
        message
    }
}

impl RouteFilter {
    /// All routes that `protocol` made.
    #[must_use]
    pub fn by_protocol(protocol: u8) -> Self {
        Self {
            protocol: Some(protocol),
            ..Self::default()
        }
    }

    fn wants(&self, route: &Route) -> bool {
        self.protocol
            .is_none_or(|protocol| route.protocol == protocol)
            && self
                .interface
                .is_none_or(|index| route.interface == Some(index))
            && self.table.is_none_or(|table| route.table == table)
    }
}

impl Rtnl {
    /// The routes of both families that `filter` wants, sorted. Multipath routes and routes of other
    /// families are left out.
    ///
    /// # Errors
    /// `Kernel` for a refusal; `Malformed` if the answer cannot be read.
    pub fn routes(&mut self, filter: &RouteFilter) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.header.protocol = RouteProtocol::from(filter.protocol.unwrap_or(0));
            let attributes = &mut message.attributes;
            attributes.extend(filter.interface.map(RouteAttribute::Oif));
            attributes.extend(filter.table.map(RouteAttribute::Table));
            let request = Request::new("routes".to_owned(), libc::RTM_GETROUTE, 0, &message);
            let found = self.transport.dump(request.outgoing(), |message| {
                Ok(read(message)?.filter(|route| filter.wants(route)))
            });
            match found {
                Ok(found) => routes.extend(found),
                // A table or a family that does not exist has no routes.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        routes.sort_unstable();
        Ok(routes)
    }
}

/// The way that packets of this host to an address take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// The number of the interface that they leave by; the loopback's for the host's own addresses.
    pub interface: u32,
    /// The address that they take as their source.
    pub source: Option<IpAddr>,
}

impl Rtnl {
    /// Asks the kernel which way packets to an address take; `None` if there is no route.
    ///
    /// # Errors
    /// `Kernel` for a refusal other than that there is no route; `Malformed` if the answer cannot be
    /// read.
    pub fn path_to(&mut self, destination: IpAddr) -> Result<Option<Path>> {
        let mut message = RouteMessage::default();
        message.header.address_family = super::family(destination);
        message.header.destination_prefix_length = if destination.is_ipv4() { 32 } else { 128 };
        let to = match destination {
            IpAddr::V4(v4) => RouteAddress::Inet(v4),
            IpAddr::V6(v6) => RouteAddress::Inet6(v6),
        };
        message.attributes.push(RouteAttribute::Destination(to));
        let object = format!("the way to {destination}");
        let request = Request::new(object, libc::RTM_GETROUTE, 0, &message);
        let mut found = None;
        let asked = self.transport.query(request.outgoing(), |answer| {
            if answer.kind == libc::RTM_NEWROUTE {
                found = read_path(answer)?.or(found);
            }
            Ok(())
        });
        match asked {
            Ok(()) => Ok(found),
            Err(error) if error.errno().is_some_and(|errno| NO_WAY.contains(&errno)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What the kernel says of addresses that no route leads to.
const NO_WAY: &[i32] = &[
    libc::ENETUNREACH,
    libc::EHOSTUNREACH,
    libc::EINVAL,
    libc::EACCES,
    libc::ESRCH,
];

fn read_path(message: Message<'_>) -> Result<Option<Path>> {
    let message = RouteMessage::parse(message.body)
        .map_err(|error| Error::malformed("a route", error.to_string()))?;
    let (mut interface, mut source) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::PrefSource(address) => source = ip(address),
            _ => {}
        }
    }
    Ok(interface.map(|interface| Path { interface, source }))
}

impl From<RouteKind> for u8 {
    fn from(kind: RouteKind) -> Self {
        match kind {
            RouteKind::Unicast => libc::RTN_UNICAST,
            RouteKind::Blackhole => libc::RTN_BLACKHOLE,
            RouteKind::Unreachable => libc::RTN_UNREACHABLE,
            RouteKind::Prohibit => libc::RTN_PROHIBIT,
            RouteKind::Other(number) => number,
        }
    }
}

impl From<u8> for RouteKind {
    fn from(number: u8) -> Self {
        match number {
            libc::RTN_UNICAST => Self::Unicast,
            libc::RTN_BLACKHOLE => Self::Blackhole,
            libc::RTN_UNREACHABLE => Self::Unreachable,
            libc::RTN_PROHIBIT => Self::Prohibit,
            other => Self::Other(other),
        }
    }
}

impl From<RouteScope> for u8 {
    fn from(scope: RouteScope) -> Self {
        match scope {
            RouteScope::Global => libc::RT_SCOPE_UNIVERSE,
            RouteScope::Link => libc::RT_SCOPE_LINK,
            RouteScope::Host => libc::RT_SCOPE_HOST,
            RouteScope::Other(number) => number,
        }
    }
}

impl From<u8> for RouteScope {
    fn from(number: u8) -> Self {
        match number {
            libc::RT_SCOPE_UNIVERSE => Self::Global,
            libc::RT_SCOPE_LINK => Self::Link,
            libc::RT_SCOPE_HOST => Self::Host,
            other => Self::Other(other),
        }
    }
}

fn read(message: Message<'_>) -> Result<Option<Route>> {
    if message.kind != libc::RTM_NEWROUTE {
        return Ok(None);
    }
    let malformed = |what: String| Error::malformed("routes", what);
    let message =
        RouteMessage::parse(message.body).map_err(|error| malformed(error.to_string()))?;
    let header = &message.header;
    if header.flags.bits() & CLONED != 0 {
        return Ok(None);
    }
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return Ok(None),
    };
    let mut route = Route {
        onlink: header.flags.contains(RouteFlags::Onlink),
        scope: RouteScope::from(u8::from(header.scope)),
        protocol: u8::from(header.protocol),
        table: u32::from(header.table),
        ..Route::of_kind(unspecified.into(), RouteKind::from(u8::from(header.kind)))
    };
    let mut destination = unspecified;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => destination = ip(to).unwrap_or(unspecified),
            RouteAttribute::Gateway(gateway) => route.gateway = ip(gateway),
            RouteAttribute::PrefSource(source) => route.source = ip(source),
            RouteAttribute::Oif(index) => route.interface = Some(*index),
            RouteAttribute::Priority(metric) => route.metric = Some(*metric),
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::MultiPath(_) => return Ok(None),
            _ => {}
        }
    }
    // What was asked for without a metric is shown as it was asked for.
    if destination.is_ipv6() && route.metric == Some(V6_METRIC) {
        route.metric = None;
    }
    route.destination = IpNet::new(destination, header.destination_prefix_length)
        .map_err(|error| malformed(error.to_string()))?;
    Ok(Some(route))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}
