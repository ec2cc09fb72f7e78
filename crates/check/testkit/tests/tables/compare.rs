//! What tables say of a packet, in the oracle's words, and where the two differ.

use std::net::IpAddr;

use ocicat_api::{Kind, ObjectKey};
use ocicat_flow as flow;
use ocicat_node::{NodeState, Protocol, ServiceMatch};
use ocicat_oracle::{
    Census, Decider, Direction, Endpoint, HostEndpoint, Judgement, Packet, PolicyKind, PolicyName,
    RuleName, Verdict,
};

use ocicat_testkit::Post;

use crate::engine::Host;
use crate::failure::Failure;
use crate::hosts::{self, same_hosts};

/// One packet on which tables and oracle differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Disagreement {
    pub packet: Packet,
    /// A workload and a direction; `None` for a stage of a host endpoint.
    pub workload: Option<(ObjectKey, Direction)>,
    pub post: Option<Post>,
    /// What the oracle says; `None` if nothing judges there.
    pub oracle: Option<Judgement>,
    /// What the tables say, or why they say nothing.
    pub tables: Result<Option<Judgement>, String>,
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.workload, &self.post) {
            (Some((key, direction)), _) => writeln!(f, "{direction} of {key}: {}", self.packet)?,
            (None, Some(post)) => writeln!(f, "{post}: {}", self.packet)?,
            (None, None) => writeln!(f, "{}", self.packet)?,
        }
        let told = |judgement: &Option<Judgement>| match judgement {
            Some(judgement) => judgement.to_string(),
            None => "nothing judges there".to_owned(),
        };
        writeln!(f, "oracle: {}", told(&self.oracle))?;
        match &self.tables {
            Ok(judgement) => write!(f, "tables: {}", told(judgement)),
            Err(message) => write!(f, "tables: {message}"),
        }
    }
}

/// A host endpoint answers eight times for each packet. Of more packets than these each meets one.
const FEW: usize = 100;

/// Compares endpoints, and the judgements of packets.
pub fn compare(
    census: &Census<'_>,
    host: Host,
    state: &NodeState,
    packets: &[Packet],
) -> Result<(), Failure> {
    same_endpoints(census, host, state).map_err(Failure::of)?;
    same_hosts(census, host, state).map_err(Failure::of)?;
    let hosts: Vec<&HostEndpoint> = hosts::here(census, host).collect();
    for (index, packet) in packets.iter().enumerate() {
        let found = if packets.len() <= FEW || hosts.is_empty() {
            disagreement(census, host, state, packet)
        } else {
            let one = &hosts[index % hosts.len()..][..1];
            of_workloads(census, host, state, packet)
                .or_else(|| of_hosts(census, one, state, packet))
        };
        if let Some(found) = found {
            return Err(Failure {
                message: found.to_string(),
                packet: Some(found.packet),
                post: found.post,
            });
        }
    }
    Ok(())
}

/// Asks both of every endpoint of the host that is an end of the packet, and of every stage of its
/// host endpoints.
pub fn disagreement(
    census: &Census<'_>,
    host: Host,
    state: &NodeState,
    packet: &Packet,
) -> Option<Disagreement> {
    let hosts: Vec<&HostEndpoint> = hosts::here(census, host).collect();
    of_workloads(census, host, state, packet).or_else(|| of_hosts(census, &hosts, state, packet))
}

fn of_workloads(
    census: &Census<'_>,
    host: Host,
    state: &NodeState,
    packet: &Packet,
) -> Option<Disagreement> {
    let sides = [
        (packet.source, Direction::Egress),
        (packet.destination, Direction::Ingress),
    ];
    for (near, direction) in sides {
        let here = |endpoint: &&Endpoint| host.has(census.world, &endpoint.key);
        for endpoint in census.endpoints_at(near).filter(here) {
            let oracle = Some(census.judge(endpoint, direction, packet));
            let tables = judge(state, endpoint, direction, packet).map(Some);
            if tables.as_ref() != Ok(&oracle) {
                return Some(Disagreement {
                    packet: *packet,
                    workload: Some((endpoint.key.clone(), direction)),
                    post: None,
                    oracle,
                    tables,
                });
            }
        }
    }
    None
}

fn of_hosts(
    census: &Census<'_>,
    hosts: &[&HostEndpoint],
    state: &NodeState,
    packet: &Packet,
) -> Option<Disagreement> {
    for endpoint in hosts {
        for post in hosts::posts(endpoint) {
            let oracle = census.judge_stage(endpoint, post.stage, post.direction, packet);
            let tables = hosts::judge_stage(state, &post, packet);
            if tables.as_ref() != Ok(&oracle) {
                return Some(Disagreement {
                    packet: *packet,
                    workload: None,
                    post: Some(post),
                    oracle,
                    tables,
                });
            }
        }
    }
    None
}

/// Whether the tables are of the same endpoints, with the same addresses.
fn same_endpoints(census: &Census<'_>, host: Host, state: &NodeState) -> Result<(), String> {
    let sorted = |mut addresses: Vec<IpAddr>| {
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    };
    let here = census
        .endpoints
        .iter()
        .filter(|e| host.has(census.world, &e.key));
    let of_oracle = here.map(|e| (id(&e.key), sorted(e.addresses.clone())));
    let of_tables = state.endpoints.iter().map(|(id, policy)| {
        let addresses = policy.addresses.iter().map(|local| local.address).collect();
        (id.to_string(), sorted(addresses))
    });
    // An endpoint without addresses has nothing to enforce: it may be there or not.
    let has_addresses = |(_, addresses): &(String, Vec<IpAddr>)| !addresses.is_empty();
    let mut of_oracle: Vec<_> = of_oracle.filter(has_addresses).collect();
    let mut of_tables: Vec<_> = of_tables.filter(has_addresses).collect();
    of_oracle.sort();
    of_tables.sort();
    if of_oracle == of_tables {
        return Ok(());
    }
    Err(format!(
        "endpoints of the oracle: {of_oracle:?}\nendpoints of the tables: {of_tables:?}"
    ))
}

/// What the tables say.
fn judge(
    state: &NodeState,
    endpoint: &Endpoint,
    direction: Direction,
    packet: &Packet,
) -> Result<Judgement, String> {
    let (far, near) = far_and_near(packet, direction);
    let policy = state
        .endpoints
        .get(&*id(&endpoint.key))
        .ok_or("no such endpoint")?;
    let mut at = policy
        .addresses
        .iter()
        .filter(|local| local.address == near);
    let local = at
        .next()
        .ok_or_else(|| format!("the endpoint has no {near}"))?;
    let stack = match direction {
        Direction::Ingress => local.ingress,
        Direction::Egress => local.egress,
    };
    let of_stack = state
        .stacks
        .get(&stack)
        .ok_or_else(|| format!("no {stack:?}"))?;
    if from_direction(of_stack.direction) != direction {
        return Err(format!("{stack:?} is of the other direction"));
    }
    let outcome = state
        .judge(stack, far, &service(packet))
        .ok_or_else(|| hosts::no_outcome(state, stack, far))?;
    judgement(outcome)
}

/// The addresses of the other end and of the end that judges.
pub fn far_and_near(packet: &Packet, direction: Direction) -> (IpAddr, IpAddr) {
    match direction {
        Direction::Ingress => (packet.source, packet.destination),
        Direction::Egress => (packet.destination, packet.source),
    }
}

/// What tables ask of a packet besides its addresses.
pub fn service(packet: &Packet) -> ServiceMatch {
    let port = if packet.is_icmp() {
        u16::from_be_bytes([packet.icmp_type, packet.icmp_code])
    } else {
        packet.destination_port
    };
    ServiceMatch {
        protocol: Protocol(packet.protocol),
        source_port: packet.source_port,
        port,
    }
}

/// As `NodeState` names endpoints.
pub fn id(key: &ObjectKey) -> String {
    let kind = if key.kind == Kind::Pod { "pod" } else { "wep" };
    format!(
        "{kind}/{}/{}",
        key.namespace.as_deref().unwrap_or_default(),
        key.name
    )
}

/// An outcome in the oracle's words.
pub fn judgement(outcome: &flow::Outcome) -> Result<Judgement, String> {
    let rules = |rules: &[flow::RuleRef]| rules.iter().map(rule_name).collect();
    Ok(Judgement {
        verdict: match outcome.verdict {
            flow::Verdict::Allow => Verdict::Allow,
            flow::Verdict::Deny => Verdict::Deny,
            flow::Verdict::Next => Verdict::Next,
        },
        decider: match &outcome.decider {
            flow::Decider::Rule(rule) => Decider::Rule(rule_name(rule)),
            flow::Decider::Undetermined(rule) => Decider::Undetermined(rule_name(rule)),
            flow::Decider::EndOfTier { tier } => Decider::EndOfTier(tier.to_string()),
            flow::Decider::Unreadable(policy) => Decider::Unreadable(policy_name(policy)),
            flow::Decider::MissingProfile { name } => Decider::MissingProfile(name.to_string()),
            flow::Decider::EndOfProfiles => Decider::EndOfProfiles,
            flow::Decider::EndOfStage => Decider::EndOfStage,
            flow::Decider::OverBudget => return Err("over budget".to_owned()),
        },
        passed: rules(&outcome.passed),
        logged: rules(&outcome.logged),
    })
}

fn rule_name(rule: &flow::RuleRef) -> RuleName {
    RuleName {
        policy: policy_name(&rule.policy),
        direction: from_direction(rule.direction),
        index: rule.index as usize,
    }
}

pub fn policy_name(policy: &flow::PolicyRef) -> PolicyName {
    PolicyName {
        kind: match policy.kind {
            flow::PolicyKind::CalicoNetworkPolicy => PolicyKind::CalicoNetworkPolicy,
            flow::PolicyKind::GlobalNetworkPolicy => PolicyKind::GlobalNetworkPolicy,
            flow::PolicyKind::NetworkPolicy => PolicyKind::NetworkPolicy,
            flow::PolicyKind::Profile => PolicyKind::Profile,
            flow::PolicyKind::ClusterNetworkPolicy => PolicyKind::ClusterNetworkPolicy,
            flow::PolicyKind::StagedNetworkPolicy => PolicyKind::StagedNetworkPolicy,
            flow::PolicyKind::StagedGlobalNetworkPolicy => PolicyKind::StagedGlobalNetworkPolicy,
            flow::PolicyKind::StagedKubernetesNetworkPolicy => {
                PolicyKind::StagedKubernetesNetworkPolicy
            }
        },
        namespace: policy.namespace.as_ref().map(ToString::to_string),
        name: policy.name.to_string(),
        tier: policy.tier.to_string(),
    }
}

fn from_direction(direction: flow::Direction) -> Direction {
    match direction {
        flow::Direction::Ingress => Direction::Ingress,
        flow::Direction::Egress => Direction::Egress,
    }
}

pub fn to_direction(direction: Direction) -> flow::Direction {
    match direction {
        Direction::Ingress => flow::Direction::Ingress,
        Direction::Egress => flow::Direction::Egress,
    }
}
