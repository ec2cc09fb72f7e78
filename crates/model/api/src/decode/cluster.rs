//! `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy.

use std::sync::Arc;

use ipnet::IpNet;
use ocicat_selector::Selector;

use super::entity::domain;
use super::kube::cidr;
use super::names;
use super::node::{Node, Path, Problems, Read, Unreadable};
use super::rule::Direction;
use super::selector::label_selector;
use crate::limits::{CLUSTER_ENTRIES, CLUSTER_PRIORITY, CLUSTER_RULE_NAME_CHARS};
use crate::policy::{
    ClusterNetworkPolicy, ClusterPeer, ClusterProtocol, ClusterRule, ClusterSubject, ClusterTier,
};
use crate::rule::Action;
use crate::{Metadata, PortSpec, Problem, Protocol};

/// Reads a ClusterNetworkPolicy. One of which it is not known whom it selects, or where it stands, is
/// enforced nowhere.
pub(super) fn policy(
    root: &Node<'_>,
    metadata: Metadata,
    envelope_known: Read<()>,
    problems: &mut Problems,
) -> ClusterNetworkPolicy {
    const FIELDS: &[&str] = &["egress", "ingress", "priority", "subject", "tier"];
    let spec = super::spec(root);
    let known = spec.mapping(problems).is_ok()
        && !spec.has_unknown(FIELDS, problems)
        && envelope_known.is_ok();
    let tier = required(
        &spec,
        "tier",
        "Admin or Baseline",
        problems,
        |node, problems| {
            Ok(match node.one_of(&["Admin", "Baseline"], problems)? {
                "Admin" => ClusterTier::Admin,
                _ => ClusterTier::Baseline,
            })
        },
    );
    let expected = format!("0-{CLUSTER_PRIORITY}");
    let priority = required(&spec, "priority", &expected, problems, |node, problems| {
        node.integer(0, i64::from(CLUSTER_PRIORITY), problems)
    });
    let subject = required(&spec, "subject", "namespaces or pods", problems, subject);
    let ingress = rules(&spec, Direction::Ingress, problems);
    let egress = rules(&spec, Direction::Egress, problems);
    let sound = known && tier.is_ok() && priority.is_ok();
    ClusterNetworkPolicy {
        metadata,
        tier: tier.unwrap_or(ClusterTier::Admin),
        priority: priority.unwrap_or_default(),
        subject: subject
            .ok()
            .filter(|_| sound)
            .unwrap_or(ClusterSubject::Unreadable),
        ingress,
        egress,
    }
}

/// Reads a field that must be there.
fn required<T>(
    parent: &Node<'_>,
    name: &str,
    expected: &str,
    problems: &mut Problems,
    read: impl FnOnce(Node<'_>, &mut Problems) -> Read<T>,
) -> Read<T> {
    match parent.field(name) {
        Some(node) => read(node, problems),
        None => {
            let message = format!("missing: expected {expected}");
            Err(problems.error(&Path::Key(&parent.path, name), message))
        }
    }
}

fn subject(node: Node<'_>, problems: &mut Problems) -> Read<ClusterSubject> {
    Ok(match one_field(&node, &["namespaces", "pods"], problems)? {
        ("namespaces", value) => ClusterSubject::Namespaces(label_selector(value, problems)?),
        (_, value) => {
            let (namespace_selector, pod_selector) = namespaced_pods(value, problems)?;
            ClusterSubject::Pods {
                namespace_selector,
                pod_selector,
            }
        }
    })
}

/// The one field of a mapping that must have exactly one.
fn one_field<'a>(
    node: &'a Node<'a>,
    known: &'static [&'static str],
    problems: &mut Problems,
) -> Read<(&'static str, Node<'a>)> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(known, problems);
    let mut found = known
        .iter()
        .filter_map(|name| Some((*name, node.field(name)?)));
    match (found.next(), found.next()) {
        _ if unknown => Err(Unreadable),
        (Some(field), None) => Ok(field),
        _ => {
            let message = format!("expected exactly one of {}", known.join(", "));
            Err(problems.error(&node.path, message))
        }
    }
}

/// Selectors of namespaces and of pods; an empty one selects all, and that of namespaces may be
/// absent.
fn namespaced_pods(node: Node<'_>, problems: &mut Problems) -> Read<(Selector, Selector)> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["namespaceSelector", "podSelector"], problems);
    let namespaces = node.optional("namespaceSelector", problems, label_selector);
    let expected = "a label selector, {} for all";
    let pods = required(&node, "podSelector", expected, problems, label_selector);
    if unknown {
        return Err(Unreadable);
    }
    Ok((namespaces?.unwrap_or(Selector::All), pods?))
}

/// Reads `ingress` or `egress`. What cannot be read as a list of rules, and what is beyond the limit,
/// is one rule that denies.
fn rules(spec: &Node<'_>, direction: Direction, problems: &mut Problems) -> Vec<ClusterRule> {
    let Some(list) = spec.field(direction.field()) else {
        return Vec::new();
    };
    let last = |problems: &Problems| problems.0.last().cloned().into_iter().collect();
    let Ok(items) = list.items(problems) else {
        return vec![closed(last(problems))];
    };
    let within = items.iter().take(CLUSTER_ENTRIES).enumerate();
    let mut rules: Vec<ClusterRule> = within
        .map(|(index, value)| rule(list.item(index, value), direction, problems))
        .collect();
    if items.len() > CLUSTER_ENTRIES {
        let message = format!("{} rules: expected at most {CLUSTER_ENTRIES}", items.len());
        problems.error(&list.path, message);
        rules.push(closed(last(problems)));
    }
    rules
}

/// A rule that denies everything, because nothing of it is known.
fn closed(unreadable: Vec<Problem>) -> ClusterRule {
    ClusterRule {
        name: Arc::default(),
        action: Action::Deny,
        peers: Vec::new(),
        protocols: None,
        unreadable,
        unreadable_peers: true,
        unreadable_protocols: false,
    }
}

fn rule(node: Node<'_>, direction: Direction, problems: &mut Problems) -> ClusterRule {
    let mut found = Problems::default();
    let mut rule = match node.mapping(&mut found) {
        Ok(_) => parts(&node, direction, &mut found),
        Err(_) => closed(Vec::new()),
    };
    rule.unreadable = found.errors();
    let is_names = |peer: &ClusterPeer| matches!(peer, ClusterPeer::Domains(_));
    if rule.peers.iter().any(is_names) {
        let message = "no observer of names enforces domainNames yet: until one does, they match \
             nothing";
        let path = Path::Key(&node.path, peers_field(direction));
        let unenforced = Problem::warning(path.to_string(), message);
        rule.unreadable.push(unenforced.clone());
        found.0.push(unenforced);
    }
    problems.0.append(&mut found.0);
    rule
}

fn peers_field(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

fn parts(node: &Node<'_>, direction: Direction, problems: &mut Problems) -> ClusterRule {
    let peers_field = peers_field(direction);
    let unknown = node.has_unknown(&["action", "name", peers_field, "protocols"], problems);
    let action = action(node, problems);
    let name = node.lenient("name", problems, name);
    let (mut peers, peers_readable) = match node.field(peers_field) {
        Some(list) => entries(list, problems, |node, problems| {
            peer(node, direction, action, problems)
        }),
        None => {
            let message = format!("missing {peers_field}: expected 1-{CLUSTER_ENTRIES} peers");
            (Vec::new(), Err(problems.error(&node.path, message)))
        }
    };
    let (protocols, mut protocols_readable) = match node.field("protocols") {
        Some(list) => {
            let (read, readable) = entries(list, problems, protocol);
            (Some(read), readable)
        }
        None => (None, Ok(())),
    };
    let mut rule = ClusterRule {
        name: name.unwrap_or_default(),
        action,
        peers: Vec::new(),
        protocols,
        unreadable: Vec::new(),
        unreadable_peers: peers_readable.is_err(),
        unreadable_protocols: false,
    };
    if check_named_ports(node, &peers, &mut rule, problems).is_err() {
        protocols_readable = Err(Unreadable);
    }
    rule.unreadable_protocols = protocols_readable.is_err();
    if unknown {
        // What the rule is about is not known.
        peers.clear();
        rule.unreadable_peers = true;
    }
    rule.peers = peers;
    rule
}

/// Nodes, networks and names have no ports by name: such a rule loses its named ports.
fn check_named_ports(
    node: &Node<'_>,
    peers: &[ClusterPeer],
    rule: &mut ClusterRule,
    problems: &mut Problems,
) -> Read<()> {
    let nameless = peers.iter().any(|peer| {
        matches!(
            peer,
            ClusterPeer::Nodes(_) | ClusterPeer::Networks(_) | ClusterPeer::Domains(_)
        )
    });
    let Some(protocols) = &mut rule.protocols else {
        return Ok(());
    };
    let before = protocols.len();
    if nameless {
        protocols.retain(|protocol| !matches!(protocol, ClusterProtocol::Named(_)));
    }
    if protocols.len() == before {
        return Ok(());
    }
    let message = "expected no destinationNamedPort beside networks, nodes or domainNames, which have \
         no ports by name";
    Err(problems.error(&Path::Key(&node.path, "protocols"), message))
}

fn action(node: &Node<'_>, problems: &mut Problems) -> Action {
    let expected = "Accept, Deny or Pass";
    let read = required(node, "action", expected, problems, |node, problems| {
        Ok(match node.one_of(&["Accept", "Deny", "Pass"], problems)? {
            "Accept" => Action::Allow,
            "Pass" => Action::Pass,
            _ => Action::Deny,
        })
    });
    read.unwrap_or(Action::Deny)
}

fn name(node: Node<'_>, problems: &mut Problems) -> Read<Arc<str>> {
    let text = node.text(problems)?;
    if text.chars().count() > CLUSTER_RULE_NAME_CHARS {
        let expected = format!("at most {CLUSTER_RULE_NAME_CHARS} characters");
        return Err(node.expected(&expected, problems));
    }
    Ok(text.into())
}

/// Reads 1 to 25 entries: those that can be read, and whether all can.
fn entries<T>(
    list: Node<'_>,
    problems: &mut Problems,
    mut read: impl FnMut(Node<'_>, &mut Problems) -> Read<T>,
) -> (Vec<T>, Read<()>) {
    let Ok(items) = bounded(list, problems) else {
        return (Vec::new(), Err(Unreadable));
    };
    let mut entries = Vec::with_capacity(items.len());
    let mut readable = Ok(());
    for (index, value) in items.iter().enumerate() {
        match read(list.item(index, value), problems) {
            Ok(entry) => entries.push(entry),
            Err(unreadable) => readable = Err(unreadable),
        }
    }
    (entries, readable)
}

/// The items of a list of 1 to 25.
fn bounded<'a>(list: Node<'a>, problems: &mut Problems) -> Read<&'a [serde_json::Value]> {
    let items = list.items(problems)?;
    if items.is_empty() || items.len() > CLUSTER_ENTRIES {
        let message = format!("{} entries: expected 1-{CLUSTER_ENTRIES}", items.len());
        return Err(problems.error(&list.path, message));
    }
    Ok(items)
}

fn peer(
    node: Node<'_>,
    direction: Direction,
    action: Action,
    problems: &mut Problems,
) -> Read<ClusterPeer> {
    const INGRESS: &[&str] = &["namespaces", "pods"];
    const EGRESS: &[&str] = &["namespaces", "pods", "nodes", "networks", "domainNames"];
    let known = match direction {
        Direction::Ingress => INGRESS,
        Direction::Egress => EGRESS,
    };
    Ok(match one_field(&node, known, problems)? {
        ("namespaces", value) => ClusterPeer::Namespaces(label_selector(value, problems)?),
        ("nodes", value) => ClusterPeer::Nodes(label_selector(value, problems)?),
        ("networks", value) => ClusterPeer::Networks(networks(value, problems)?),
        ("domainNames", value) => {
            let names = all(value, problems, domain_name)?;
            if action != Action::Allow {
                let message = "expected domainNames only in a rule with action Accept";
                return Err(problems.error(&value.path, message));
            }
            ClusterPeer::Domains(names)
        }
        (_, value) => {
            let (namespace_selector, pod_selector) = namespaced_pods(value, problems)?;
            ClusterPeer::Pods {
                namespace_selector,
                pod_selector,
            }
        }
    })
}

/// Reads 1 to 25 entries, all of which must be readable.
fn all<T>(
    list: Node<'_>,
    problems: &mut Problems,
    read: impl FnMut(Node<'_>, &mut Problems) -> Read<T>,
) -> Read<Vec<T>> {
    let (entries, readable) = entries(list, problems, read);
    readable.map(|()| entries)
}

fn networks(list: Node<'_>, problems: &mut Problems) -> Read<Vec<IpNet>> {
    all(list, problems, cidr)
}

/// A domain name of at least two parts.
fn domain_name(node: Node<'_>, problems: &mut Problems) -> Read<Arc<str>> {
    let name = domain(node, problems)?;
    if name.strip_prefix("*.").unwrap_or(&name).contains('.') {
        Ok(name)
    } else {
        Err(node.expected(names::DOMAIN, problems))
    }
}

fn protocol(node: Node<'_>, problems: &mut Problems) -> Read<ClusterProtocol> {
    const KNOWN: &[&str] = &["tcp", "udp", "sctp", "destinationNamedPort"];
    let (name, value) = one_field(&node, KNOWN, problems)?;
    let protocol = match name {
        "tcp" => Protocol::TCP,
        "udp" => Protocol::UDP,
        "sctp" => Protocol::SCTP,
        _ => {
            let text = value.text(problems)?;
            if names::is_kube_port_name(text) {
                return Ok(ClusterProtocol::Named(text.into()));
            }
            let expected = "a port's name of at most 15 lower-case letters, digits and '-'";
            return Err(value.expected(expected, problems));
        }
    };
    // None at all may be one that a newer version of the API has, and this one does not know.
    let (_, port) = one_field(&value, &["destinationPort"], problems)?;
    Ok(ClusterProtocol::Ports(
        protocol,
        Some(self::port(port, problems)?),
    ))
}

fn port(node: Node<'_>, problems: &mut Problems) -> Read<PortSpec> {
    match one_field(&node, &["number", "range"], problems)? {
        ("number", number) => number.integer(1, 65_535, problems).map(PortSpec::single),
        (_, range) => self::range(range, problems),
    }
}

fn range(node: Node<'_>, problems: &mut Problems) -> Read<PortSpec> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["start", "end"], problems);
    let port = |node: Node<'_>, problems: &mut Problems| node.integer::<u16>(1, 65_535, problems);
    let first = required(&node, "start", "1-65535", problems, port);
    let last = required(&node, "end", "1-65535", problems, port);
    let (first, last) = (first?, last?);
    if unknown {
        return Err(Unreadable);
    }
    if first >= last {
        let message = format!("expected end after start {first}, not {last}");
        return Err(problems.error(&node.path, message));
    }
    Ok(PortSpec::Range { first, last })
}

#[cfg(test)]
pub(super) mod tests;
