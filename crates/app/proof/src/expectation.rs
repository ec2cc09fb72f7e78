//! Packets to be injected, and what the oracle says of them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ocicat_api::config::EndpointToHost;
use ocicat_oracle::{Census, Judgement, Packet, Passage, Saying, Stage, Station, Verdict, Way};
use ocicat_testkit::{Random, Targets};

use crate::answer::Answers;
use crate::field::{Field, HOST, LinkId};
use crate::frame::{Cut, Options, Shape, frames};
use crate::host::{Host, Tracking};
use crate::words::endpoint_id;

/// A packet to be sent, and the way it is to take.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) packet: Packet,
    pub(crate) shape: Shape,
    /// The packet after the translation of its destination, if it is translated.
    pub(crate) translated: Option<Packet>,
    pub(crate) from: LinkId,
    pub(crate) to: LinkId,
}

/// A destination of the host's own that is translated to another's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Translation {
    before: (IpAddr, u8, u16),
    after: (IpAddr, u16),
}

impl Translation {
    /// From a port of the host to one of a workload, if there are such of one family.
    fn random(field: &Field, host: &Host, random: &mut Random) -> Option<Self> {
        let from = random.pick(&field.own_addresses());
        let of_family = |address: &IpAddr| address.is_ipv4() == from.is_ipv4();
        let workloads: Vec<IpAddr> = host.routes().into_keys().filter(of_family).collect();
        (!workloads.is_empty()).then(|| Self {
            before: (
                from,
                random.pick(&[6, 17, 132]),
                random.pick(&[80, 443, 8080]),
            ),
            after: (random.pick(&workloads), random.pick(&[53, 80, 1500])),
        })
    }

    /// Sends the packet there.
    fn aim(&self, packet: &Packet) -> Packet {
        let (destination, protocol, port) = self.before;
        let (source, source_port) = (packet.source, packet.source_port);
        Packet::with_ports(source, destination, protocol, source_port, port)
    }

    /// The packet afterwards, if it is one of those that are translated.
    fn of(&self, packet: &Packet) -> Option<Packet> {
        let before = (packet.destination, packet.protocol, packet.destination_port);
        (before == self.before).then_some(Packet {
            destination: self.after.0,
            destination_port: self.after.1,
            ..*packet
        })
    }
}

/// A packet on its way through the host.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    /// Of this packet alone.
    pub(crate) number: u32,
    pub(crate) asked: Asked,
    /// What judges it, in order; only the last may deny.
    pub(crate) judgements: Vec<Judgement>,
    pub(crate) then: Then,
    /// Who was asked, and did not judge.
    pub(crate) unasked: Unasked,
    /// Whether a host endpoint judges.
    pub(crate) is_of_host: bool,
}

/// What becomes of a packet after it was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Arrives,
    Denied,
    /// It is dropped, because connection tracking calls it invalid.
    Invalid,
    /// It is dropped, because workloads may not send to their host.
    Refused,
}

/// What passed host endpoints without their policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unasked {
    pub(crate) failsafe: bool,
    pub(crate) upkeep: bool,
}

impl Asked {
    /// A packet of a world in force by the way that its addresses say. `None` if hosts neither
    /// forward nor receive such packets at all.
    pub(crate) fn of(
        field: &Field,
        host: &Host,
        (packet, shape): (Packet, Shape),
        translation: Option<Translation>,
        random: &mut Random,
    ) -> Option<Self> {
        let from = match host.links_of(packet.source)[..] {
            _ if field.is_own(packet.source) => HOST,
            [] => field.uplink(random.below(2)),
            ref links => random.pick(links),
        };
        // The host's own packets do not come in anywhere.
        let translated = translation.filter(|_| from != HOST);
        let translated = translated.and_then(|translation| translation.of(&packet));
        is_sound(&packet).then_some(Self {
            packet,
            shape,
            translated,
            from,
            to: field.link_to(translated.unwrap_or(packet).destination),
        })
    }
}

impl Shot {
    /// What the oracle says of a packet on its way; `None` if an end of it is no place that the census
    /// knows.
    pub(crate) fn new(
        field: &Field,
        host: &Host,
        census: &Census<'_>,
        asked: Asked,
        tracking: Tracking,
    ) -> Option<Self> {
        let to = way(field, host, census, asked.to)?;
        let passage = Passage {
            from: way(field, host, census, asked.from)?,
            // Before the translation, the destination is an address of this host.
            to: match asked.translated {
                None => to.clone(),
                Some(_) => Way::Host,
            },
            packet: asked.packet,
            translated: asked.translated.map(|packet| (packet, to)),
        };
        let stations = census.judge_host(host.site(), &passage).stations;
        let (judgements, then) = expected(&asked.packet, &stations, tracking);
        let is_untracked = |station: &Station| {
            let Saying::Judged(judgement) = &station.saying else {
                return false;
            };
            station.stage == Some(Stage::Untracked) && judgement.verdict == Verdict::Allow
        };
        let mut asked = asked;
        if asked.translated.is_some() && stations.iter().any(is_untracked) {
            // Nor is it translated.
            asked.to = HOST;
        }
        let said = |saying: &Saying| stations.iter().any(|station| station.saying == *saying);
        Some(Self {
            number: 0,
            asked,
            judgements,
            then,
            unasked: Unasked {
                failsafe: said(&Saying::Failsafe),
                upkeep: said(&Saying::LinkUpkeep),
            },
            is_of_host: stations.iter().any(|station| station.stage.is_some()),
        })
    }

    /// Whether neither end is a workload of the host.
    pub(crate) fn is_transit(&self, field: &Field) -> bool {
        field.is_uplink(self.asked.from) && field.is_uplink(self.asked.to)
    }

    /// What becomes of it in one word.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.then {
            Then::Arrives => Verdict::Allow,
            Then::Denied | Then::Invalid | Then::Refused => Verdict::Deny,
        }
    }

    /// Whether an end is the host itself.
    pub(crate) fn is_local(&self) -> bool {
        [self.asked.from, self.asked.to].contains(&HOST)
    }

    pub(crate) fn frames(&self, field: &Field) -> impl Iterator<Item = (LinkId, Vec<u8>)> + use<> {
        let (from, to) = field.macs(self.asked.from);
        let from_link = self.asked.from;
        let frames = frames(&self.asked.packet, self.asked.shape, self.number, from, to);
        frames.into_iter().map(move |bytes| (from_link, bytes))
    }

    /// What was observed and not expected, in words.
    pub(crate) fn difference(&self, host: &Host, answers: &Answers) -> Option<String> {
        let of = |outcomes: Option<&Vec<u32>>| -> Vec<String> {
            let outcomes = outcomes.into_iter().flatten();
            let say = |number: &u32| match host.judgement(*number) {
                Some(judgement) => judgement.to_string(),
                None => format!("outcome {number:#x}, which is nothing"),
            };
            outcomes.map(say).collect()
        };
        let judgements = &self.judgements;
        let is_denied = |x: &&Judgement| x.verdict == Verdict::Deny;
        let denied: Vec<String> = judgements.iter().filter(is_denied).map(text).collect();
        let arrives = self.then == Then::Arrives;
        let logs = judgements
            .iter()
            .filter(|x| !is_denied(x) && !x.logged.is_empty());
        let expected = (
            if arrives {
                vec![self.asked.to]
            } else {
                Vec::new()
            },
            denied,
            logs.map(text).collect::<Vec<_>>(),
        );
        let arrived = answers.arrived.get(&self.number);
        let observed = (
            arrived.cloned().unwrap_or_default(),
            of(answers.denied.get(&self.number)),
            of(answers.logged.get(&self.number)),
        );
        if expected == observed {
            return None;
        }
        let say = |(arrived, denied, logged): &(Vec<LinkId>, Vec<String>, Vec<String>)| {
            format!("arrived at {arrived:?}, denied {denied:?}, logged {logged:?}")
        };
        Some(format!(
            "{} as {:?} by {} to {}\noracle: {:?}, then {:?}\nexpected: {}\nobserved: {}",
            self.asked.packet,
            self.asked.shape,
            self.asked.from,
            self.asked.to,
            judgements.iter().map(text).collect::<Vec<_>>(),
            self.then,
            say(&expected),
            say(&observed),
        ))
    }
}

/// Random packets of a world, each a flow of its own.
pub(crate) fn shots(
    field: &Field,
    host: &Host,
    census: &Census<'_>,
    tracking: Tracking,
    (count, random): (usize, &mut Random),
) -> Vec<Shot> {
    let targets = Targets::of(census.world);
    let translation = match tracking {
        Tracking::Tracked => Translation::random(field, host, random),
        Tracking::Untracked => None,
    };
    let mut flows = BTreeSet::new();
    let mut shots = Vec::new();
    // In a world without endpoints there is nothing to judge.
    for _ in 0..count * 20 {
        if shots.len() == count {
            break;
        }
        let packet = match random.chance(5) {
            true => unasked(field, host, random),
            false => packet(field, &targets, tracking, random),
        };
        let packet = match translation {
            Some(translation) if random.chance(5) && is_of_family(&packet, &translation) => {
                translation.aim(&packet)
            }
            _ => packet,
        };
        let shape = shape(&packet, random);
        let Some(asked) = Asked::of(field, host, (packet, shape), translation, random) else {
            continue;
        };
        let Some(shot) = Shot::new(field, host, census, asked, tracking) else {
            continue;
        };
        let translated = shot.asked.translated.as_ref().map(flow);
        let of_shot: Vec<_> = translated.into_iter().chain([flow(&packet)]).collect();
        let is_new = !of_shot.iter().any(|flow| flows.contains(flow));
        if tracking == Tracking::Untracked || is_new {
            flows.extend(of_shot);
            shots.push(shot);
        }
    }
    shots
}

fn is_of_family(packet: &Packet, translation: &Translation) -> bool {
    packet.source.is_ipv4() == translation.before.0.is_ipv4()
}

/// A packet that asks something, every sixth from or to the host itself.
fn packet(field: &Field, targets: &Targets, tracking: Tracking, random: &mut Random) -> Packet {
    let mut packet = targets.packet(random);
    if random.chance(17) {
        let mut own = field.own_addresses();
        own.retain(|own| own.is_ipv4() == packet.source.is_ipv4());
        let end = match random.chance(50) {
            true => &mut packet.source,
            false => &mut packet.destination,
        };
        *end = random.pick(&own);
    }
    if tracking == Tracking::Tracked && packet.is_icmp() && random.chance(60) {
        let question = if packet.protocol == 1 { 8 } else { 128 };
        packet.icmp_type = match random.chance(30) && packet.protocol == 58 {
            true => random.pick(&UPKEEP),
            false => question,
        };
    }
    packet
}

/// What host endpoints may not be asked about: to a fail-safe port, or what keeps a link of IPv6. To the
/// host from everywhere, or the other way.
fn unasked(field: &Field, host: &Host, random: &mut Random) -> Packet {
    let own = random.pick(&field.own_addresses());
    let far: IpAddr = match own {
        IpAddr::V4(_) => [8, 8, 8, 8].into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53).into(),
    };
    let (source, destination, open) = match random.chance(50) {
        true => (far, own, &host.site().failsafe_inbound),
        false => (own, far, &host.site().failsafe_outbound),
    };
    if own.is_ipv6() && random.chance(50) {
        return Packet::icmp(source, destination, 58, random.pick(&UPKEEP), 0);
    }
    let from = u16::try_from(random.between(1024, 65_535)).expect("a port");
    let (protocol, port) = match open.is_empty() {
        true => (6, 22),
        false => {
            let failsafe = &open[random.below(open.len())];
            (failsafe.protocol.0, failsafe.port)
        }
    };
    Packet::with_ports(source, destination, protocol, from, port)
}

/// ICMPv6 that keeps a link, which connection tracking leaves alone.
const UPKEEP: [u8; 8] = [130, 131, 132, 133, 134, 135, 136, 143];

/// What judges a packet as far as it comes, and what becomes of it.
fn expected(packet: &Packet, stations: &[Station], tracking: Tracking) -> (Vec<Judgement>, Then) {
    let mut judgements = Vec::new();
    let mut tracked = tracking == Tracking::Tracked;
    for station in stations {
        let judgement = match &station.saying {
            Saying::Judged(judgement) => judgement,
            Saying::EndpointToHost(EndpointToHost::Drop) => return (judgements, Then::Refused),
            _ => continue,
        };
        let early = matches!(station.stage, Some(Stage::Untracked | Stage::PreDnat));
        if !early && tracked && is_invalid(packet) {
            return (judgements, Then::Invalid);
        }
        judgements.push(judgement.clone());
        match judgement.verdict {
            Verdict::Deny => return (judgements, Then::Denied),
            // It is not tracked from here on.
            Verdict::Allow if station.stage == Some(Stage::Untracked) => tracked = false,
            Verdict::Allow | Verdict::Next => {}
        }
    }
    (judgements, Then::Arrives)
}

/// Who is at the far end of a link, in the oracle's words.
pub(crate) fn way(field: &Field, host: &Host, census: &Census<'_>, link: LinkId) -> Option<Way> {
    let Some(id) = host.at_link(link) else {
        return match link {
            HOST => Some(Way::Host),
            link if field.is_uplink(link) => Some(Way::Interface(field.name(link).to_owned())),
            // Routes lead to attached endpoints only.
            _ => None,
        };
    };
    let mut endpoints = census.endpoints.iter();
    let endpoint = endpoints.find(|endpoint| endpoint_id(&endpoint.key) == **id)?;
    Some(Way::Workload(endpoint.key.clone()))
}

fn text(judgement: &Judgement) -> String {
    judgement.to_string()
}

fn shape(packet: &Packet, random: &mut Random) -> Shape {
    let options = |random: &mut Random| match random.chance(15) {
        true => Options::Padding,
        false => Options::Absent,
    };
    let cuts = [
        (80, Cut::Whole),
        (7, Cut::Late),
        (7, Cut::AfterPorts),
        (6, Cut::Often),
    ];
    // A first IPv6 fragment that does not hold the whole TCP header is refused: RFC 8200, section 4.5.
    let cuts = match (packet.source, packet.protocol) {
        (IpAddr::V6(_), 6) => &cuts[..2],
        _ => &cuts[..],
    };
    Shape {
        options: options(random),
        destination_options: match packet.source {
            IpAddr::V4(_) => Options::Absent,
            IpAddr::V6(_) => options(random),
        },
        cut: random.weighted(cuts),
    }
}

/// What connection tracking tells flows apart by; the same for both directions.
pub(crate) fn flow(packet: &Packet) -> (u8, [(IpAddr, u16); 2], u32) {
    let mut ends = [
        (packet.source, packet.source_port),
        (packet.destination, packet.destination_port),
    ];
    ends.sort_unstable();
    // Each ICMP packet has an identifier of its own.
    let kind = u32::from(packet.icmp_type) << 8 | u32::from(packet.icmp_code);
    (packet.protocol, ends, kind)
}

/// Whether a host forwards and receives packets between such addresses, and the protocol is one that can
/// stand behind an IP header.
pub(crate) fn is_sound(packet: &Packet) -> bool {
    let sound = |address: IpAddr| match address {
        IpAddr::V4(address) => !matches!(address.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(address) => {
            let first = address.segments()[0];
            // Unspecified, loopback and embedded IPv4; link-local; multicast.
            first != 0 && first & 0xffc0 != 0xfe80 && first & 0xff00 != 0xff00
        }
    };
    // In IPv6 these are extension headers, or no header at all.
    let is_header =
        packet.source.is_ipv6() && matches!(packet.protocol, 0 | 43 | 44 | 51 | 59 | 60);
    sound(packet.source) && sound(packet.destination) && !is_header
}

/// Whether connection tracking refuses the first packet of such a flow: ICMP that is no question, and
/// ICMP of the other family (`nf_conntrack_proto_icmp.c`, `nf_conntrack_proto_icmpv6.c`).
fn is_invalid(packet: &Packet) -> bool {
    match (packet.protocol, packet.source.is_ipv4()) {
        (1, true) => !matches!(packet.icmp_type, 8 | 13 | 15 | 17),
        (58, false) => !matches!(packet.icmp_type, 128 | 139 | 130..=136 | 143),
        (1 | 58, _) => true,
        _ => false,
    }
}
