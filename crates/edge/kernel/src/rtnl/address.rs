//! Addresses of interfaces.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink_packet_core::Parseable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};

use super::{Request, Route, RouteFilter, RouteKind, Rtnl};
use crate::transport::{NLM_F_CREATE, NLM_F_REPLACE, Outgoing};
use crate::wire::Message;
use crate::{Error, Result};

const GONE: &[i32] = &[libc::EADDRNOTAVAIL, libc::ENODEV];
/// `RT_TABLE_LOCAL`.
const LOCAL_TABLE: u32 = 255;

/// An address of an interface with the network around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The number of the interface.
    pub interface: u32,
    /// The address and the length of its network; host bits are the address.
    pub net: IpNet,
}

impl Address {
    /// Adds the address, or succeeds if the interface has it. Duplicate address detection is skipped for
    /// IPv6; still a kernel worker has to make the address receive packets, see
    /// [`Rtnl::wait_for_addresses`].
    #[must_use]
    pub fn replace(&self) -> Request {
        Request::new(
            self.object(),
            libc::RTM_NEWADDR,
            NLM_F_CREATE | NLM_F_REPLACE,
            &self.message(),
        )
    }

    /// Removes the address. Removing what is not there succeeds.
    #[must_use]
    pub fn remove(&self) -> Request {
        Request::new(self.object(), libc::RTM_DELADDR, 0, &self.message()).tolerating(GONE)
    }

    fn object(&self) -> String {
        format!("address {} of link #{}", self.net, self.interface)
    }

    fn message(&self) -> AddressMessage {
        let address = self.net.addr();
        let mut message = AddressMessage::default();
        message.header.family = super::family(address);
        message.header.prefix_len = self.net.prefix_len();
        message.header.index = self.interface;
        message.header.scope = scope(address);
        if address.is_ipv6() {
            message.header.flags = AddressHeaderFlags::Nodad;
        }
        message.attributes.push(AddressAttribute::Local(address));
        message.attributes.push(AddressAttribute::Address(address));
        message
    }
}

impl Rtnl {
    /// All addresses of both families, of all interfaces, sorted.
    ///
    /// # Errors
    /// `Kernel` for a refusal; `Malformed` if the answer cannot be read.
    pub fn addresses(&mut self) -> Result<Vec<Address>> {
        let body = [0; 8];
        let request = Outgoing {
            object: "addresses",
            kind: libc::RTM_GETADDR,
            flags: 0,
            body: &body,
        };
        let mut addresses = self.transport.dump(request, read)?;
        addresses.sort_unstable();
        Ok(addresses)
    }

    /// Waits until the namespace receives packets for each of `wanted`, addresses that were added before.
    /// IPv4 addresses receive at once; IPv6 ones when a kernel worker has made their local route, up to
    /// some milliseconds later, and packets that come earlier are dropped.
    ///
    /// # Errors
    /// `Unsettled` naming the first that does not receive within `limit`; else as for
    /// [`Rtnl::routes`].
    pub fn wait_for_addresses(&mut self, wanted: &[IpAddr], limit: Duration) -> Result<()> {
        let start = Instant::now();
        let filter = RouteFilter {
            table: Some(LOCAL_TABLE),
            ..RouteFilter::default()
        };
        loop {
            let routes = self.routes(&filter)?;
            let receives = |address: &IpAddr| {
                let net = IpNet::from(*address);
                let mut local = routes.iter().filter(|route| is_local(route));
                local.any(|route| route.destination == net)
            };
            let Some(missing) = wanted.iter().find(|address| !receives(address)) else {
                return Ok(());
            };
            if start.elapsed() > limit {
                return Err(Error::Unsettled {
                    object: format!("address {missing}"),
                    what: format!("does not receive packets after {limit:?}"),
                });
            }
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Whether a route makes the namespace receive packets for an address of its own.
fn is_local(route: &Route) -> bool {
    route.kind == RouteKind::Other(libc::RTN_LOCAL)
}

/// Loopback and link-local addresses are not for use beyond the host and the link.
fn scope(address: IpAddr) -> AddressScope {
    match address {
        IpAddr::V4(v4) if v4.is_loopback() => AddressScope::Host,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => AddressScope::Link,
        _ => AddressScope::Universe,
    }
}

fn read(message: Message<'_>) -> Result<Option<Address>> {
    if message.kind != libc::RTM_NEWADDR {
        return Ok(None);
    }
    let malformed = |what: String| Error::malformed("addresses", what);
    let message =
        AddressMessage::parse(message.body).map_err(|error| malformed(error.to_string()))?;
    if !matches!(
        message.header.family,
        AddressFamily::Inet | AddressFamily::Inet6
    ) {
        return Ok(None);
    }
    // On a point-to-point link `Address` is the far end and `Local` the near one.
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => address = Some(*local),
            AddressAttribute::Address(any) => address = address.or(Some(*any)),
            _ => {}
        }
    }
    let Some(address) = address else {
        return Ok(None);
    };
    let net = IpNet::new(address, message.header.prefix_len)
        .map_err(|error| malformed(error.to_string()))?;
    Ok(Some(Address {
        interface: message.header.index,
        net,
    }))
}
