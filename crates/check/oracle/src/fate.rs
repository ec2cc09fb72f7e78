//! What becomes of a packet at a host: who judges it there, one after the other. [20]

use std::net::IpAddr;

use ocicat_api::ObjectKey;
use ocicat_api::config::{EndpointToHost, Failsafe};

use crate::census::Census;
use crate::hosts::{HostEndpoint, Interface, Stage};
use crate::world::World;
use crate::{Direction, Judgement, Packet, Verdict};

/// A host as the one who asks knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// The name of its node.
    pub node: String,
    /// All but those of workloads. Their addresses are the host's own.
    pub interfaces: Vec<Interface>,
    pub failsafe_inbound: Vec<Failsafe>,
    pub failsafe_outbound: Vec<Failsafe>,
    /// `defaultEndpointToHostAction`.
    pub endpoint_to_host: EndpointToHost,
}

/// Where a packet comes from, or goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// The host's interface of that name.
    Interface(String),
    /// A local Pod or WorkloadEndpoint.
    Workload(ObjectKey),
    /// The host itself.
    Host,
}

/// A packet on its way through a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    pub from: Way,
    pub to: Way,
    pub packet: Packet,
    /// The packet and its way after the translation of its destination, if it is translated.
    pub translated: Option<(Packet, Way)>,
}

/// One who was asked about a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// A workload, or a host endpoint.
    pub who: ObjectKey,
    /// Of a host endpoint.
    pub stage: Option<Stage>,
    pub direction: Direction,
    pub saying: Saying,
}

/// What they said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saying {
    Judged(Judgement),
    /// A fail-safe port: the stage is passed, and policy not asked.
    Failsafe,
    /// What keeps a link of IPv6: the stage is passed, and policy not asked. [23]
    LinkUpkeep,
    /// What `defaultEndpointToHostAction` says of a packet that the workload may send.
    EndpointToHost(EndpointToHost),
}

/// What becomes of a packet, and all that were asked, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// Allow or Deny.
    pub verdict: Verdict,
    pub stations: Vec<Station>,
}

/// Follows the first packet of a connection through a host. [20]
#[must_use]
pub fn judge_host(world: &World, host: &Host, passage: &Passage) -> Fate {
    Census::new(world).judge_host(host, passage)
}

impl Census<'_> {
    /// As [`judge_host`], of this census.
    #[must_use]
    pub fn judge_host(&self, host: &Host, passage: &Passage) -> Fate {
        let mut walk = Walk {
            census: self,
            host,
            stations: Vec::new(),
        };
        let verdict = match walk.pass(passage) {
            Ok(()) => Verdict::Allow,
            Err(Denied) => Verdict::Deny,
        };
        Fate {
            verdict,
            stations: walk.stations,
        }
    }
}

struct Denied;

struct Walk<'a, 'w> {
    census: &'a Census<'w>,
    host: &'a Host,
    stations: Vec<Station>,
}

/// What a stage means for the next ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Onward {
    /// The next stage judges.
    Next,
    /// No later stage of this host endpoint and direction judges.
    Through,
}

impl Walk<'_, '_> {
    fn pass(&mut self, passage: &Passage) -> Result<(), Denied> {
        if is_discovery(passage) {
            return Ok(());
        }
        match &passage.from {
            Way::Host => self.send(&passage.packet, &passage.to),
            Way::Workload(key) => {
                let (packet, to) = translated(passage);
                self.workload(key, Direction::Egress, packet)?;
                if *to == Way::Host {
                    return self.reach_own_host(key);
                }
                self.leave(packet, to)
            }
            Way::Interface(name) => self.receive(name, passage),
        }
    }

    /// A packet that the host itself sends. Nobody judges what goes to its own workloads.
    fn send(&mut self, packet: &Packet, to: &Way) -> Result<(), Denied> {
        let Way::Interface(name) = to else {
            return Ok(());
        };
        let Some(at) = self.endpoint_of(name) else {
            return Ok(());
        };
        let untracked = self.stage(&at, Stage::Untracked, Direction::Egress, packet)?;
        if untracked == Onward::Next {
            self.stage(&at, Stage::Local, Direction::Egress, packet)?;
        }
        Ok(())
    }

    /// A packet that comes in through an interface.
    fn receive(&mut self, name: &str, passage: &Passage) -> Result<(), Denied> {
        let Some(at) = self.endpoint_of(name) else {
            let (packet, to) = translated(passage);
            return self.forward(None, packet, to);
        };
        let ingress = Direction::Ingress;
        let untracked = self.stage(&at, Stage::Untracked, ingress, &passage.packet)?;
        if untracked == Onward::Through {
            // What is not tracked is not translated either.
            return self.forward(None, &passage.packet, &passage.to);
        }
        let early = self.stage(&at, Stage::PreDnat, ingress, &passage.packet)?;
        let (packet, to) = translated(passage);
        let still = (early == Onward::Next).then_some(&at);
        self.forward(still, packet, to)
    }

    /// The way from the decision where a packet goes. `at` is the host endpoint that it came in
    /// by, if that has not let it through yet.
    fn forward(
        &mut self,
        at: Option<&HostEndpoint>,
        packet: &Packet,
        to: &Way,
    ) -> Result<(), Denied> {
        let stage = if *to == Way::Host {
            Stage::Local
        } else {
            Stage::Forward
        };
        if let Some(at) = at {
            self.stage(at, stage, Direction::Ingress, packet)?;
        }
        self.leave(packet, to)
    }

    /// The end of the way of a packet that is not the host's own.
    fn leave(&mut self, packet: &Packet, to: &Way) -> Result<(), Denied> {
        match to {
            Way::Host => Ok(()),
            Way::Workload(key) => self.workload(key, Direction::Ingress, packet),
            Way::Interface(name) => match self.endpoint_of(name) {
                None => Ok(()),
                Some(at) => {
                    self.stage(&at, Stage::Forward, Direction::Egress, packet)?;
                    Ok(())
                }
            },
        }
    }

    fn reach_own_host(&mut self, key: &ObjectKey) -> Result<(), Denied> {
        let action = self.host.endpoint_to_host;
        self.stations.push(Station {
            who: key.clone(),
            stage: None,
            direction: Direction::Egress,
            saying: Saying::EndpointToHost(action),
        });
        match action {
            EndpointToHost::Drop => Err(Denied),
            // Host endpoints do not stand for interfaces of workloads, so nothing of ours follows.
            EndpointToHost::Return | EndpointToHost::Accept => Ok(()),
        }
    }

    fn workload(
        &mut self,
        key: &ObjectKey,
        direction: Direction,
        packet: &Packet,
    ) -> Result<(), Denied> {
        let Some(endpoint) = self.census.endpoint(key) else {
            return Ok(());
        };
        let judgement = self.census.judge(endpoint, direction, packet);
        let verdict = judgement.verdict;
        self.stations.push(Station {
            who: key.clone(),
            stage: None,
            direction,
            saying: Saying::Judged(judgement),
        });
        if verdict == Verdict::Allow {
            Ok(())
        } else {
            Err(Denied)
        }
    }

    fn stage(
        &mut self,
        at: &HostEndpoint,
        stage: Stage,
        direction: Direction,
        packet: &Packet,
    ) -> Result<Onward, Denied> {
        let saying = if stage != Stage::Forward && is_upkeep(packet) {
            Saying::LinkUpkeep
        } else if self.is_failsafe(stage, direction, packet) {
            Saying::Failsafe
        } else {
            match self.census.judge_stage(at, stage, direction, packet) {
                None => return Ok(Onward::Next),
                Some(judgement) => Saying::Judged(judgement),
            }
        };
        let verdict = match &saying {
            Saying::Judged(judgement) => judgement.verdict,
            _ => Verdict::Next,
        };
        self.stations.push(Station {
            who: at.key.clone(),
            stage: Some(stage),
            direction,
            saying,
        });
        match verdict {
            Verdict::Allow => Ok(Onward::Through),
            Verdict::Next => Ok(Onward::Next),
            Verdict::Deny => Err(Denied),
        }
    }

    /// Only of packets to and from the host's own addresses.
    fn is_failsafe(&self, stage: Stage, direction: Direction, packet: &Packet) -> bool {
        if stage == Stage::Forward || !packet.has_ports() {
            return false;
        }
        let (near, far, lists) = match direction {
            Direction::Ingress => (
                packet.destination,
                packet.source,
                [&self.host.failsafe_inbound, &self.host.failsafe_outbound],
            ),
            Direction::Egress => (
                packet.source,
                packet.destination,
                [&self.host.failsafe_outbound, &self.host.failsafe_inbound],
            ),
        };
        let [there, back] = lists;
        let is_open = |list: &[Failsafe], port: u16| {
            list.iter().any(|open| {
                open.protocol.0 == packet.protocol
                    && open.port == port
                    && open.net.is_none_or(|net| net.contains(&far))
            })
        };
        // Without connections replies are known by their source port.
        let is_reply = stage == Stage::Untracked && is_open(back, packet.source_port);
        self.is_own(near) && (is_reply || is_open(there, packet.destination_port))
    }

    fn is_own(&self, address: IpAddr) -> bool {
        let interfaces = &self.host.interfaces;
        interfaces.iter().any(|x| x.addresses.contains(&address))
    }

    fn endpoint_of(&self, name: &str) -> Option<HostEndpoint> {
        let interface = self.host.interfaces.iter().find(|x| x.name == name)?;
        self.census.host_of(&self.host.node, interface).cloned()
    }
}

fn translated(passage: &Passage) -> (&Packet, &Way) {
    match &passage.translated {
        Some((packet, to)) => (packet, to),
        None => (&passage.packet, &passage.to),
    }
}

/// [23] Without them a workload and its host cannot speak IPv6 at all.
fn is_discovery(passage: &Passage) -> bool {
    let is_between = matches!(
        (&passage.from, &passage.to),
        (Way::Workload(_), Way::Host) | (Way::Host, Way::Workload(_))
    );
    let kind = passage.packet.icmp_type;
    is_between && is_icmpv6(&passage.packet) && matches!(kind, 130..=133 | 135 | 136)
}

/// [23] Without them no other packet would pass a link of IPv6.
fn is_upkeep(packet: &Packet) -> bool {
    is_icmpv6(packet) && matches!(packet.icmp_type, 130..=136 | 143)
}

fn is_icmpv6(packet: &Packet) -> bool {
    packet.protocol == 58 && packet.source.is_ipv6()
}
