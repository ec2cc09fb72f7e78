//! `networking.k8s.io/v1` NetworkPolicy.

use ipnet::IpNet;

use super::calico::{directions, staged_action};
use super::entity::net;
use super::names;
use super::node::{Node, Problems, Read, Unreadable};
use super::selector::label_selector;
use crate::policy::{KubePeer, KubePort, KubeRule, NetworkPolicy, Staged, Types};
use crate::{Metadata, PortSpec, Problem, Protocol};

/// Reads a NetworkPolicy of Kubernetes. It only allows, so what cannot be read is left out, and a
/// policy of which it is not known whom it selects closes its namespace.
pub(super) fn network_policy(
    root: &Node<'_>,
    metadata: Metadata,
    envelope_known: Read<()>,
    problems: &mut Problems,
) -> NetworkPolicy {
    const FIELDS: &[&str] = &["podSelector", "policyTypes", "ingress", "egress"];
    policy(root, metadata, envelope_known, FIELDS, problems)
}

/// Reads a StagedKubernetesNetworkPolicy.
pub(super) fn staged(
    root: &Node<'_>,
    metadata: Metadata,
    envelope_known: Read<()>,
    problems: &mut Problems,
) -> Staged<NetworkPolicy> {
    const FIELDS: &[&str] = &[
        "podSelector",
        "policyTypes",
        "ingress",
        "egress",
        "stagedAction",
    ];
    Staged {
        action: staged_action(&super::spec(root), problems),
        policy: policy(root, metadata, envelope_known, FIELDS, problems),
    }
}

fn policy(
    root: &Node<'_>,
    metadata: Metadata,
    envelope_known: Read<()>,
    fields: &[&str],
    problems: &mut Problems,
) -> NetworkPolicy {
    let spec = super::spec(root);
    let known = spec.mapping(problems).is_ok()
        && !spec.has_unknown(fields, problems)
        && envelope_known.is_ok();
    let pod_selector = spec.optional("podSelector", problems, label_selector);
    let ingress = rules(&spec, "ingress", "from", problems);
    let egress = rules(&spec, "egress", "to", problems);
    let types = match spec.optional("policyTypes", problems, directions) {
        Ok(Some(types)) => types,
        Ok(None) if known => Types {
            ingress: true,
            egress: !egress.is_empty(),
        },
        _ => Types {
            ingress: true,
            egress: true,
        },
    };
    let pod_selector =
        pod_selector.map(|selector| selector.unwrap_or(ocicat_selector::Selector::All));
    NetworkPolicy {
        metadata,
        pod_selector: pod_selector.ok().filter(|_| known),
        types,
        ingress,
        egress,
    }
}

/// Reads `ingress` or `egress`. A list that cannot be read is one rule that matches nothing, so
/// that the direction counts as having rules.
fn rules(spec: &Node<'_>, direction: &str, peers: &str, problems: &mut Problems) -> Vec<KubeRule> {
    let Some(list) = spec.field(direction) else {
        return Vec::new();
    };
    match list.items(problems) {
        Ok(items) => {
            let each = items.iter().enumerate();
            each.map(|(index, value)| rule(list.item(index, value), peers, problems))
                .collect()
        }
        Err(_) => vec![nothing(problems.0.last().cloned().into_iter().collect())],
    }
}

/// A rule that matches nothing.
fn nothing(unreadable: Vec<Problem>) -> KubeRule {
    KubeRule {
        peers: Some(Vec::new()),
        ports: None,
        unreadable,
    }
}

fn rule(node: Node<'_>, peers: &str, problems: &mut Problems) -> KubeRule {
    let mut found = Problems::default();
    let known =
        node.mapping(&mut found).is_ok() && !node.has_unknown(&[peers, "ports"], &mut found);
    // Read in any case, so that all mistakes are said.
    let read = KubeRule {
        peers: entries(&node, peers, &mut found, peer),
        ports: entries(&node, "ports", &mut found, port),
        unreadable: Vec::new(),
    };
    let mut rule = if known { read } else { nothing(Vec::new()) };
    rule.unreadable = found.errors();
    problems.0.append(&mut found.0);
    rule
}

/// Reads a list of peers or ports: `None` where it is absent or empty, which means all; entries
/// that cannot be read are left out, and a list that cannot be read has none.
fn entries<T>(
    rule: &Node<'_>,
    name: &str,
    problems: &mut Problems,
    read: impl FnMut(Node<'_>, &mut Problems) -> Read<T>,
) -> Option<Vec<T>> {
    let list = rule.field(name)?;
    if list.value.as_array().is_some_and(Vec::is_empty) {
        return None;
    }
    Some(rule.each(name, problems, read))
}

fn peer(node: Node<'_>, problems: &mut Problems) -> Read<KubePeer> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["ipBlock", "namespaceSelector", "podSelector"], problems);
    let block = node.optional("ipBlock", problems, ip_block);
    let namespace_selector = node.optional("namespaceSelector", problems, label_selector);
    let pod_selector = node.optional("podSelector", problems, label_selector);
    match (block?, namespace_selector?, pod_selector?) {
        _ if unknown => Err(Unreadable),
        (Some(block), None, None) => Ok(block),
        (Some(_), ..) => {
            let message = "expected ipBlock alone, or selectors without it";
            Err(problems.error(&node.path, message))
        }
        (None, None, None) => {
            let message = "an empty peer: expected ipBlock, namespaceSelector or podSelector";
            Err(problems.error(&node.path, message))
        }
        (None, namespace_selector, pod_selector) => Ok(KubePeer::Pods {
            namespace_selector,
            pod_selector,
        }),
    }
}

fn ip_block(node: Node<'_>, problems: &mut Problems) -> Read<KubePeer> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["cidr", "except"], problems);
    let Some(cidr) = node.optional("cidr", problems, cidr)? else {
        return Err(problems.error(
            &node.path,
            "missing cidr: expected a CIDR such as 10.0.0.0/8",
        ));
    };
    let except = node.optional("except", problems, |list, problems| {
        list.all(usize::MAX, problems, |node, problems| {
            exception(node, &cidr, problems)
        })
    })?;
    if unknown {
        return Err(Unreadable);
    }
    Ok(KubePeer::IpBlock {
        cidr,
        except: except.unwrap_or_default(),
    })
}

/// A CIDR; unlike in Calico, never a plain address.
pub(super) fn cidr(node: Node<'_>, problems: &mut Problems) -> Read<IpNet> {
    let cidr = net(node, problems)?;
    match node.value.as_str() {
        Some(text) if !text.contains('/') => Err(node.expected("a CIDR, with '/'", problems)),
        _ => Ok(cidr),
    }
}

fn exception(node: Node<'_>, block: &IpNet, problems: &mut Problems) -> Read<IpNet> {
    let net = cidr(node, problems)?;
    if block.contains(&net) && net != *block {
        Ok(net)
    } else {
        Err(problems.error(
            &node.path,
            format!("{net}: expected a part of {block}, and not all"),
        ))
    }
}

fn port(node: Node<'_>, problems: &mut Problems) -> Read<KubePort> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["port", "endPort", "protocol"], problems);
    let protocol = node.optional("protocol", problems, |node, problems| {
        match node.value.as_str() {
            Some("TCP") => Ok(Protocol::TCP),
            Some("UDP") => Ok(Protocol::UDP),
            Some("SCTP") => Ok(Protocol::SCTP),
            _ => Err(node.expected("TCP, UDP or SCTP", problems)),
        }
    });
    let port = node.optional("port", problems, number_or_name);
    let end = node.optional("endPort", problems, |node, problems| {
        node.integer::<u16>(1, 65_535, problems)
    });
    let (protocol, port, end) = (protocol?, port?, end?);
    if unknown {
        return Err(Unreadable);
    }
    let port = match (port, end) {
        (port, None) => port,
        (Some(PortSpec::Range { first, .. }), Some(last)) if first <= last => {
            Some(PortSpec::Range { first, last })
        }
        (Some(PortSpec::Range { first, .. }), Some(last)) => {
            let message = format!("endPort {last}: expected at least port, {first}");
            return Err(problems.error(&node.path, message));
        }
        _ => {
            let message = "endPort: expected only beside a port that is a number";
            return Err(problems.error(&node.path, message));
        }
    };
    Ok(KubePort {
        protocol: protocol.unwrap_or(Protocol::TCP),
        port,
    })
}

pub(super) fn number_or_name(node: Node<'_>, problems: &mut Problems) -> Read<PortSpec> {
    if node.value.is_number() {
        return node.integer(1, 65_535, problems).map(PortSpec::single);
    }
    match node.value.as_str() {
        Some(text) if names::is_kube_port_name(text) => Ok(PortSpec::Name(text.into())),
        _ => Err(node.expected(
            "a port 1-65535, or a port's name of at most 15 lower-case letters, digits and '-'",
            problems,
        )),
    }
}

#[cfg(test)]
mod tests;
