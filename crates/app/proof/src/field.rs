//! A host of namespaces: workload links, an uplink, and who watches them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::Context;
use ipnet::IpNet;
use ocicat_kernel::Mac;
use ocicat_kernel::conntrack::Conntrack;
use ocicat_kernel::frames::{FrameSocket, Outgoing};
use ocicat_kernel::netns::ScratchNamespace;
use ocicat_kernel::nflog::{Nflog, Settings};
use ocicat_kernel::rtnl::{Address, Neighbour, NeighbourKind, Route, Rtnl, Veth, VethPeer, link};
use ocicat_kernel::sysctl;
use ocicat_nft::Connection;
use ocicat_oracle::Interface;

use crate::answer::Answers;
use crate::frame::number_of;
use crate::origin::Origin;
use crate::surroundings::HEARD_GROUP;

/// Workload links of the host.
pub const LINKS: usize = 32;
/// Frames sent before those that came are taken in: what waits inside the kernel must fit its queues.
const BURST: usize = 256;
/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_millis(400);
/// The same where there are few packets.
const SHORT_PATIENCE: Duration = Duration::from_millis(100);
const FEW: usize = 8;
/// The last links: to everybody who is no workload of this host. Host endpoints of random worlds and of
/// scenario files have these names.
pub(crate) const UPLINKS: [&str; 3] = ["eth0", "eth1", "eth2"];
/// Instead of a link: the host itself, its sockets and what listens there.
pub(crate) const HOST: LinkId = LinkId(usize::MAX);
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
    /// What has reached the host itself.
    heard: Nflog,
    frames: FrameSocket,
    origin: Origin,
    links: Vec<Link>,
    routed: BTreeMap<IpAddr, LinkId>,
    own: BTreeSet<(LinkId, IpAddr)>,
    /// What goes there is lost: a defect that must be found.
    pub(crate) swallowed: Option<Ipv4Addr>,
    last_number: u32,
}

/// A link's place among the links of the field; uplinks are the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub usize);

/// `link 3`, or `the host`.
impl std::fmt::Display for LinkId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            HOST => f.write_str("the host"),
            Self(place) => write!(f, "link {place}"),
        }
    }
}

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
        rtnl.apply(&link::up("lo"))?;
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
            heard: reader(&host, HEARD_GROUP)?,
            frames: FrameSocket::open_in(&far)?,
            origin: Origin::open_in(&host)?,
            host,
            _far: far,
            rtnl,
            links,
            routed: BTreeMap::new(),
            own: BTreeSet::new(),
            swallowed: None,
            last_number: 0,
        };
        field.route_the_rest()?;
        Ok(field)
    }

    /// A link that leads to everybody else. By default only the first two do.
    pub(crate) fn uplink(&self, place: usize) -> LinkId {
        LinkId(LINKS + place)
    }

    /// The link that packets to an address leave by.
    pub(crate) fn link_to(&self, address: IpAddr) -> LinkId {
        if self.is_own(address) {
            return HOST;
        }
        let is_second = BEHIND_SECOND.iter().any(|net| {
            let net: IpNet = net.parse().expect("a CIDR of this file");
            net.contains(&address)
        });
        let outside = self.uplink(usize::from(is_second));
        self.routed.get(&address).copied().unwrap_or(outside)
    }

    /// Whether the host itself has the address.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.own.iter().any(|(_, own)| *own == address)
    }

    /// The addresses of the host itself.
    pub(crate) fn own_addresses(&self) -> Vec<IpAddr> {
        self.own.iter().map(|(_, own)| *own).collect()
    }

    /// The uplink of that name.
    pub(crate) fn uplink_named(&self, name: &str) -> Option<LinkId> {
        let place = UPLINKS.iter().position(|uplink| *uplink == name)?;
        Some(self.uplink(place))
    }

    /// Whether a link leads to everybody else.
    pub(crate) fn is_uplink(&self, link: LinkId) -> bool {
        link >= self.uplink(0) && link != HOST
    }

    /// The name of the host's end of a link.
    pub(crate) fn name(&self, link: LinkId) -> &str {
        &self.links[link.0].name
    }

    /// The address of the far end of a link, and that of the host's; none of the host itself.
    pub(crate) fn macs(&self, link: LinkId) -> (Mac, Mac) {
        if link == HOST {
            return (Mac([0; 6]), Mac([0; 6]));
        }
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

    /// Makes the addresses of the host exactly those of its interfaces.
    ///
    /// # Errors
    /// If an interface is none of the uplinks.
    pub(crate) fn settle(&mut self, interfaces: &[Interface]) -> anyhow::Result<()> {
        let mut wanted = BTreeSet::new();
        for interface in interfaces {
            let name = &interface.name;
            let link = self
                .uplink_named(name)
                .with_context(|| format!("interface {name}: here are only {UPLINKS:?}"))?;
            wanted.extend(interface.addresses.iter().map(|address| (link, *address)));
        }
        let address = |(link, address): &(LinkId, IpAddr)| Address {
            interface: self.links[link.0].near,
            net: (*address).into(),
        };
        let gone = self
            .own
            .difference(&wanted)
            .map(|own| address(own).remove());
        let new = wanted
            .difference(&self.own)
            .map(|own| address(own).replace());
        let requests: Vec<_> = gone.chain(new).collect();
        self.rtnl.apply_all(&requests)?;
        let fresh: Vec<IpAddr> = wanted.difference(&self.own).map(|(_, own)| *own).collect();
        self.rtnl
            .wait_for_addresses(&fresh, Duration::from_secs(10))?;
        self.own = wanted;
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
        let patience = if frames.len() > FEW {
            PATIENCE
        } else {
            SHORT_PATIENCE
        };
        let mut last = Instant::now();
        while !enough(&answers) && last.elapsed() < patience {
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

    /// Injects frames by the far ends of links, and lets the host itself send the packets of its own.
    pub(crate) fn send(&self, frames: &[(LinkId, Vec<u8>)]) -> anyhow::Result<()> {
        for (_, bytes) in frames.iter().filter(|(link, _)| *link == HOST) {
            self.origin.send(bytes)?;
        }
        let frames: Vec<Outgoing> = frames
            .iter()
            .filter(|(link, _)| *link != HOST)
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
            if let (Some(link), Some(number)) = (link, number_of(frame.bytes)) {
                answers
                    .arrived
                    .entry(number)
                    .or_default()
                    .push(LinkId(link));
            }
        })?;
        seen += self.heard.receive(|packet| {
            if let Some(number) = number_of(packet.payload) {
                answers.arrived.entry(number).or_default().push(HOST);
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
        // A link that loses its last IPv4 address loses its routes. Nobody sends to these.
        for (place, low) in (1..).take(UPLINKS.len()).enumerate() {
            let address = Address {
                interface: self.links[self.uplink(place).0].near,
                net: IpAddr::from([169, 254, 255, low]).into(),
            };
            requests.push(address.replace());
        }
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

/// Every packet is told at once: a batch that waits would be waited for.
fn reader(host: &ScratchNamespace, group: u16) -> anyhow::Result<Nflog> {
    let settings = Settings {
        queue_threshold: 1,
        snap_length: 256,
        ..Settings::of_group(group)
    };
    Ok(Nflog::open_in(host, &settings)?)
}
