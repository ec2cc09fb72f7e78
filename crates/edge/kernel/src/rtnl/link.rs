//! Network interfaces.

use std::os::fd::AsRawFd;

use netlink_packet_core::Parseable;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State,
};

use super::{Request, Rtnl};
use crate::mac::Mac;
use crate::netns::Namespace;
use crate::transport::{NLM_F_CREATE, NLM_F_EXCL, Outgoing};
use crate::wire::Message;
use crate::{Error, Result};

const GONE: &[i32] = &[libc::ENODEV];
/// The longest interface name, in bytes (`IFNAMSIZ` without its zero byte).
pub const NAME_MAX: usize = 15;

/// An interface as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace, from 1.
    pub index: u32,
    /// Its name, at most [`NAME_MAX`] bytes.
    pub name: String,
    /// Its Ethernet address, if it has one.
    pub mac: Option<Mac>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Whether an administrator switched it on.
    pub is_up: bool,
    /// Whether it carries packets: switched on, with carrier, and its queue active.
    pub is_running: bool,
    /// Its driver, such as `veth` or `bridge`.
    pub kind: Option<String>,
    /// The bridge it is a port of, by number.
    pub controller: Option<u32>,
    /// The other end of a veth pair, by its number in its own namespace.
    pub peer: Option<u32>,
}

/// A pair of interfaces, joined like a cable, to be created.
#[derive(Debug, Clone)]
pub struct Veth {
    /// Name of the end in the namespace of the connection.
    pub name: String,
    /// Its Ethernet address; the kernel draws one if absent.
    pub mac: Option<Mac>,
    /// Largest packet of both ends in bytes, 68–65,535; the kernel takes 1,500 if absent.
    pub mtu: Option<u32>,
    /// The other end.
    pub peer: VethPeer,
}

/// The other end of a [`Veth`].
#[derive(Debug, Clone)]
pub struct VethPeer {
    /// Its name.
    pub name: String,
    /// Its Ethernet address; the kernel draws one if absent.
    pub mac: Option<Mac>,
    /// The namespace it is created in; that of the connection if absent.
    pub namespace: Option<Namespace>,
}

impl Veth {
    /// Creates both ends, down. Refused with `EEXIST` if either name is taken; then neither is made.
    #[must_use]
    pub fn create(&self) -> Request {
        let mut far = end(&self.peer.name, self.peer.mac, self.mtu);
        if let Some(namespace) = &self.peer.namespace {
            far.attributes
                .push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        }
        let mut near = end(&self.name, self.mac, self.mtu);
        near.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far))),
        ]));
        let object = format!("veth {} with {}", self.name, self.peer.name);
        let request = Request::new(object, libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &near);
        match &self.peer.namespace {
            Some(namespace) => request.holding(namespace),
            None => request,
        }
    }
}

/// Creates a bridge, down, without spanning tree.
#[must_use]
pub fn create_bridge(name: &str) -> Request {
    let mut message = end(name, None, None);
    message
        .attributes
        .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(
            InfoKind::Bridge,
        )]));
    Request::new(
        format!("bridge {name}"),
        libc::RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        &message,
    )
}

/// Deletes an interface; the other end of a veth pair goes with it. Deleting what is not there succeeds.
#[must_use]
pub fn delete(name: &str) -> Request {
    let message = end(name, None, None);
    Request::new(format!("link {name}"), libc::RTM_DELLINK, 0, &message).tolerating(GONE)
}

/// Puts an interface into a group, a number by which [`delete_group`] finds it; 0 is the default.
#[must_use]
pub fn set_group(name: &str, group: u32) -> Request {
    set(name, |message| {
        message.attributes.push(LinkAttribute::Group(group));
    })
    .tolerating(GONE)
}

/// Deletes all interfaces of a group at once. One deletion alone makes the kernel wait some 40 ms for
/// everybody who may still use the interface; a group waits once. An empty group is no failure.
#[must_use]
pub fn delete_group(group: u32) -> Request {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(group));
    Request::new(
        format!("link group {group}"),
        libc::RTM_DELLINK,
        0,
        &message,
    )
    .tolerating(GONE)
}

/// Switches an interface on.
#[must_use]
pub fn up(name: &str) -> Request {
    set(name, |message| {
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
    })
}

/// Switches an interface off. The kernel forgets its neighbours and its routes.
#[must_use]
pub fn down(name: &str) -> Request {
    set(name, |message| message.header.change_mask = LinkFlags::Up)
}

/// Sets the largest packet, in bytes.
#[must_use]
pub fn set_mtu(name: &str, mtu: u32) -> Request {
    set(name, |message| {
        message.attributes.push(LinkAttribute::Mtu(mtu));
    })
}

/// Sets the Ethernet address.
#[must_use]
pub fn set_mac(name: &str, mac: Mac) -> Request {
    set(name, |message| {
        message
            .attributes
            .push(LinkAttribute::Address(mac.0.to_vec()));
    })
}

/// Makes an interface a port of the bridge numbered `bridge`.
#[must_use]
pub fn join_bridge(name: &str, bridge: u32) -> Request {
    set(name, |message| {
        message.attributes.push(LinkAttribute::Controller(bridge));
    })
}

/// Moves an interface into another namespace, where it keeps its name and arrives down.
#[must_use]
pub fn move_to(name: &str, namespace: &Namespace) -> Request {
    let descriptor = namespace.as_raw_fd();
    let request = set(name, |message| {
        message.attributes.push(LinkAttribute::NetNsFd(descriptor));
    });
    request.holding(namespace)
}

impl Rtnl {
    /// The interface called `name`, if there is one.
    ///
    /// # Errors
    /// `Kernel` for a refusal other than absence; `Malformed` if the answer cannot be read.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Ok(None);
        }
        let request = Request::new(
            format!("link {name}"),
            libc::RTM_GETLINK,
            0,
            &end(name, None, None),
        );
        let mut found = None;
        let asked = self.transport.query(request.outgoing(), |message| {
            found = read(message, request.object())?.or(found.take());
            Ok(())
        });
        match asked {
            Ok(()) => Ok(found),
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The number of the interface called `name`.
    ///
    /// # Errors
    /// `NotFound` if there is none; else as for [`Rtnl::link`].
    pub fn link_index(&mut self, name: &str) -> Result<u32> {
        match self.link(name)? {
            Some(link) => Ok(link.index),
            None => Err(Error::NotFound {
                object: format!("link {name}"),
            }),
        }
    }

    /// All interfaces of the namespace, by number.
    ///
    /// # Errors
    /// `Kernel` or `Malformed`, as for [`Rtnl::link`].
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let body = [0; 16];
        let request = Outgoing {
            object: "links",
            kind: libc::RTM_GETLINK,
            flags: 0,
            body: &body,
        };
        let mut links = self
            .transport
            .dump(request, |message| read(message, "links"))?;
        links.sort_unstable_by_key(|link| link.index);
        Ok(links)
    }
}

/// A message about one end, by name. An empty name names nothing: the kernel refuses it.
fn end(name: &str, mac: Option<Mac>, mtu: Option<u32>) -> LinkMessage {
    let mut message = LinkMessage::default();
    let attributes = &mut message.attributes;
    attributes.push(LinkAttribute::IfName(name.to_owned()));
    attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    attributes.extend(mtu.map(LinkAttribute::Mtu));
    message
}

fn set(name: &str, change: impl FnOnce(&mut LinkMessage)) -> Request {
    let mut message = end(name, None, None);
    change(&mut message);
    Request::new(format!("link {name}"), libc::RTM_SETLINK, 0, &message)
}

fn read(message: Message<'_>, object: &str) -> Result<Option<Link>> {
    if message.kind != libc::RTM_NEWLINK {
        return Ok(None);
    }
    let message =
        LinkMessage::parse(message.body).map_err(|error| Error::malformed(object, error))?;
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        is_up: flags.contains(LinkFlags::Up),
        is_running: false,
        kind: None,
        controller: None,
        peer: None,
    };
    let mut lower = None;
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.mac = Mac::from_slice(&bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            // Loopback has no operational state: it is `unknown`, and runs when it is up.
            LinkAttribute::OperState(State::Up) => link.is_running = link.is_up,
            LinkAttribute::OperState(State::Unknown) => {
                link.is_running = flags.contains(LinkFlags::Running);
            }
            LinkAttribute::Controller(index) => link.controller = Some(index),
            LinkAttribute::Link(index) => lower = Some(index),
            LinkAttribute::LinkInfo(info) => {
                link.kind = info.into_iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if link.kind.as_deref() == Some("veth") {
        link.peer = lower;
    }
    Ok(Some(link))
}
