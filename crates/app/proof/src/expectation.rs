//! Packets to be injected, and what the oracle says of them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ocicat_oracle::{Census, Direction, Judgement, Packet, Verdict};
use ocicat_testkit::{Random, Targets};

use crate::answer::Answers;
use crate::field::{Field, LinkId};
use crate::frame::{Cut, Options, Shape, frames};
use crate::host::{Host, Tracking};
use crate::words::endpoint_id;

/// A packet on its way through the host.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    /// Of this packet alone.
    pub(crate) number: u32,
    pub(crate) packet: Packet,
    pub(crate) shape: Shape,
    pub(crate) from: LinkId,
    pub(crate) to: LinkId,
    pub(crate) expected: Expected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Judged by these in order; only the last may deny.
    Judged(Vec<Judgement>),
    /// Dropped, because connection tracking calls it invalid.
    Invalid,
}

impl Shot {
    /// A packet of a world in force; `None` if no endpoint of the host judges it, or if hosts do not
    /// forward such packets at all.
    pub(crate) fn new(
        field: &Field,
        host: &Host,
        census: &Census<'_>,
        (packet, shape): (Packet, Shape),
        tracking: Tracking,
        random: &mut Random,
    ) -> Option<Self> {
        if !is_forwarded(&packet) {
            return None;
        }
        let from = match host.links_of(packet.source)[..] {
            [] => field.uplink(),
            ref links => random.pick(links),
        };
        let to = field.link_to(packet.destination);
        let sides = [(from, Direction::Egress), (to, Direction::Ingress)];
        let mut judgements = Vec::new();
        for (link, direction) in sides {
            let Some(id) = host.at_link(link) else {
                continue;
            };
            let mut endpoints = census.endpoints.iter();
            let endpoint = endpoints.find(|endpoint| endpoint_id(&endpoint.key) == **id)?;
            judgements.push(census.judge(endpoint, direction, &packet));
        }
        if judgements.is_empty() {
            return None;
        }
        let denied = judgements.iter().position(|x| x.verdict == Verdict::Deny);
        judgements.truncate(denied.map_or(judgements.len(), |place| place + 1));
        let invalid = tracking == Tracking::Tracked && is_invalid(&packet);
        Some(Self {
            number: 0,
            packet,
            shape,
            from,
            to,
            expected: match invalid {
                true => Expected::Invalid,
                false => Expected::Judged(judgements),
            },
        })
    }

    pub(crate) fn frames(&self, field: &Field) -> impl Iterator<Item = (LinkId, Vec<u8>)> + use<> {
        let (from, to) = field.macs(self.from);
        let from_link = self.from;
        let frames = frames(&self.packet, self.shape, self.number, from, to);
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
        let judgements: &[Judgement] = match &self.expected {
            Expected::Judged(judgements) => judgements,
            Expected::Invalid => &[],
        };
        let is_denied = |x: &&Judgement| x.verdict == Verdict::Deny;
        let denied: Vec<String> = judgements.iter().filter(is_denied).map(text).collect();
        let arrives = self.expected != Expected::Invalid && denied.is_empty();
        let logs = judgements
            .iter()
            .filter(|x| !is_denied(x) && !x.logged.is_empty());
        let expected = (
            if arrives { vec![self.to] } else { Vec::new() },
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
            "{} as {:?} by link {} to link {}\noracle: {:?}\nexpected: {}\nobserved: {}",
            self.packet,
            self.shape,
            self.from.0,
            self.to.0,
            judgements.iter().map(text).collect::<Vec<_>>(),
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
    let mut flows = BTreeSet::new();
    let mut shots = Vec::new();
    // In a world without endpoints there is nothing to judge.
    for _ in 0..count * 20 {
        if shots.len() == count {
            break;
        }
        let mut packet = targets.packet(random);
        if tracking == Tracking::Tracked && packet.is_icmp() && random.chance(60) {
            packet.icmp_type = if packet.protocol == 1 { 8 } else { 128 };
        }
        let shape = shape(&packet, random);
        let Some(shot) = Shot::new(field, host, census, (packet, shape), tracking, random) else {
            continue;
        };
        if tracking == Tracking::Untracked || flows.insert(flow(&packet)) {
            shots.push(shot);
        }
    }
    shots
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

/// Whether a router forwards packets between such addresses, and the protocol is one that can stand
/// behind an IP header.
fn is_forwarded(packet: &Packet) -> bool {
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
