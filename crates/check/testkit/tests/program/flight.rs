//! Packets in flight while a change comes into force.

use std::net::IpAddr;

use ipnet::IpNet;
use ocicat_flow::{Direction, Verdict};
use ocicat_node::{NodeState, Protocol, ServiceMatch, Stage};
use ocicat_oracle::Packet;
use ocicat_testkit::{Random, Targets};

use crate::host::{Changed, Host, LINKS};
use crate::kernel::Table;
use crate::walk::{Fate, Sent, Walk};

/// Packets that are sent during each change.
const PACKETS: usize = 12;
/// Ways with more than one step, or that begin in the middle, of each packet at each place.
const WAYS: usize = 8;

/// The stages of host endpoints, with their chains.
const STAGES: [(Stage, Direction, &str); 7] = [
    (Stage::Untracked, Direction::Ingress, "untracked_in"),
    (Stage::Untracked, Direction::Egress, "untracked_out"),
    (Stage::PreDnat, Direction::Ingress, "pre_dnat_in"),
    (Stage::Forward, Direction::Ingress, "forward_in"),
    (Stage::Forward, Direction::Egress, "forward_out"),
    (Stage::Local, Direction::Ingress, "local_in"),
    (Stage::Local, Direction::Egress, "local_out"),
];
/// ICMPv6 that keeps links alive, which passes host endpoints unasked.
const LINK_TYPES: [u8; 8] = [130, 131, 132, 133, 134, 135, 136, 143];

/// Where a packet is judged.
struct Post<'a> {
    chain: String,
    sent: Sent<'a>,
    /// What the tables say afterwards.
    expected: Option<Verdict>,
    /// A stage that marks what it allows, because it need not decide.
    marks: bool,
}

pub struct Flight<'a> {
    host: &'a Host,
    changed: &'a Changed,
    pub walks: usize,
    pub turned: usize,
}

impl<'a> Flight<'a> {
    pub fn new(host: &'a Host, changed: &'a Changed) -> Self {
        Self {
            host,
            changed,
            walks: 0,
            turned: 0,
        }
    }

    /// Sends packets.
    pub fn check(&mut self, random: &mut Random) -> Result<(), String> {
        let targets = self.changed.worlds.each_ref().map(Targets::of);
        for _ in 0..PACKETS {
            let packet = targets[random.below(2)].packet(random);
            let packet = self.aimed(packet, random);
            // What somebody sends to himself passes no link.
            if packet.source == packet.destination {
                continue;
            }
            let mut posts = self.of_workloads(packet);
            posts.extend(self.of_hosts(packet, random));
            for post in posts {
                self.check_post(&post, random)?;
            }
        }
        Ok(())
    }

    /// Often to or from addresses that the change touches.
    fn aimed(&self, packet: Packet, random: &mut Random) -> Packet {
        let is_alike = |prefix: &&IpNet| prefix.addr().is_ipv4() == packet.source.is_ipv4();
        let touched: Vec<IpNet> = self
            .changed
            .prefixes
            .iter()
            .filter(is_alike)
            .copied()
            .collect();
        let mut aim = |address: IpAddr| match random.chance(40) && !touched.is_empty() {
            true => random.pick(&touched).network(),
            false => address,
        };
        Packet {
            source: aim(packet.source),
            destination: aim(packet.destination),
            ..packet
        }
    }

    /// Endpoints that have an address of the packet before and after.
    fn of_workloads(&self, packet: Packet) -> Vec<Post<'a>> {
        let [old, new] = &self.changed.states;
        let has = |state: &NodeState, id, address: IpAddr| {
            let policy = state.endpoints.get(id)?;
            policy
                .addresses
                .iter()
                .find(|local| local.address == address)
                .copied()
        };
        let mut posts = Vec::new();
        for id in old.endpoints.keys() {
            let interface = self.host.interface(id);
            for (near, far, direction) in [
                (packet.source, packet.destination, Direction::Egress),
                (packet.destination, packet.source, Direction::Ingress),
            ] {
                let (Some(_), Some(local)) = (has(old, id, near), has(new, id, near)) else {
                    continue;
                };
                // Nor does what an endpoint sends to another address of its own.
                if has(old, id, far).is_some() || has(new, id, far).is_some() {
                    continue;
                }
                let (stack, name, [iif, oif]) = match direction {
                    Direction::Egress => (local.egress, "from_workload", [interface, LINKS[2]]),
                    Direction::Ingress => (local.ingress, "to_workload", [LINKS[2], interface]),
                };
                let outcome = new.judge(stack, far, &service(&packet));
                posts.push(Post {
                    chain: self.chain(name),
                    sent: Sent { packet, iif, oif },
                    expected: outcome.map(|outcome| outcome.verdict),
                    marks: false,
                });
            }
        }
        posts
    }

    /// Two stages of the host endpoint of an interface.
    fn of_hosts(&self, packet: Packet, random: &mut Random) -> Vec<Post<'a>> {
        if self
            .changed
            .states
            .iter()
            .any(|s| s.host_endpoints.is_empty())
        {
            return Vec::new();
        }
        let mut post = || {
            let (stage, direction, name) = random.pick(&STAGES);
            let link = random.pick(&LINKS);
            let (near, far, [iif, oif]) = match direction {
                Direction::Egress => (packet.source, packet.destination, ["", link]),
                Direction::Ingress => (packet.destination, packet.source, [link, ""]),
            };
            let asked = (stage, direction);
            let service = service(&packet);
            let outcome = (self.host.compiler).judge_stage(link, asked, (near, far), &service);
            let unasked = packet.protocol == 58 && LINK_TYPES.contains(&packet.icmp_type);
            Post {
                chain: self.chain(name),
                sent: Sent { packet, iif, oif },
                expected: outcome.map(|o| o.verdict).filter(|_| !unasked),
                marks: matches!(stage, Stage::Untracked | Stage::PreDnat),
            }
        };
        vec![post(), post()]
    }

    fn chain(&self, name: &str) -> String {
        format!("{name}_{}", self.host.compiler.epoch())
    }

    fn check_post(&mut self, post: &Post<'_>, random: &mut Random) -> Result<(), String> {
        let tables = &self.changed.tables;
        let last = tables.len() - 1;
        let (old, _) = walk(post, &[(0, &tables[0])])?;
        let (new, reads) = walk(post, &[(0, &tables[last])])?;
        self.agrees(post, new)?;
        let mut ways: Vec<Vec<(usize, usize)>> =
            (1..reads + 8).map(|at| vec![(0, 0), (at, last)]).collect();
        ways.extend((0..WAYS).map(|_| {
            let mut way: Vec<(usize, usize)> = vec![(0, random.below(last + 1))];
            while let (at, table) = way[way.len() - 1]
                && table < last
            {
                let at = at + random.between(usize::from(way.len() == 1), reads + 4);
                way.push((at, random.between(table + 1, last)));
            }
            way
        }));
        if last == 0 {
            ways.clear();
        }
        for way in ways {
            let moments: Vec<(usize, &Table)> = way
                .iter()
                .map(|(at, table)| (*at, &tables[*table]))
                .collect();
            let (met, _) =
                walk(post, &moments).map_err(|e| format!("{}: {way:?}: {e}", said(post)))?;
            self.walks += 1;
            self.turned += usize::from(old != new);
            if met != old && met != new {
                return Err(format!(
                    "{}: {met:?}, where {old:?} was and {new:?} will be, if from these reads on it \
                     finds these of {} tables: {way:?}",
                    said(post),
                    tables.len(),
                ));
            }
        }
        Ok(())
    }

    /// What the program does afterwards is what the tables say.
    fn agrees(&self, post: &Post<'_>, met: Fate) -> Result<(), String> {
        let passed = self.host.compiler.config().passed();
        let verdict = match met {
            Fate::Drop => Verdict::Deny,
            Fate::Pass { marks, .. } if post.marks && marks[0] & passed == 0 => Verdict::Next,
            Fate::Pass { .. } => Verdict::Allow,
        };
        match post.expected {
            Some(expected) if expected != verdict => Err(format!(
                "{}: {met:?}, where the tables say {expected:?}",
                said(post)
            )),
            _ => Ok(()),
        }
    }
}

fn said(post: &Post<'_>) -> String {
    let Sent { packet, iif, oif } = post.sent;
    format!("{} of {packet} from {iif:?} to {oif:?}", post.chain)
}

/// The fate, and how many reads it took.
fn walk(post: &Post<'_>, moments: &[(usize, &Table)]) -> Result<(Fate, usize), String> {
    let mut walk = Walk::new(post.sent, moments);
    let fate = walk
        .chain(&post.chain)
        .map_err(|e| format!("{}: {e}", said(post)))?;
    Ok((fate, walk.reads))
}

fn service(packet: &Packet) -> ServiceMatch {
    ServiceMatch {
        protocol: Protocol(packet.protocol),
        source_port: packet.source_port,
        port: match packet.is_icmp() {
            true => u16::from_be_bytes([packet.icmp_type, packet.icmp_code]),
            false => packet.destination_port,
        },
    }
}
