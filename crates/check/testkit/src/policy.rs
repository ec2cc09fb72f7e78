//! Random policies and profiles.

mod cluster;

use std::collections::BTreeMap;

use ocicat_api::policy::{
    CalicoPolicy, KubePeer, KubePort, KubeRule, NetworkPolicy, PolicyStage, Profile, Subject, Types,
};
use ocicat_api::rule::{
    Action, EntityRule, HttpMatch, HttpPath, Icmp, Rule, ServiceAccountMatch, ServiceMatch,
};
use ocicat_api::{Family, PortSpec, Problem, Protocol};
use ocicat_oracle::Direction;
use ocicat_selector::Selector;

use crate::words::{
    ACCOUNTS, OUTER_LABELS, SERVICE_SPACES, SERVICES, TIERS, labels, metadata, narrow_net, net_of,
    order, port_protocol, port_spec, rule_protocol,
};
use crate::{Random, expression};

pub use cluster::cluster;

/// A NetworkPolicy of the namespace, or a GlobalNetworkPolicy without one.
pub fn calico(random: &mut Random, namespace: Option<&str>, name: &str) -> CalicoPolicy {
    let tier = if random.chance(55) {
        "default"
    } else {
        random.pick(&TIERS)
    };
    let stage = match namespace {
        None => random.weighted(&[
            (52, PolicyStage::Normal),
            (20, PolicyStage::Forward),
            (14, PolicyStage::Untracked),
            (14, PolicyStage::PreDnat),
        ]),
        Some(_) => PolicyStage::Normal,
    };
    let mut policy = CalicoPolicy {
        metadata: metadata(namespace, name, BTreeMap::new()),
        tier: tier.into(),
        order: order(random),
        subject: subject(random, namespace),
        types: types(random),
        ingress: random.several(0, 5, |random| rule(random, Direction::Ingress)),
        egress: random.several(0, 5, |random| rule(random, Direction::Egress)),
        stage,
    };
    keep_shape(&mut policy);
    policy
}

/// What the API demands of the stages: pre-DNAT policy has no egress.
pub fn keep_shape(policy: &mut CalicoPolicy) {
    if policy.stage == PolicyStage::PreDnat {
        policy.egress.clear();
        policy.types = Types {
            ingress: true,
            egress: false,
        };
    }
}

/// A policy of a few rules that ask for many nets and ports at once, which makes tables large.
pub fn dense(random: &mut Random, namespace: Option<&str>, name: &str) -> CalicoPolicy {
    let wide = |random: &mut Random, direction| {
        let version = random.pick(&[4, 4, 6]);
        let mut rule = Rule::of(random.pick(&[Action::Allow, Action::Deny, Action::Pass]));
        rule.protocol = Some(random.pick(&[Protocol::TCP, Protocol::UDP]));
        let far = match direction {
            Direction::Ingress => &mut rule.source,
            Direction::Egress => &mut rule.destination,
        };
        far.nets = random.several(5, 60, |random| narrow_net(random, version));
        rule.destination.ports = random.several(5, 50, |random| {
            let first = u16::try_from(random.between(1, 3000)).expect("at most 3,000");
            let length = random.pick(&[0, 0, 1, 20]);
            PortSpec::Range {
                first,
                last: first + length,
            }
        });
        rule
    };
    let mut policy = calico(random, namespace, name);
    policy.ingress = random.several(1, 4, |random| wide(random, Direction::Ingress));
    policy.egress = random.several(1, 4, |random| wide(random, Direction::Egress));
    keep_shape(&mut policy);
    policy
}

/// A Kubernetes NetworkPolicy.
pub fn kube(random: &mut Random, namespace: &str, name: &str) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(Some(namespace), name, BTreeMap::new()),
        pod_selector: random.maybe(96, |random| match random.chance(30) {
            true => Selector::All,
            false => expression::of_pods(random),
        }),
        types: types(random),
        ingress: random.several(0, 3, kube_rule),
        egress: random.several(0, 3, kube_rule),
    }
}

pub fn profile(random: &mut Random, name: &str) -> Profile {
    // Few packets come as far as profiles, so their rules cannot be read more often.
    let profile_rule = |random: &mut Random, direction| {
        let unreadable = random.maybe(15, |_| problem());
        let mut rule = rule(random, direction);
        rule.unreadable
            .extend(unreadable.filter(|_| rule.unreadable.is_empty()));
        rule
    };
    Profile {
        metadata: metadata(None, name, BTreeMap::new()),
        ingress: random.several(0, 4, |random| profile_rule(random, Direction::Ingress)),
        egress: random.several(0, 4, |random| profile_rule(random, Direction::Egress)),
        labels_to_apply: labels(random, &["app", "env", "pcns.env", "role"], 30),
    }
}

/// A rule of a Calico policy or of a profile.
pub fn rule(random: &mut Random, direction: Direction) -> Rule {
    let action = random.weighted(&[
        (40, Action::Allow),
        (25, Action::Deny),
        (20, Action::Pass),
        (15, Action::Log),
    ]);
    // CIDRs of one rule are of one family, and agree with `ipVersion`.
    let version = random.pick(&[4, 4, 6]);
    let family = if version == 4 {
        Family::Ipv4
    } else {
        Family::Ipv6
    };
    let (protocol, has_ports) = match random.below(100) {
        0..45 => (None, false),
        45..75 => (Some(port_protocol(random)), true),
        _ => (Some(rule_protocol(random)), false),
    };
    // `icmp` needs one of its protocols; `notICMP` does not.
    let (percent, not_percent) = match protocol {
        Some(Protocol::ICMP | Protocol::ICMPV6) => (70, 25),
        None => (0, 6),
        Some(_) => (0, 0),
    };
    let not_protocol = random.maybe(if protocol.is_none() { 12 } else { 3 }, rule_protocol);
    let family_agrees =
        [protocol, not_protocol]
            .into_iter()
            .flatten()
            .all(|protocol| match protocol {
                Protocol::ICMP => family == Family::Ipv4,
                Protocol::ICMPV6 => family == Family::Ipv6,
                _ => true,
            });
    let mut rule = Rule {
        ip_version: random.maybe(8, |_| family).filter(|_| family_agrees),
        protocol,
        not_protocol,
        icmp: random.maybe(percent, icmp),
        not_icmp: random.maybe(not_percent, icmp),
        source: entity(random, version, has_ports),
        destination: entity(random, version, has_ports),
        unreadable: random.maybe(5, |_| problem()).into_iter().collect(),
        ..Rule::of(action)
    };
    if random.chance(18) {
        add_service(random, &mut rule, direction);
    }
    add_unenforced(random, &mut rule, direction);
    rule
}

/// `services` stands alone on its side of the rule.
fn add_service(random: &mut Random, rule: &mut Rule, direction: Direction) {
    let service = ServiceMatch {
        namespace: random.pick(&SERVICE_SPACES).into(),
        name: random
            .weighted(&[(45, SERVICES[0]), (45, SERVICES[1]), (10, SERVICES[2])])
            .into(),
    };
    let side = match direction {
        Direction::Ingress => &mut rule.source,
        Direction::Egress => &mut rule.destination,
    };
    *side = EntityRule {
        service: Some(service),
        ..EntityRule::default()
    };
}

/// What rules may ask for and nothing enforces: such a rule counts as unreadable.
fn add_unenforced(random: &mut Random, rule: &mut Rule, direction: Direction) {
    if rule.action != Action::Allow || !random.chance(4) {
        return;
    }
    match direction {
        Direction::Ingress if rule.protocol == Some(Protocol::TCP) => {
            rule.http = Some(HttpMatch {
                methods: vec!["GET".into()],
                paths: vec![HttpPath::Prefix("/a".into())],
            });
        }
        Direction::Egress if rule.destination == EntityRule::default() => {
            rule.destination.domains = vec!["*.example.com".into()];
        }
        _ => return,
    }
    rule.unreadable = vec![problem()];
}

/// What random rules say they could not be read for.
pub fn problem() -> Problem {
    Problem::error("spec.unreadable", "unknown field")
}

/// At least one.
fn types(random: &mut Random) -> Types {
    let choice = random.below(3);
    Types {
        ingress: choice != 0,
        egress: choice != 1,
    }
}

/// Only global policies have a `namespaceSelector`.
fn subject(random: &mut Random, namespace: Option<&str>) -> Subject {
    if random.chance(3) {
        return Subject::Unreadable;
    }
    let selector = if random.chance(35) {
        Selector::All
    } else {
        expression::of_endpoints(random)
    };
    Subject::Selectors {
        selector,
        namespace_selector: match namespace {
            Some(_) => None,
            None => random.maybe(22, expression::of_namespaces),
        },
        service_account_selector: random.maybe(12, expression::of_accounts),
    }
}

fn icmp(random: &mut Random) -> Icmp {
    let icmp_type = random.maybe(85, |random| random.pick(&[0, 3, 8, 128, 129]));
    let code = icmp_type.and_then(|_| random.maybe(45, |random| random.pick(&[0, 1, 3])));
    Icmp { icmp_type, code }
}

fn entity(random: &mut Random, version: u8, has_ports: bool) -> EntityRule {
    // Every second one is empty, so that rules match often enough.
    if random.chance(if has_ports { 30 } else { 50 }) {
        return EntityRule::default();
    }
    let mut entity = EntityRule {
        nets: nets(random, 22, version),
        not_nets: not_nets(random, version),
        selector: random.maybe(35, expression::of_endpoints),
        not_selector: random.maybe(14, expression::of_endpoints),
        namespace_selector: random.maybe(22, namespace_selector),
        service_accounts: random.maybe(10, accounts),
        ..EntityRule::default()
    };
    if has_ports {
        entity.ports = ports(random, 45);
        entity.not_ports = ports(random, 18);
    }
    entity
}

fn nets(random: &mut Random, percent: usize, version: u8) -> Vec<ipnet::IpNet> {
    let list = |random: &mut Random| random.several(1, 3, |random| net_of(random, version));
    random.maybe(percent, list).unwrap_or_default()
}

/// They may not be everything.
fn not_nets(random: &mut Random, version: u8) -> Vec<ipnet::IpNet> {
    let mut list = nets(random, 12, version);
    list.retain(|net| net.prefix_len() > 0);
    list
}

fn ports(random: &mut Random, percent: usize) -> Vec<PortSpec> {
    random
        .maybe(percent, |random| random.several(1, 3, port_spec))
        .unwrap_or_default()
}

fn namespace_selector(random: &mut Random) -> Selector {
    match random.below(100) {
        0..25 => Selector::All,
        25..40 => Selector::Global,
        40..45 => Selector::negate(Selector::All),
        _ => expression::of_namespaces(random),
    }
}

fn accounts(random: &mut Random) -> ServiceAccountMatch {
    ServiceAccountMatch {
        names: random.several(0, 2, |random| random.pick(&ACCOUNTS).into()),
        selector: random.maybe(40, expression::of_accounts),
    }
}

fn kube_rule(random: &mut Random) -> KubeRule {
    KubeRule {
        peers: random.maybe(75, |random| match random.chance(5) {
            true => Vec::new(),
            false => random.several(1, 3, kube_peer),
        }),
        ports: random.maybe(50, |random| match random.chance(5) {
            true => Vec::new(),
            false => random.several(1, 3, kube_port),
        }),
        unreadable: Vec::new(),
    }
}

fn kube_peer(random: &mut Random) -> KubePeer {
    if random.chance(30) {
        let version = random.pick(&[4, 4, 6]);
        let cidr = net_of(random, version);
        // `except` must lie within.
        let inside = |random: &mut Random| {
            let list = random.several(1, 4, |random| net_of(random, version));
            list.into_iter()
                .filter(|net| cidr != *net && cidr.contains(net))
                .collect()
        };
        return KubePeer::IpBlock {
            cidr,
            except: random.maybe(60, inside).unwrap_or_default(),
        };
    }
    match random.below(3) {
        0 => KubePeer::Pods {
            namespace_selector: None,
            pod_selector: Some(expression::of_pods(random)),
        },
        1 => KubePeer::Pods {
            namespace_selector: Some(expression::of_kube_namespaces(random)),
            pod_selector: None,
        },
        _ => KubePeer::Pods {
            namespace_selector: Some(expression::of_kube_namespaces(random)),
            pod_selector: Some(expression::of_pods(random)),
        },
    }
}

fn kube_port(random: &mut Random) -> KubePort {
    let protocol = port_protocol(random);
    let port = random.maybe(85, |random| match port_spec(random) {
        // Kubernetes ports begin at 1.
        PortSpec::Range { first, last } => PortSpec::Range {
            first: first.max(1),
            last,
        },
        named @ PortSpec::Name(_) => named,
    });
    KubePort { protocol, port }
}

/// Labels for the objects that only carry them.
pub fn outer_labels(random: &mut Random) -> BTreeMap<std::sync::Arc<str>, std::sync::Arc<str>> {
    labels(random, &OUTER_LABELS, 50)
}
