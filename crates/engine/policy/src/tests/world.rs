//! Short ways to write objects, and to ask an engine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_api::core::{
    EndpointPort, HostEndpoint, HostInterface, IpPool, Namespace, Node, Pod, ServiceAccount,
    WorkloadEndpoint,
};
use ocicat_api::policy::{
    CalicoPolicy, KubePeer, KubePort, KubeRule, NetworkPolicy, NetworkSet, Subject, Tier, Types,
};
use ocicat_api::rule::{Action, EntityRule, Rule};
use ocicat_api::{Kind, Metadata, Object, ObjectKey, PortSpec, Protocol};
use ocicat_flow::Direction;
use ocicat_node::ServiceMatch;
use ocicat_selector::Selector;

use crate::{Engine, Locality};

pub(super) fn labels(text: &str) -> BTreeMap<Arc<str>, Arc<str>> {
    let pairs = text
        .split_whitespace()
        .map(|pair| pair.split_once('=').unwrap());
    pairs
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

/// `namespace/name`, or `name`.
pub(super) fn metadata(name: &str, label_text: &str) -> Metadata {
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => (Some(namespace.into()), name),
        None => (None, name),
    };
    let labels = labels(label_text);
    Metadata {
        name: name.into(),
        namespace,
        labels,
        ..Metadata::default()
    }
}

pub(super) fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn addresses(text: &str) -> Vec<IpAddr> {
    text.split_whitespace().map(ip).collect()
}

pub(super) fn namespace(name: &str, label_text: &str) -> Object {
    Object::Namespace(Namespace {
        metadata: metadata(name, label_text),
    })
}

pub(super) fn account(name: &str, label_text: &str) -> Object {
    Object::ServiceAccount(ServiceAccount {
        metadata: metadata(name, label_text),
    })
}

/// A pod of node `n1` with the port `http` = TCP 8080.
pub(super) fn pod(name: &str, label_text: &str, address_text: &str) -> Pod {
    Pod {
        metadata: metadata(name, label_text),
        node: Some("n1".into()),
        service_account: "default".into(),
        host_network: false,
        finished: false,
        addresses: addresses(address_text),
        ports: vec![port("http", Protocol::TCP, 8080)],
    }
}

/// A WorkloadEndpoint of node `n1`, with the profile of its namespace.
pub(super) fn wep(name: &str, label_text: &str, address_text: &str) -> WorkloadEndpoint {
    let metadata = metadata(name, label_text);
    let profile = format!("kns.{}", metadata.namespace.as_deref().unwrap());
    WorkloadEndpoint {
        metadata,
        node: "n1".into(),
        orchestrator: "libvirt".into(),
        pod: None,
        interface: None,
        mac: None,
        addresses: addresses(address_text),
        profiles: vec![profile.into()],
        service_account: None,
        ports: Vec::new(),
        allowed_sources: Vec::new(),
    }
}

/// A HostEndpoint of interface `eth0` of node `n1`, without profiles.
pub(super) fn hep(name: &str, label_text: &str, address_text: &str) -> HostEndpoint {
    HostEndpoint {
        metadata: metadata(name, label_text),
        node: "n1".into(),
        interface: HostInterface::Named("eth0".into()),
        expected_ips: addresses(address_text),
        profiles: Vec::new(),
        ports: Vec::new(),
    }
}

pub(super) fn port(name: &str, protocol: Protocol, port: u16) -> EndpointPort {
    EndpointPort {
        name: name.into(),
        protocol,
        port,
    }
}

pub(super) fn node(name: &str, address_text: &str) -> Object {
    Object::Node(Node {
        metadata: metadata(name, ""),
        addresses: addresses(address_text),
    })
}

pub(super) fn pool(name: &str, cidr: &str) -> Object {
    Object::IpPool(IpPool {
        metadata: metadata(name, ""),
        cidr: cidr.parse().unwrap(),
        block_size: 26,
        disabled: false,
        nat_outgoing: false,
    })
}

pub(super) fn set(name: &str, label_text: &str, nets: &str) -> Object {
    let set = NetworkSet {
        metadata: metadata(name, label_text),
        nets: nets
            .split_whitespace()
            .map(|net| net.parse().unwrap())
            .collect(),
        domains: Vec::new(),
    };
    if name.contains('/') {
        Object::NetworkSet(set)
    } else {
        Object::GlobalNetworkSet(set)
    }
}

pub(super) fn tier(name: &str, order: Option<f64>, default_action: Action) -> Object {
    Object::Tier(Tier {
        metadata: metadata(name, ""),
        order,
        default_action,
    })
}

/// A policy of both directions.
pub(super) fn policy(
    name: &str,
    subject: &str,
    ingress: Vec<Rule>,
    egress: Vec<Rule>,
) -> CalicoPolicy {
    CalicoPolicy {
        metadata: metadata(name, ""),
        tier: "default".into(),
        order: None,
        subject: Subject::Selectors {
            selector: selector(subject),
            namespace_selector: None,
            service_account_selector: None,
        },
        types: Types {
            ingress: true,
            egress: true,
        },
        ingress,
        egress,
        stage: ocicat_api::policy::PolicyStage::Normal,
    }
}

pub(super) fn calico(policy: CalicoPolicy) -> Object {
    match policy.metadata.namespace {
        Some(_) => Object::CalicoNetworkPolicy(policy),
        None => Object::GlobalNetworkPolicy(policy),
    }
}

pub(super) fn rule(action: Action) -> Rule {
    Rule::of(action)
}

/// Protocol TCP with ports such as `80 8000:8080 http`.
pub(super) fn tcp(action: Action, ports: &str) -> Rule {
    let mut rule = rule(action);
    rule.protocol = Some(Protocol::TCP);
    rule.destination.ports = port_specs(ports);
    rule
}

pub(super) fn port_specs(ports: &str) -> Vec<PortSpec> {
    let spec = |text: &str| match text.split_once(':') {
        Some((first, last)) => PortSpec::Range {
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
        },
        None => match text.parse() {
            Ok(port) => PortSpec::Range {
                first: port,
                last: port,
            },
            Err(_) => PortSpec::Name(text.into()),
        },
    };
    ports.split_whitespace().map(spec).collect()
}

/// A rule with the far side of ingress.
pub(super) fn from(mut rule: Rule, source: EntityRule) -> Rule {
    rule.source = source;
    rule
}

pub(super) fn selecting(text: &str) -> EntityRule {
    EntityRule {
        selector: Some(selector(text)),
        ..EntityRule::default()
    }
}

pub(super) fn within(nets: &str) -> EntityRule {
    let nets = nets
        .split_whitespace()
        .map(|net| net.parse().unwrap())
        .collect();
    EntityRule {
        nets,
        ..EntityRule::default()
    }
}

/// Ingress only.
pub(super) fn netpol(name: &str, pod_selector: &str, ingress: Vec<KubeRule>) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(name, ""),
        pod_selector: Some(selector(pod_selector)),
        types: Types {
            ingress: true,
            egress: false,
        },
        ingress,
        egress: Vec::new(),
    }
}

pub(super) fn kube_rule(peers: Option<Vec<KubePeer>>, ports: Option<Vec<KubePort>>) -> KubeRule {
    KubeRule {
        peers,
        ports,
        unreadable: Vec::new(),
    }
}

pub(super) fn pods(namespaces: Option<&str>, selected: Option<&str>) -> KubePeer {
    KubePeer::Pods {
        namespace_selector: namespaces.map(selector),
        pod_selector: selected.map(selector),
    }
}

pub(super) fn key(kind: Kind, name: &str) -> ObjectKey {
    let metadata = metadata(name, "");
    ObjectKey {
        kind,
        namespace: metadata.namespace,
        name: metadata.name,
    }
}

pub(super) fn engine(objects: &[Object]) -> Engine {
    let mut engine = Engine::new(Locality::Node("n1".into()));
    objects.iter().for_each(|object| engine.upsert(object));
    engine.commit();
    engine
}

pub(super) fn on_tcp(port: u16) -> ServiceMatch {
    ServiceMatch {
        protocol: ocicat_node::Protocol::TCP,
        source_port: 40_000,
        port,
    }
}

/// The outcome as text of a packet that a pod receives or sends.
pub(super) fn ask(
    engine: &Engine,
    pod: &str,
    direction: Direction,
    far: &str,
    service: ServiceMatch,
) -> String {
    let key = key(Kind::Pod, pod);
    let far = ip(far);
    let addresses = &engine.endpoint(&key).expect("local").addresses;
    let local = addresses
        .iter()
        .find(|a| a.address.is_ipv4() == far.is_ipv4())
        .expect("family");
    let outcome = engine.judge(&key, direction, (local.address, far), &service);
    outcome.expect("a row for every class").to_string()
}

/// What a pod makes of TCP that it receives.
pub(super) fn into(engine: &Engine, pod: &str, far: &str, port: u16) -> String {
    ask(engine, pod, Direction::Ingress, far, on_tcp(port))
}

/// Two pods and the outside, in two namespaces and a pool.
pub(super) fn base() -> Vec<Object> {
    vec![
        namespace("shop", "team=red"),
        namespace("bank", "team=blue"),
        account("shop/default", "tier=low"),
        account("bank/default", ""),
        pool("pool", "10.0.0.0/16"),
        pool("pool6", "fd00::/64"),
        Object::Pod(pod("shop/web", "app=web", "10.0.0.1 fd00::1")),
        Object::Pod(pod("shop/db", "app=db", "10.0.0.2 fd00::2")),
        Object::Pod(pod("bank/web", "app=web", "10.0.0.3 fd00::3")),
    ]
}

pub(super) fn with(objects: impl IntoIterator<Item = Object>) -> Engine {
    let mut all = base();
    all.extend(objects);
    engine(&all)
}
