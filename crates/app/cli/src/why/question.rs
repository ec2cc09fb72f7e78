//! A question, and the answers for all replicas that it means.

use ocicat_analysis::{Analysis, Answer, End, Explanation, Origin, Query};
use ocicat_api::core::EndpointPort;
use ocicat_api::world::World;
use ocicat_api::{Kind, Object, ObjectKey, Protocol};
use ocicat_flow::{PolicyKind, PolicyRef};
use serde::Serialize;

use super::target::{PortText, ServiceText, Target};
use crate::failure::Failure;

/// Who wants to talk to whom, as written.
#[derive(Debug, Clone)]
pub struct Question {
    pub source: Target,
    pub destination: Target,
    pub service: ServiceText,
}

/// The answer.
#[derive(Debug)]
pub struct Asked {
    /// Of the first pair of replicas.
    pub explanation: Explanation,
    /// Of the pairs whose verdict is another.
    pub others: Vec<Explanation>,
    /// With staged policies in force; absent if there are none.
    pub pending: Option<Box<Asked>>,
}

/// The enforced world, and the pending one if there are staged policies.
pub struct Worlds {
    pub enforced: Analysis,
    pub pending: Option<Analysis>,
}

impl Worlds {
    pub fn new(world: &World) -> Self {
        Self {
            enforced: Analysis::new(&world.objects),
            pending: Analysis::pending(&world.objects),
        }
    }

    /// See [`Analysis::settle_addresses`].
    pub fn settle_addresses(&mut self) {
        self.enforced.settle_addresses();
        self.pending.iter_mut().for_each(Analysis::settle_addresses);
    }
}

/// Of a controller with more replicas than this, the first are looked at.
const REPLICAS: usize = 16;

/// TCP 80, where neither the question nor the destination names a port.
const NO_PORT: (Protocol, u16) = (Protocol::TCP, 80);

impl Question {
    pub fn read(source: &str, destination: &str) -> Result<Self, Failure> {
        let source = Target::read(source);
        let source = source.map_err(|error| Failure::Input(format!("SRC {error}")))?;
        let read = Target::read_with_service(destination);
        let (destination, service) =
            read.map_err(|error| Failure::Input(format!("DST {error}")))?;
        Ok(Self {
            source,
            destination,
            service,
        })
    }

    /// Asks both worlds for every pair of replicas.
    pub fn ask(
        &self,
        world: &World,
        worlds: &mut Worlds,
        namespace: &str,
    ) -> Result<Asked, String> {
        let mut asked = self.ask_one(world, &mut worlds.enforced, namespace)?;
        if let Some(pending) = &mut worlds.pending {
            let pending = self.ask_one(world, pending, namespace)?;
            asked.pending = Some(Box::new(pending));
        }
        Ok(asked)
    }

    fn ask_one(
        &self,
        world: &World,
        analysis: &mut Analysis,
        namespace: &str,
    ) -> Result<Asked, String> {
        let sources = self.source.resolve(world, namespace)?;
        let destinations = self.destination.resolve(world, namespace)?;
        let mut explanations: Vec<Explanation> = Vec::new();
        let within = |explanation: &Explanation| explanation.cases[0].within_endpoint;
        for destination in destinations.iter().take(REPLICAS) {
            for source in sources.iter().take(REPLICAS) {
                let (protocol, port) = self.service_at(world, destination)?;
                let query = Query {
                    source: source.clone(),
                    destination: destination.clone(),
                    protocol,
                    port,
                };
                let mut explanation = analysis.explain(&query).map_err(|e| e.to_string())?;
                explanation.locate(|origin| locate(world, origin));
                explanations.push(explanation);
            }
        }
        // Among replicas of one controller, a replica and itself are not what is meant.
        if !explanations.iter().all(within) {
            explanations.retain(|explanation| !within(explanation));
        }
        // There is at least one pair: targets resolve to something or fail.
        let first = explanations[0].verdict;
        let others = explanations.iter().filter(|other| other.verdict != first);
        let others = others.cloned().collect();
        Ok(Asked {
            explanation: explanations.swap_remove(0),
            others,
            pending: None,
        })
    }

    /// Protocol and port number; for ICMP type and code in one number.
    fn service_at(&self, world: &World, destination: &End) -> Result<(Protocol, u16), String> {
        let ports = ports(world, destination);
        let ServiceText { port, protocol } = &self.service;
        let by_name = |name: &str| {
            let same = |port: &&EndpointPort| {
                *port.name == *name && protocol.is_none_or(|wanted| wanted == port.protocol)
            };
            ports
                .iter()
                .find(same)
                .map(|port| (port.protocol, port.port))
        };
        match (port, protocol) {
            (Some(PortText::Number(port)), protocol) => {
                Ok((protocol.unwrap_or(Protocol::TCP), *port))
            }
            (Some(PortText::Icmp(kind, code)), Some(protocol)) => {
                Ok((*protocol, u16::from_be_bytes([*kind, *code])))
            }
            (Some(PortText::Icmp(..)), None) => Err("an ICMP type needs /ICMP or /ICMPv6".into()),
            (Some(PortText::Name(name)), _) => by_name(name).ok_or_else(|| {
                let names: Vec<&str> = ports
                    .iter()
                    .map(|port| &*port.name)
                    .filter(|name| !name.is_empty())
                    .collect();
                let has = if names.is_empty() {
                    "none".into()
                } else {
                    names.join(", ")
                };
                format!("port {name:?}: the destination has no port of that name; it has {has}")
            }),
            // An echo request.
            (None, Some(Protocol::ICMP)) => Ok((Protocol::ICMP, u16::from_be_bytes([8, 0]))),
            (None, Some(Protocol::ICMPV6)) => Ok((Protocol::ICMPV6, u16::from_be_bytes([128, 0]))),
            (None, Some(protocol)) if !protocol.has_ports() => Ok((*protocol, 0)),
            (None, Some(protocol)) => {
                let first = ports.iter().find(|port| port.protocol == *protocol);
                first.map(|port| (port.protocol, port.port)).ok_or_else(|| {
                    format!("the destination names no {protocol} port; expected one, such as 80/{protocol}")
                })
            }
            (None, None) => Ok(ports
                .first()
                .map_or(NO_PORT, |port| (port.protocol, port.port))),
        }
    }
}

impl Asked {
    /// Over all replicas.
    pub fn verdict(&self) -> Answer {
        let others = self.others.iter().map(|other| other.verdict);
        others.fold(self.explanation.verdict, Answer::or)
    }

    /// The explanation, with the verdict over all replicas, and those that fare differently; in
    /// `pending` the same of the pending world.
    pub fn json(&self) -> String {
        // Strings, numbers and lists: nothing that JSON cannot say.
        let text = serde_json::to_string_pretty(&self.document());
        text.unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string())) + "\n"
    }

    fn document(&self) -> Document<'_> {
        Document {
            explanation: Explanation {
                verdict: self.verdict(),
                ..self.explanation.clone()
            },
            differing_replicas: self.others.iter().map(Replica::of).collect(),
            pending: self
                .pending
                .as_ref()
                .map(|pending| Box::new(pending.document())),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(flatten)]
    explanation: Explanation,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differing_replicas: Vec<Replica<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<Box<Document<'a>>>,
}

#[derive(Serialize)]
struct Replica<'a> {
    source: Option<&'a str>,
    destination: Option<&'a str>,
    verdict: Answer,
}

impl<'a> Replica<'a> {
    fn of(other: &'a Explanation) -> Self {
        Self {
            source: other.source.endpoint.as_deref(),
            destination: other.destination.endpoint.as_deref(),
            verdict: other.verdict,
        }
    }
}

/// The ports that an endpoint declares.
fn ports<'a>(world: &'a World, end: &End) -> &'a [EndpointPort] {
    let (End::Endpoint(key) | End::HostEndpoint(key)) = end else {
        return &[];
    };
    match world.objects.get(key) {
        Some(Object::Pod(pod)) => &pod.ports,
        Some(Object::WorkloadEndpoint(endpoint)) => &endpoint.ports,
        Some(Object::HostEndpoint(endpoint)) => &endpoint.ports,
        _ => &[],
    }
}

/// Where a policy or rule stands: `shop.yaml:12`.
fn locate(world: &World, origin: Origin) -> Option<String> {
    let (policy, field) = match origin {
        Origin::Policy(policy) => (policy, String::new()),
        Origin::Rule(rule) => (
            &*rule.policy,
            format!("spec.{}[{}]", rule.direction, rule.index),
        ),
    };
    let place = world.position_of(&key(policy)?, &field)?;
    Some(format!("{}:{}", place.file, place.position.line))
}

/// The object that a policy stands in. The profile of a namespace or service account is that.
fn key(policy: &PolicyRef) -> Option<ObjectKey> {
    let kind = match policy.kind {
        PolicyKind::NetworkPolicy => Kind::NetworkPolicy,
        PolicyKind::CalicoNetworkPolicy => Kind::CalicoNetworkPolicy,
        PolicyKind::GlobalNetworkPolicy => Kind::GlobalNetworkPolicy,
        PolicyKind::ClusterNetworkPolicy => Kind::ClusterNetworkPolicy,
        PolicyKind::StagedNetworkPolicy => Kind::StagedNetworkPolicy,
        PolicyKind::StagedGlobalNetworkPolicy => Kind::StagedGlobalNetworkPolicy,
        PolicyKind::StagedKubernetesNetworkPolicy => Kind::StagedKubernetesNetworkPolicy,
        PolicyKind::Profile => {
            return match (
                policy.name.strip_prefix("kns."),
                policy.name.strip_prefix("ksa."),
            ) {
                (Some(namespace), _) => Some(ObjectKey {
                    kind: Kind::Namespace,
                    namespace: None,
                    name: namespace.into(),
                }),
                (None, Some(_)) => None,
                (None, None) => Some(ObjectKey {
                    kind: Kind::Profile,
                    namespace: None,
                    name: policy.name.clone(),
                }),
            };
        }
    };
    Some(ObjectKey {
        kind,
        namespace: policy.namespace.clone(),
        name: policy.name.clone(),
    })
}
