//! Neighbours: which Ethernet address an IP address has, and for which addresses we answer.

use std::net::IpAddr;

use netlink_packet_core::Parseable;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use super::{Request, Rtnl};
use crate::mac::Mac;
use crate::transport::{NLM_F_CREATE, NLM_F_REPLACE, Outgoing};
use crate::wire::Message;
use crate::{Error, Result};

const GONE: &[i32] = &[libc::ENOENT, libc::ENODEV];

/// An entry of the neighbour table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neighbour {
    /// The number of the interface behind which the neighbour is.
    pub interface: u32,
    /// Its IP address.
    pub address: IpAddr,
    /// What is known of it.
    pub kind: NeighbourKind,
}

/// What a neighbour entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NeighbourKind {
    /// It has this Ethernet address, for good: no ARP, no neighbour discovery.
    Permanent(Mac),
    /// We answer for it on this interface (proxy ARP or proxy NDP; needs the sysctl for IPv6).
    Proxy,
    /// Learned by the kernel. Listed; asking for it to be added makes a stale entry.
    Learned(Mac),
}

impl Neighbour {
    /// Adds the entry or overwrites what is there.
    #[must_use]
    pub fn replace(&self) -> Request {
        Request::new(
            self.object(),
            libc::RTM_NEWNEIGH,
            NLM_F_CREATE | NLM_F_REPLACE,
            &self.message(),
        )
    }

    /// Removes the entry. Removing what is not there succeeds.
    #[must_use]
    pub fn remove(&self) -> Request {
        Request::new(self.object(), libc::RTM_DELNEIGH, 0, &self.message()).tolerating(GONE)
    }

    fn object(&self) -> String {
        let what = match self.kind {
            NeighbourKind::Proxy => "proxy neighbour",
            _ => "neighbour",
        };
        format!("{what} {} of link #{}", self.address, self.interface)
    }

    fn message(&self) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = super::family(self.address);
        message.header.ifindex = self.interface;
        let address = match self.address {
            IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
            IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
        };
        message
            .attributes
            .push(NeighbourAttribute::Destination(address));
        let mac = match self.kind {
            NeighbourKind::Proxy => {
                message.header.flags = NeighbourFlags::Proxy;
                return message;
            }
            NeighbourKind::Permanent(mac) => {
                message.header.state = NeighbourState::Permanent;
                mac
            }
            NeighbourKind::Learned(mac) => {
                message.header.state = NeighbourState::Stale;
                mac
            }
        };
        message
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        message
    }
}

impl Rtnl {
    /// All neighbours of both families that have an Ethernet address, sorted.
    ///
    /// # Errors
    /// `Kernel` for a refusal; `Malformed` if the answer cannot be read.
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>> {
        self.dump_neighbours(0)
    }

    /// All addresses for which we answer in proxy, sorted.
    ///
    /// # Errors
    /// As for [`Rtnl::neighbours`].
    pub fn proxies(&mut self) -> Result<Vec<Neighbour>> {
        self.dump_neighbours(NeighbourFlags::Proxy.bits())
    }

    fn dump_neighbours(&mut self, flags: u8) -> Result<Vec<Neighbour>> {
        let mut body = [0; 12];
        body[10] = flags;
        let request = Outgoing {
            object: "neighbours",
            kind: libc::RTM_GETNEIGH,
            flags: 0,
            body: &body,
        };
        let mut neighbours = self.transport.dump(request, read)?;
        neighbours.sort_unstable();
        Ok(neighbours)
    }
}

fn read(message: Message<'_>) -> Result<Option<Neighbour>> {
    if message.kind != libc::RTM_NEWNEIGH {
        return Ok(None);
    }
    let message = NeighbourMessage::parse(message.body)
        .map_err(|error| Error::malformed("neighbours", error))?;
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(*v6));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Mac::from_slice(bytes),
            _ => {}
        }
    }
    let kind = if message.header.flags.contains(NeighbourFlags::Proxy) {
        Some(NeighbourKind::Proxy)
    } else if message.header.state == NeighbourState::Permanent {
        mac.map(NeighbourKind::Permanent)
    } else {
        mac.map(NeighbourKind::Learned)
    };
    Ok(address.zip(kind).map(|(address, kind)| Neighbour {
        interface: message.header.ifindex,
        address,
        kind,
    }))
}
