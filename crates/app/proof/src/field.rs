//! A host of namespaces: workload links, an uplink, and who watches them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use ipnet::IpNet;
use ocicat_kernel::Mac;
use ocicat_kernel::conntrack::Conntrack;
use ocicat_kernel::frames::{FrameSocket, Outgoing};
use ocicat_kernel::netns::ScratchNamespace;
use ocicat_kernel::nflog::{Nflog, Settings};
use ocicat_kernel::rtnl::{Neighbour, NeighbourKind, Route, Rtnl, Veth, VethPeer, link};
use ocicat_kernel::sysctl;
use ocicat_nft::Connection;

use crate::answer::Answers;
use crate::frame::number_of;

/// Workload links of the host.
pub const LINKS: usize = 32;
/// Frames sent before those that came are taken in: what waits inside the kernel must fit its queues.
const BURST: usize = 256;
/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_millis(400);
/// The last links: to everybody who is no workload of this host. Host endpoints of random worlds have
/// these names.
pub(crate) const UPLINKS: [&str; 2] = ["eth0", "eth1"];
/// Far addresses behind the second of them.
const BEHIND_SECOND: [&str; 2] = ["128.0.0.0/1", "2001:db8:7::/48"];

/// A host with its links. The other ends of all links are in one namespace, where packets are injected
/// and observed.
pub struct Field {
    host: ScratchNamespace,
    _far: ScratchNamespace,
    rtnl: Rtnl,
    pub(crate) nft: Connection,
    conntrack: Conntrack,
    denied: Nflog,
    logged: Nflog,
    frames: FrameSocket,
    links: Vec<Link>,
    routed: BTreeMap<IpAddr, LinkId>,
    last_number: u32,
}

/// A link's place among the links of the field; [`Field::uplink`] is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub usize);

#[derive(Debug)]
struct Link {
    name: String,
    near: u32,
    far: u32,
    near_mac: Mac,
    far_mac: Mac,
}

impl Field {
    /// Makes the namespaces and links. They go when this is dropped.
    ///
    /// # Errors
    /// Without root, or if the kernel refuses.
    pub fn create() -> anyhow::Result<Self> {
        let host = ScratchNamespace::create("ocicat-proof").context("a network namespace")?;
        let far = ScratchNamespace::create("ocicat-proof")?;
        host.run(|| {
            sysctl::write_all([
                ("net/ipv4/conf/all/rp_filter", "0"),
                ("net/ipv4/conf/default/rp_filter", "0"),
                ("net/ipv4/conf/all/send_redirects", "0"),
                ("net/ipv4/conf/default/send_redirects", "0"),
                ("net/ipv6/conf/default/accept_dad", "0"),
                ("net/ipv6/conf/default/accept_ra", "0"),
            ])?;
            sysctl::enable_forwarding()
        })??;
        // Nobody lives at the far ends: they only carry frames.
        sysctl::write_in(&far, "net/ipv6/conf/default/disable_ipv6", "1")?;
        let mut rtnl = Rtnl::open_in(&host)?;
        let mut far_rtnl = Rtnl::open_in(&far)?;
        let names = (0..LINKS).map(|number| format!("ocw{number}"));
        let uplinks = UPLINKS.map(str::to_owned);
        let links = names.chain(uplinks).enumerate();
        let links = links
            .map(|(number, name)| Link::create(number, &name, &mut rtnl, &mut far_rtnl, &far))
            .collect::<anyhow::Result<Vec<Link>>>()?;
        let mut field = Self {
            nft: Connection::open_in(std::os::fd::AsFd::as_fd(&*host))?,
            conntrack: Conntrack::open_in(&host)?,
            denied: reader(&host, 7)?,
            logged: reader(&host, 8)?,
            frames: FrameSocket::open_in(&far)?,
            host,
            _far: far,
            rtnl,
            links,
            routed: BTreeMap::new(),
            last_number: 0,
        };
        field.route_the_rest()?;
        Ok(field)
    }

    /// A link that leads to everybody else: the first, or the second.
    pub(crate) fn uplink(&self, place: usize) -> LinkId {
        LinkId(LINKS + place)
    }

    /// The link that packets to an address leave by.
    pub(crate) fn link_to(&self, address: IpAddr) -> LinkId {
        let is_second = BEHIND_SECOND.iter().any(|net| {
            let net: IpNet = net.parse().expect("a CIDR of this file");
            net.contains(&address)
        });
        let outside = self.uplink(usize::from(is_second));
        self.routed.get(&address).copied().unwrap_or(outside)
    }

    /// The name of the host's end of a link.
    pub(crate) fn name(&self, link: LinkId) -> &str {
        &self.links[link.0].name
    }

    /// The address of the far end of a link, and that of the host's.
    pub(crate) fn macs(&self, link: LinkId) -> (Mac, Mac) {
        let link = &self.links[link.0];
        (link.far_mac, link.near_mac)
    }

    /// A number that no packet has had.
    pub(crate) fn next_number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }

    /// The namespace of the host, for `ip netns exec`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.host.name()
    }

    /// Makes the routes to workloads exactly these.
    pub(crate) fn route(&mut self, wanted: BTreeMap<IpAddr, LinkId>) -> anyhow::Result<()> {
        let mut requests = Vec::new();
        for (address, link) in &self.routed {
            if wanted.get(address) != Some(link) {
                let (route, neighbour) = self.path(*address, *link);
                requests.extend([route.remove(), neighbour.remove()]);
            }
        }
        for (address, link) in &wanted {
            if self.routed.get(address) != Some(link) {
                let (route, neighbour) = self.path(*address, *link);
                requests.extend([route.replace(), neighbour.replace()]);
            }
        }
        self.rtnl.apply_all(&requests)?;
        self.routed = wanted;
        Ok(())
    }

    /// Forgets all connections.
    pub(crate) fn forget(&mut self) -> anyhow::Result<()> {
        Ok(self.conntrack.clear()?)
    }

    /// Injects frames by the far ends of links, and observes until `enough` says so or nothing comes
    /// any more.
    pub(crate) fn inject(
        &mut self,
        frames: &[(LinkId, Vec<u8>)],
        enough: impl Fn(&Answers) -> bool,
    ) -> anyhow::Result<Answers> {
        let mut answers = Answers::default();
        while self.observe(&mut Answers::default())? > 0 {}
        for burst in frames.chunks(BURST) {
            self.send(burst)?;
            self.observe(&mut answers)?;
        }
        let mut last = Instant::now();
        while !enough(&answers) && last.elapsed() < PATIENCE {
            if self.observe(&mut answers)? > 0 {
                last = Instant::now();
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // What should not come at all would be here by now. Readers hand out a part at a time.
        while self.observe(&mut answers)? > 0 {}
        Ok(answers)
    }

    /// Injects frames by the far ends of links.
    pub(crate) fn send(&self, frames: &[(LinkId, Vec<u8>)]) -> anyhow::Result<()> {
        let frames: Vec<Outgoing> = frames
            .iter()
            .map(|(link, bytes)| Outgoing {
                interface: self.links[link.0].far,
                bytes: bytes.clone(),
            })
            .collect();
        Ok(self.frames.send(&frames)?)
    }

    fn observe(&mut self, answers: &mut Answers) -> anyhow::Result<usize> {
        let links = &self.links;
        let mut seen = self.frames.receive(|frame| {
            let link = links.iter().position(|link| link.far == frame.interface);
            let number = number_of(frame.bytes).filter(|_| !is_of_a_host(frame.bytes));
            if let (Some(link), Some(number)) = (link, number) {
                answers
                    .arrived
                    .entry(number)
                    .or_default()
                    .push(LinkId(link));
            }
        })?;
        seen += self.denied.receive(|packet| {
            if let Some(number) = number_of(packet.payload) {
                answers.denied.entry(number).or_default().push(packet.mark);
            }
        })?;
        seen += self.logged.receive(|packet| {
            // The prefix of all messages, the number, and on the way out a word.
            let words = std::str::from_utf8(packet.prefix).unwrap_or_default();
            let outcome = words.split(' ').nth(1).and_then(|x| x.parse().ok());
            if let (Some(number), Some(outcome)) = (number_of(packet.payload), outcome) {
                answers.logged.entry(number).or_default().push(outcome);
            }
        })?;
        Ok(seen)
    }

    fn path(&self, address: IpAddr, link: LinkId) -> (Route, Neighbour) {
        let link = &self.links[link.0];
        let neighbour = Neighbour {
            interface: link.near,
            address,
            kind: NeighbourKind::Permanent(link.far_mac),
        };
        (Route::to_link(address.into(), link.near), neighbour)
    }

    fn route_the_rest(&mut self) -> anyhow::Result<()> {
        let mut requests = Vec::new();
        for (place, nets) in [["0.0.0.0/0", "::/0"], BEHIND_SECOND].iter().enumerate() {
            let uplink = &self.links[self.uplink(place).0];
            for (net, router) in nets.iter().zip(["169.254.1.1", "fe80::ffff"]) {
                let (net, router): (IpNet, IpAddr) = (net.parse()?, router.parse()?);
                let neighbour = Neighbour {
                    interface: uplink.near,
                    address: router,
                    kind: NeighbourKind::Permanent(uplink.far_mac),
                };
                requests.push(neighbour.replace());
                requests.push(Route::via_onlink(net, router, uplink.near).replace());
            }
        }
        Ok(self.rtnl.apply_all(&requests)?)
    }
}

impl Link {
    fn create(
        number: usize,
        name: &str,
        host: &mut Rtnl,
        far: &mut Rtnl,
        far_namespace: &ScratchNamespace,
    ) -> anyhow::Result<Self> {
        let low = u8::try_from(number).context("at most 255 links")?;
        let (near_mac, far_mac) = (Mac([2, 0, 0, 0, 1, low]), Mac([2, 0, 0, 0, 2, low]));
        let veth = Veth {
            name: name.to_owned(),
            mac: Some(near_mac),
            mtu: Some(1500),
            peer: VethPeer {
                name: name.to_owned(),
                mac: Some(far_mac),
                namespace: Some((**far_namespace).clone()),
            },
        };
        host.apply_all(&[veth.create(), link::up(name)])?;
        far.apply(&link::up(name))?;
        Ok(Self {
            name: name.to_owned(),
            near: host.link_index(name)?,
            far: far.link_index(name)?,
            near_mac,
            far_mac,
        })
    }
}

/// Whether a host itself sends the frame: a redirect (RFC 4861) quotes what it is about, number and all.
fn is_of_a_host(frame: &[u8]) -> bool {
    // The type behind Ethernet addresses, and the beginning of the IPv6 source.
    frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(22..24) == Some(&[0xfe, 0x80])
}

/// Every packet is told at once: a batch that waits would be waited for.
fn reader(host: &ScratchNamespace, group: u16) -> anyhow::Result<Nflog> {
    let settings = Settings {
        queue_threshold: 1,
        ..Settings::of_group(group)
    };
    Ok(Nflog::open_in(host, &settings)?)
}
