//! Workload plumbing: the veth pair between a host and a workload, and what belongs around it.
//!
//! ```text
//!   workload namespace                        host namespace
//!   ┌───────────────────────────┐            ┌──────────────────────────────────────┐
//!   │ eth0  10.0.0.5/32         │            │ ocwxxxxxxxxxxx  ee:ee:ee:ee:ee:ee    │
//!   │       fd00::5/128         │◄── veth ──►│   fe80::ecee:eeff:feee:eeee/64       │
//!   │ default via 169.254.1.1   │            │   route 10.0.0.5/32, fd00::5/128     │
//!   │ default via fe80::ecee:.. │            │   neighbour 10.0.0.5 = MAC of eth0   │
//!   │ both = ee:ee:ee:ee:ee:ee  │            │   proxy ARP, no RA, no DAD           │
//!   └───────────────────────────┘            └──────────────────────────────────────┘
//! ```
//!
//! Two steps, so that no packet passes before its policy is in force: [`Host::attach`] makes everything
//! but leaves the host end down, which is out of the workload's reach; [`Host::activate`] switches it on,
//! adds the routes and returns when both ends carry packets. Both may be repeated at any time.
//!
//! Neighbour entries are permanent on both ends: no packet waits for ARP or neighbour discovery, and none
//! can be misled by it. Those who ask all the same are answered: the host owns the IPv6 gateway, and
//! proxy ARP stands in for the IPv4 one if the host has a route to it, such as a default route.
//! Reverse-path filtering is strict on the host end; IPv6 has no such filter, so rules must check its
//! sources.

mod name;
mod plan;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

pub use name::{INTERFACE_PREFIX, interface_name, workload_mac};

use crate::netns::Namespace;
use crate::rtnl::{Link, Request, RouteFilter, Rtnl, Veth, VethPeer, link};
use crate::{Error, Mac, Result, sysctl};

/// The IPv4 gateway that every workload sees; nobody owns it.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The IPv6 gateway that every workload sees; every host end has it. The link-local address of [`HOST_MAC`].
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);
/// The Ethernet address of every host end, as Calico has it: a workload moved to another host with its
/// neighbour table goes on working.
pub const HOST_MAC: Mac = Mac([0xee; 6]);
/// The link group of host ends that [`Host::detach_all`] is about to delete, `ocwd` in ASCII. Nobody else
/// may use it: everything in it is deleted.
const LEAVING: u32 = 0x6f63_7764;
/// How long [`Host::activate`] waits for both ends to carry packets; it takes about a millisecond.
pub const ACTIVATION_LIMIT: Duration = Duration::from_secs(2);

/// How a workload is to be joined to its host: plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the host end; see [`interface_name`].
    pub host_interface: String,
    /// Path of the workload's namespace, such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    pub namespace: PathBuf,
    /// Name of the workload's end, usually `eth0`.
    pub interface: String,
    /// Ethernet address of the workload's end; see [`workload_mac`].
    pub mac: Mac,
    /// The workload's addresses, any number of either family.
    pub addresses: Vec<IpAddr>,
    /// Largest packet in bytes, 1,280 or more if there is an IPv6 address.
    pub mtu: u32,
    /// The protocol number of the host's routes to the workload.
    pub route_protocol: u8,
}

/// What [`Host::attach`] made or found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// Number of the host end in the host's namespace.
    pub host_index: u32,
    /// Number of the workload's end in its namespace.
    pub workload_index: u32,
    /// Whether the pair was there already.
    pub presence: Presence,
}

/// Whether a veth pair was made or found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It was made; its host end is down.
    Created,
    /// It was there and is kept as it is, up or down.
    Kept,
}

/// The host's side of its workloads' links.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    rtnl: Rtnl,
}

impl Host {
    /// The host is the namespace of the calling thread.
    ///
    /// # Errors
    /// `Io` if no netlink socket can be had.
    pub fn open() -> Result<Self> {
        Self::open_in(&Namespace::current()?)
    }

    /// The host is `namespace`.
    ///
    /// # Errors
    /// `Io` if the namespace cannot be entered or no netlink socket can be had.
    pub fn open_in(namespace: &Namespace) -> Result<Self> {
        Ok(Self {
            namespace: namespace.clone(),
            rtnl: Rtnl::open_in(namespace)?,
        })
    }

    /// Makes the pair and configures the workload's end, up, and the host end, down. A pair that is
    /// there is kept and configured again; a host end without its partner is replaced.
    ///
    /// # Errors
    /// `Kernel` or `Io` naming the object; [`Error::is_exists`] if the workload has another interface of
    /// that name. What was made before a failure stays for the next attempt or for [`Host::detach`]; the
    /// host end of a new pair is down.
    pub fn attach(&mut self, attachment: &Attachment) -> Result<Attached> {
        let workload = Namespace::open(&attachment.namespace)?;
        let mut inside = Rtnl::open_in(&workload)?;
        let attached = self.pair(attachment, &workload, &mut inside)?;
        let settings = plan::host_settings(attachment);
        self.namespace.run(|| write(&settings))??;
        let settings = plan::workload_settings(attachment);
        workload.run(|| write(&settings))??;
        self.rtnl.apply_all(&plan::host_requests(attachment))?;
        inside.apply_all(&plan::workload_requests(
            attachment,
            attached.workload_index,
        ))?;
        Ok(attached)
    }

    /// Switches the host end on, adds neighbours and routes, and waits until both ends carry packets
    /// and the workload receives them.
    /// Call it when the workload's policy is in the kernel.
    ///
    /// # Errors
    /// `NotFound` if the pair is not there; `Unsettled` if it does not carry packets within
    /// [`ACTIVATION_LIMIT`]; else `Kernel` naming the object.
    pub fn activate(&mut self, attachment: &Attachment) -> Result<()> {
        let name = &attachment.host_interface;
        let index = self.rtnl.link_index(name)?;
        self.rtnl.apply_all(&plan::activation(attachment, index))?;
        let workload = Namespace::open(&attachment.namespace)?;
        let mut inside = Rtnl::open_in(&workload)?;
        let start = Instant::now();
        settle(&mut self.rtnl, name, start)?;
        settle(&mut inside, &attachment.interface, start)?;
        inside.wait_for_addresses(&attachment.addresses, ACTIVATION_LIMIT)
    }

    /// Removes the pair, with its routes and neighbours. Removing what is not there succeeds. The
    /// workload's namespace is not needed. Connection-tracking entries of the addresses are another
    /// matter: see [`crate::conntrack::Conntrack::delete_addresses`].
    ///
    /// # Errors
    /// `Kernel` if the kernel refuses.
    pub fn detach(&mut self, host_interface: &str) -> Result<()> {
        self.rtnl.apply(&link::delete(host_interface))
    }

    /// [`Host::detach`] for many at the price of one: the kernel waits once, not some 40 ms for each. Goes
    /// on after failures and returns them all.
    pub fn detach_all<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Vec<Error> {
        let names = names.into_iter();
        let mut requests: Vec<Request> = names.map(|name| link::set_group(name, LEAVING)).collect();
        requests.push(link::delete_group(LEAVING));
        match self.rtnl.apply_each(&requests) {
            Ok(fates) => fates.into_iter().filter_map(Result::err).collect(),
            Err(error) => vec![error],
        }
    }

    /// What differs from `attachment`, a sentence each; nothing if all is as [`Host::activate`] left it.
    ///
    /// # Errors
    /// `Kernel` or `Io` if the state cannot be read.
    pub fn check(&mut self, attachment: &Attachment) -> Result<Vec<String>> {
        let workload = Namespace::open(&attachment.namespace)?;
        let mut inside = Rtnl::open_in(&workload)?;
        let near = self.rtnl.link(&attachment.host_interface)?;
        let far = inside.link(&attachment.interface)?;
        let (near, far) = match (near, far) {
            (Some(near), Some(far)) if are_pair(&near, &far, attachment) => (near, far),
            (near, far) => return Ok(vec![plan::missing_pair(attachment, near, far)]),
        };
        let mut problems = plan::compare_links(attachment, &near, &far);
        problems.extend(plan::compare_host(attachment, near.index, &mut self.rtnl)?);
        problems.extend(plan::compare_workload(attachment, far.index, &mut inside)?);
        Ok(problems)
    }

    /// Makes routes, neighbours and gateway addresses of active host ends again where others took them
    /// away. Returns what was missing, a sentence each. Pairs that are gone or down are left alone.
    ///
    /// # Errors
    /// `Kernel` or `Io` if the state cannot be read, or naming the first object that cannot be made.
    pub fn repair(&mut self, attachments: &[Attachment]) -> Result<Vec<String>> {
        let Some(first) = attachments.first() else {
            return Ok(Vec::new());
        };
        let links = self.rtnl.links()?.into_iter();
        let running = links.filter(|link| link.is_running);
        let running: BTreeMap<String, u32> = running.map(|link| (link.name, link.index)).collect();
        let filter = RouteFilter::by_protocol(first.route_protocol);
        let present = plan::Present {
            routes: self.rtnl.routes(&filter)?,
            neighbours: self.rtnl.neighbours()?,
            addresses: self.rtnl.addresses()?,
        };
        let missing = attachments.iter().flat_map(|attachment| {
            let index = running.get(&attachment.host_interface);
            index.map(|index| plan::missing_on_host(attachment, *index, &present))
        });
        let (problems, requests): (Vec<String>, Vec<Request>) = missing.flatten().unzip();
        self.rtnl.apply_all(&requests)?;
        Ok(problems)
    }

    /// The names of the host ends that exist, sorted.
    ///
    /// # Errors
    /// `Kernel` if the links cannot be listed.
    pub fn interfaces(&mut self) -> Result<Vec<String>> {
        let links = self.rtnl.links()?.into_iter();
        let mut names: Vec<_> = links
            .map(|link| link.name)
            .filter(|name| name.starts_with(INTERFACE_PREFIX))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn pair(
        &mut self,
        attachment: &Attachment,
        workload: &Namespace,
        inside: &mut Rtnl,
    ) -> Result<Attached> {
        let near = self.rtnl.link(&attachment.host_interface)?;
        let far = inside.link(&attachment.interface)?;
        match (near, far) {
            (Some(near), Some(far)) if are_pair(&near, &far, attachment) => {
                return Ok(Attached {
                    host_index: near.index,
                    workload_index: far.index,
                    presence: Presence::Kept,
                });
            }
            (Some(_), _) => self.detach(&attachment.host_interface)?,
            (None, _) => {}
        }
        let veth = Veth {
            name: attachment.host_interface.clone(),
            mac: Some(HOST_MAC),
            mtu: Some(attachment.mtu),
            peer: VethPeer {
                name: attachment.interface.clone(),
                mac: Some(attachment.mac),
                namespace: Some(workload.clone()),
            },
        };
        self.rtnl.apply(&veth.create())?;
        Ok(Attached {
            host_index: self.rtnl.link_index(&attachment.host_interface)?,
            workload_index: inside.link_index(&attachment.interface)?,
            presence: Presence::Created,
        })
    }
}

/// Numbers of links are of their own namespaces; with the workload's Ethernet address beside them two
/// strangers are not taken for a pair.
fn are_pair(near: &Link, far: &Link, attachment: &Attachment) -> bool {
    near.peer == Some(far.index)
        && far.peer == Some(near.index)
        && near.mac == Some(HOST_MAC)
        && far.mac == Some(attachment.mac)
}

fn write(settings: &[(String, &str)]) -> Result<()> {
    sysctl::write_all(settings.iter().map(|(name, value)| (name.as_str(), *value)))
}

/// A new carrier is announced to the queue by a kernel worker; until then packets are dropped.
fn settle(rtnl: &mut Rtnl, name: &str, start: Instant) -> Result<()> {
    loop {
        if rtnl.link(name)?.is_some_and(|link| link.is_running) {
            return Ok(());
        }
        if start.elapsed() > ACTIVATION_LIMIT {
            return Err(Error::Unsettled {
                object: format!("link {name}"),
                what: format!("does not carry packets after {ACTIVATION_LIMIT:?}"),
            });
        }
        thread::sleep(Duration::from_micros(200));
    }
}
