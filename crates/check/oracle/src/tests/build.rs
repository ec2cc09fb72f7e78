//! Short names for the objects of these tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use ocicat_api::core::{
    EndpointPort, HostEndpoint, HostInterface, IpPool, Namespace, Node, Pod, ServiceAccount,
    WorkloadEndpoint,
};
use ocicat_api::policy::{
    CalicoPolicy, ClusterNetworkPolicy, ClusterPeer, ClusterRule, ClusterSubject, ClusterTier,
    KubePeer, KubePort, KubeRule, NetworkPolicy, NetworkSet, Profile, Subject, Tier, Types,
};
use ocicat_api::rule::{Action, EntityRule, Rule};
use ocicat_api::{Metadata, Object, ObjectKey, PortSpec, Problem, Protocol, Severity};
use ocicat_selector::Selector;

use crate::{
    Decider, Direction, Judgement, Packet, PolicyKind, PolicyName, RuleName, Verdict, World, judge,
};

pub use crate::Direction::{Egress, Ingress};
pub use ocicat_api::rule::Action::{Allow, Deny, Log, Pass};

pub const INGRESS: Types = Types {
    ingress: true,
    egress: false,
};
pub const EGRESS: Types = Types {
    ingress: false,
    egress: true,
};

pub fn labels(pairs: &[(&str, &str)]) -> BTreeMap<Arc<str>, Arc<str>> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

pub fn meta(namespace: &str, name: &str, pairs: &[(&str, &str)]) -> Metadata {
    Metadata {
        name: name.into(),
        namespace: (!namespace.is_empty()).then(|| namespace.into()),
        labels: labels(pairs),
        ..Metadata::default()
    }
}

pub fn namespace(name: &str, pairs: &[(&str, &str)]) -> Object {
    Object::Namespace(Namespace {
        metadata: meta("", name, pairs),
    })
}

pub fn account(namespace: &str, name: &str, pairs: &[(&str, &str)]) -> Object {
    Object::ServiceAccount(ServiceAccount {
        metadata: meta(namespace, name, pairs),
    })
}

pub fn pod(namespace: &str, name: &str, address: &str, pairs: &[(&str, &str)]) -> Pod {
    Pod {
        metadata: meta(namespace, name, pairs),
        node: Some("host".into()),
        service_account: "default".into(),
        host_network: false,
        finished: false,
        addresses: vec![address.parse().expect("an address")],
        ports: Vec::new(),
    }
}

/// Of orchestrator `bare`, without profiles and service account.
pub fn wep(namespace: &str, name: &str, address: &str, pairs: &[(&str, &str)]) -> WorkloadEndpoint {
    WorkloadEndpoint {
        metadata: meta(namespace, name, pairs),
        node: "host".into(),
        orchestrator: "bare".into(),
        pod: None,
        interface: None,
        mac: None,
        addresses: vec![address.parse().expect("an address")],
        profiles: Vec::new(),
        service_account: None,
        ports: Vec::new(),
        allowed_sources: Vec::new(),
    }
}

/// For interface `eth0` of node `host`, without profiles.
pub fn hep(name: &str, address: &str, pairs: &[(&str, &str)]) -> HostEndpoint {
    HostEndpoint {
        metadata: meta("", name, pairs),
        node: "host".into(),
        interface: HostInterface::Named("eth0".into()),
        expected_ips: vec![address.parse().expect("an address")],
        profiles: Vec::new(),
        ports: Vec::new(),
    }
}

/// Of all pods, with these ingress rules.
pub fn cluster(name: &str, tier: ClusterTier, priority: u16, ingress: Vec<ClusterRule>) -> Object {
    Object::ClusterNetworkPolicy(ClusterNetworkPolicy {
        metadata: meta("", name, &[]),
        tier,
        priority,
        subject: ClusterSubject::Namespaces(Selector::All),
        ingress,
        egress: Vec::new(),
    })
}

pub fn cluster_rule(action: Action, peers: Vec<ClusterPeer>) -> ClusterRule {
    ClusterRule {
        name: "".into(),
        action,
        peers,
        protocols: None,
        unreadable: Vec::new(),
        unreadable_peers: false,
        unreadable_protocols: false,
    }
}

pub fn port(name: &str, protocol: Protocol, port: u16) -> EndpointPort {
    EndpointPort {
        name: name.into(),
        protocol,
        port,
    }
}

/// Global if `namespace` is empty.
pub fn set(namespace: &str, name: &str, net: &str, pairs: &[(&str, &str)]) -> Object {
    let nets = vec![net.parse().expect("a CIDR")];
    let set = NetworkSet {
        metadata: meta(namespace, name, pairs),
        nets,
        domains: Vec::new(),
    };
    if namespace.is_empty() {
        Object::GlobalNetworkSet(set)
    } else {
        Object::NetworkSet(set)
    }
}

pub fn pool(cidr: &str) -> Object {
    Object::IpPool(IpPool {
        metadata: meta("", "pool", &[]),
        cidr: cidr.parse().expect("a CIDR"),
        block_size: 26,
        disabled: false,
        nat_outgoing: false,
    })
}

pub fn node(address: &str) -> Object {
    let addresses = vec![address.parse().expect("an address")];
    Object::Node(Node {
        metadata: meta("", "host", &[]),
        addresses,
    })
}

pub fn tier(name: &str, order: Option<f64>, default_action: Action) -> Object {
    Object::Tier(Tier {
        metadata: meta("", name, &[]),
        order,
        default_action,
    })
}

/// A policy of tier `default` that selects everything it may in both directions.
pub fn policy(namespace: &str, name: &str) -> CalicoPolicy {
    CalicoPolicy {
        metadata: meta(namespace, name, &[]),
        tier: "default".into(),
        order: None,
        subject: subject(Selector::All),
        types: Types {
            ingress: true,
            egress: true,
        },
        ingress: Vec::new(),
        egress: Vec::new(),
        stage: ocicat_api::policy::PolicyStage::Normal,
    }
}

pub fn subject(selector: Selector) -> Subject {
    Subject::Selectors {
        selector,
        namespace_selector: None,
        service_account_selector: None,
    }
}

/// A GlobalNetworkPolicy with one ingress rule.
pub fn gnp(name: &str, rule: Rule) -> Object {
    let policy = CalicoPolicy {
        ingress: vec![rule],
        types: INGRESS,
        ..policy("", name)
    };
    Object::GlobalNetworkPolicy(policy)
}

/// A Calico NetworkPolicy with one ingress rule.
pub fn cnp(namespace: &str, name: &str, rule: Rule) -> Object {
    let policy = CalicoPolicy {
        ingress: vec![rule],
        types: INGRESS,
        ..policy(namespace, name)
    };
    Object::CalicoNetworkPolicy(policy)
}

pub fn rule(action: Action) -> Rule {
    Rule::of(action)
}

pub fn from(action: Action, source: EntityRule) -> Rule {
    Rule {
        source,
        ..rule(action)
    }
}

pub fn entity() -> EntityRule {
    EntityRule::default()
}

pub fn selecting(selector: Selector) -> EntityRule {
    EntityRule {
        selector: Some(selector),
        ..entity()
    }
}

pub fn not_selecting(selector: Selector) -> EntityRule {
    EntityRule {
        not_selector: Some(selector),
        ..entity()
    }
}

pub fn problem() -> Problem {
    Problem {
        severity: Severity::Error,
        field: "spec".into(),
        message: "unreadable".into(),
    }
}

/// A Kubernetes policy of Ingress with one rule.
pub fn kube(namespace: &str, name: &str, rule: KubeRule) -> Object {
    Object::NetworkPolicy(NetworkPolicy {
        metadata: meta(namespace, name, &[]),
        pod_selector: Some(Selector::All),
        types: INGRESS,
        ingress: vec![rule],
        egress: Vec::new(),
    })
}

pub fn kube_rule(peers: Option<Vec<KubePeer>>, ports: Option<Vec<KubePort>>) -> KubeRule {
    KubeRule {
        peers,
        ports,
        unreadable: Vec::new(),
    }
}

pub fn profile(name: &str, ingress: Vec<Rule>, pairs: &[(&str, &str)]) -> Object {
    Object::Profile(Profile {
        metadata: meta("", name, &[]),
        ingress,
        egress: Vec::new(),
        labels_to_apply: labels(pairs),
    })
}

pub fn eq(name: &str, value: &str) -> Selector {
    Selector::Equal(name.into(), value.into())
}

pub fn exactly(port: u16) -> PortSpec {
    PortSpec::Range {
        first: port,
        last: port,
    }
}

pub fn tcp(source: &str, destination: &str, port: u16) -> Packet {
    let address = |text: &str| text.parse().expect("an address");
    Packet::tcp(address(source), address(destination), port)
}

/// Ingress at the only endpoint that has the packet's destination.
pub fn receive(world: &World, packet: &Packet) -> Judgement {
    side(world, packet, Ingress)
}

/// Egress at the only endpoint that has the packet's source.
pub fn send(world: &World, packet: &Packet) -> Judgement {
    side(world, packet, Egress)
}

/// Whether a packet to TCP port 80 is allowed in.
pub fn lets_in(world: &World, source: &str, destination: &str) -> bool {
    receive(world, &tcp(source, destination, 80)).verdict == Verdict::Allow
}

pub fn key(object: &Object) -> ObjectKey {
    object.key()
}

/// The rule of that index in an ingress policy of tier `default`; kind and namespace as `cnp`,
/// `gnp` and `kube` make them.
pub fn ingress_rule(kind: PolicyKind, namespace: &str, name: &str, index: usize) -> RuleName {
    let tier = if kind == PolicyKind::Profile {
        ""
    } else {
        "default"
    };
    RuleName {
        policy: policy_name(kind, namespace, name, tier),
        direction: Ingress,
        index,
    }
}

pub fn policy_name(kind: PolicyKind, namespace: &str, name: &str, tier: &str) -> PolicyName {
    PolicyName {
        kind,
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        name: name.to_owned(),
        tier: tier.to_owned(),
    }
}

pub fn end_of_default() -> Decider {
    Decider::EndOfTier("default".to_owned())
}

fn side(world: &World, packet: &Packet, direction: Direction) -> Judgement {
    let verdicts = crate::verdict(world, packet);
    let mut found = if direction == Ingress {
        verdicts.ingress
    } else {
        verdicts.egress
    };
    let (key, judgement) = found.pop().expect("an endpoint there");
    assert!(found.is_empty(), "more than one endpoint there");
    assert_eq!(
        judge(world, &key, direction, packet),
        Some(judgement.clone())
    );
    judgement
}
