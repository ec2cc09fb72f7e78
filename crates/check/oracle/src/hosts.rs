//! Host endpoints: who they are, and which of them an interface has.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ocicat_api::core::{EndpointPort, HostEndpoint as Object, HostInterface};
use ocicat_api::policy::PolicyStage;
use ocicat_api::{ObjectKey, rule::Action};

use crate::census::{Census, inherit_labels, plain};
use crate::order::Default;
use crate::world::World;
use crate::{Direction, Judgement, Packet};

/// A HostEndpoint. [16]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEndpoint {
    pub key: ObjectKey,
    pub node: String,
    pub interface: HostInterface,
    /// `expectedIPs`.
    pub addresses: Vec<IpAddr>,
    pub ports: Vec<EndpointPort>,
    /// Names, in the order in which they are asked.
    pub profiles: Vec<String>,
    /// Own and inherited.
    pub labels: BTreeMap<String, String>,
}

/// Where a host endpoint judges. [18]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Before connection tracking.
    Untracked,
    /// Before destinations are translated.
    PreDnat,
    /// What the host forwards.
    Forward,
    /// To and from the host itself.
    Local,
}

/// An interface of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub addresses: Vec<IpAddr>,
}

/// What one stage of a host endpoint says of a packet; `None` if nothing judges there, or if no
/// host endpoint has that key. [18]
#[must_use]
pub fn judge_stage(
    world: &World,
    key: &ObjectKey,
    stage: Stage,
    direction: Direction,
    packet: &Packet,
) -> Option<Judgement> {
    let census = Census::new(world);
    census.judge_stage(census.host(key)?, stage, direction, packet)
}

impl Stage {
    pub const ALL: [Self; 4] = [Self::Untracked, Self::PreDnat, Self::Forward, Self::Local];

    /// [18] Which policies judge here.
    pub(crate) fn takes(self, stage: PolicyStage) -> bool {
        match self {
            Self::Untracked => stage == PolicyStage::Untracked,
            Self::PreDnat => stage == PolicyStage::PreDnat,
            Self::Forward => stage == PolicyStage::Forward,
            Self::Local => matches!(stage, PolicyStage::Normal | PolicyStage::Forward),
        }
    }

    /// [18] Whether what no policy decides goes on to the next stage.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Untracked | Self::PreDnat)
    }

    /// [18] What the end of a tier means here.
    pub(crate) fn default_of(self, default: Default) -> Action {
        match default {
            Default::Deny if !self.is_open() => Action::Deny,
            _ => Action::Pass,
        }
    }
}

impl HostEndpoint {
    /// [16]
    pub(crate) fn of(world: &World, host: &Object, key: ObjectKey) -> Self {
        let profiles: Vec<String> = host.profiles.iter().map(ToString::to_string).collect();
        let mut labels = plain(&host.metadata.labels);
        inherit_labels(world, &profiles, &mut labels);
        Self {
            key,
            node: host.node.to_string(),
            interface: host.interface.clone(),
            addresses: host.expected_ips.clone(),
            ports: host.ports.clone(),
            profiles,
            labels,
        }
    }
}

impl Census<'_> {
    /// The host endpoint of that key.
    #[must_use]
    pub fn host(&self, key: &ObjectKey) -> Option<&HostEndpoint> {
        self.hosts.iter().find(|host| host.key == *key)
    }

    /// [20] The host endpoint of an interface of a node; the loopback has none.
    #[must_use]
    pub fn host_of(&self, node: &str, interface: &Interface) -> Option<&HostEndpoint> {
        if interface.name == "lo" {
            return None;
        }
        let here = || self.hosts.iter().filter(|host| host.node == node);
        let named = here().filter(
            |host| matches!(&host.interface, HostInterface::Named(name) if **name == *interface.name),
        );
        let has = |address: &IpAddr| interface.addresses.contains(address);
        let by_address = here().filter(|host| {
            host.interface == HostInterface::ByAddress && host.addresses.iter().any(has)
        });
        let all = here().filter(|host| host.interface == HostInterface::All);
        let least = |a: &&HostEndpoint, b: &&HostEndpoint| a.key.name.cmp(&b.key.name);
        named
            .min_by(least)
            .or_else(|| by_address.min_by(least))
            .or_else(|| all.min_by(least))
    }
}
