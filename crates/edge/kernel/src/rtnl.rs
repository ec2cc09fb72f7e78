//! Links, addresses, routes and neighbours: `rtnetlink(7)`.
//!
//! What is to change is a [`Request`]: a value, made by [`Veth::create`], [`link::up`],
//! [`Route::replace`] and so on. [`Rtnl`] carries requests to the kernel, one or thousands in a go, and
//! answers questions. Requests that remove succeed when there is nothing to remove; requests that
//! *replace* succeed when the object is already as wanted.

mod address;
pub mod link;
mod neighbour;
mod request;
mod route;
mod watch;

pub use address::Address;
pub use link::{Link, Veth, VethPeer};
pub use neighbour::{Neighbour, NeighbourKind};
pub use request::Request;
pub use route::{Path, Route, RouteFilter, RouteKind, RouteScope};
pub use watch::LinkWatch;

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::Result;
use crate::netns::Namespace;
use crate::transport::Transport;

/// A connection to the kernel's routing tables of one namespace. It stays in the namespace in which it
/// was opened, whatever thread uses it.
#[derive(Debug)]
pub struct Rtnl {
    transport: Transport,
}

impl Rtnl {
    /// Opens a connection in the namespace of the calling thread.
    ///
    /// # Errors
    /// `Io` if no netlink socket can be had.
    pub fn open() -> Result<Self> {
        Ok(Self::over(Transport::open(NETLINK_ROUTE)?))
    }

    /// Opens a connection in `namespace`.
    ///
    /// # Errors
    /// `Io` if the namespace cannot be entered or no netlink socket can be had.
    pub fn open_in(namespace: &Namespace) -> Result<Self> {
        Ok(Self::over(Transport::open_in(namespace, NETLINK_ROUTE)?))
    }

    /// Carries out one request.
    ///
    /// # Errors
    /// `Kernel` with the object and the kernel's reason; `Io` if the kernel's answer is lost.
    pub fn apply(&mut self, request: &Request) -> Result<()> {
        self.apply_all(std::slice::from_ref(request))
    }

    /// Carries out all requests in order, in as few system calls as possible. Each is tried, whatever
    /// became of those before it; the first failure is returned.
    ///
    /// # Errors
    /// As for [`Rtnl::apply`].
    pub fn apply_all(&mut self, requests: &[Request]) -> Result<()> {
        self.apply_each(requests)?.into_iter().collect()
    }

    /// Carries out all requests in order and returns the fate of each.
    ///
    /// # Errors
    /// The outer error means that answers of the kernel are lost, and with them which requests it
    /// carried out.
    pub fn apply_each(&mut self, requests: &[Request]) -> Result<Vec<Result<()>>> {
        let answers = self
            .transport
            .exchange(requests.iter().map(Request::outgoing))?;
        let fates = requests.iter().zip(answers);
        Ok(fates
            .map(|(request, answer)| request.judge(answer))
            .collect())
    }

    fn over(transport: Transport) -> Self {
        // Kernel-side filters of dumps (Linux 4.20); without them we filter all the same.
        transport.check_dumps_strictly();
        Self { transport }
    }
}

/// The family of an address, as rtnetlink writes it.
fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
