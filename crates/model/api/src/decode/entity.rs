//! `source` and `destination` of a Calico rule.

use std::sync::Arc;

use ipnet::IpNet;

use super::meta::shared;
use super::names;
use super::node::{Node, Path, Problems, Read, Unreadable};
use super::rule::{Direction, Place};
use super::selector;
use crate::limits::{DOMAINS, NETS, PORTS};
use crate::net::parse_net;
use crate::rule::{Action, EntityRule, ServiceAccountMatch, ServiceMatch};
use crate::{PortSpec, Protocol};

const KNOWN: &[&str] = &[
    "domains",
    "namespaceSelector",
    "nets",
    "notNets",
    "notPorts",
    "notSelector",
    "ports",
    "selector",
    "serviceAccounts",
    "services",
];

/// Whether the rule's protocol lets it ask for ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PortsOf {
    /// TCP, UDP or SCTP.
    Protocol(Protocol),
    /// Another protocol, or none.
    None,
    /// The protocol could not be read; that has been noted.
    Unknown,
}

/// `source` or `destination`, and what its fields depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side<'a> {
    pub name: &'static str,
    pub place: Place<'a>,
    pub action: Action,
    pub ports_of: PortsOf,
}

/// Reads `source` or `destination`; an absent one asks nothing. Each part that cannot be read is
/// left out as a whole and noted.
pub(super) fn entity(rule: &Node<'_>, side: Side<'_>, problems: &mut Problems) -> EntityRule {
    let ports_of = side.ports_of;
    let Some(node) = rule.field(side.name) else {
        return EntityRule::default();
    };
    if node.mapping(problems).is_err() {
        return EntityRule::default();
    }
    node.has_unknown(KNOWN, problems);
    EntityRule {
        nets: nets(&node, "nets", problems),
        not_nets: nets(&node, "notNets", problems),
        selector: selector::optional_without_global(&node, "selector", problems)
            .unwrap_or_default(),
        not_selector: selector::optional_without_global(&node, "notSelector", problems)
            .unwrap_or_default(),
        namespace_selector: selector::optional(&node, "namespaceSelector", problems)
            .unwrap_or_default(),
        service_accounts: node.lenient("serviceAccounts", problems, service_accounts),
        ports: ports(&node, "ports", ports_of, problems),
        not_ports: ports(&node, "notPorts", ports_of, problems),
        service: services(&node, side, problems),
        domains: domains(&node, side, problems),
    }
}

/// What a rule cannot ask for together with `services`.
const NOT_WITH_SERVICES: &[&str] = &[
    "selector",
    "notSelector",
    "namespaceSelector",
    "serviceAccounts",
    "nets",
    "notNets",
    "ports",
    "notPorts",
    "domains",
];

/// Reads `services`: in the destination of an egress rule, or the source of an ingress rule.
fn services(entity: &Node<'_>, side: Side<'_>, problems: &mut Problems) -> Option<ServiceMatch> {
    let node = entity.field("services")?;
    let read = service(node, side.place, problems);
    let (place, other) = match side.place.direction {
        Direction::Ingress => ("source", "the source of an ingress rule"),
        Direction::Egress => ("destination", "the destination of an egress rule"),
    };
    if side.name != place {
        let message = format!("expected services only in {other}");
        problems.error(&node.path, message);
        return None;
    }
    let is_asked = |name: &&str| {
        let field = entity.field(name);
        field.is_some_and(|field| !is_empty(field.value))
    };
    if NOT_WITH_SERVICES.iter().any(is_asked) {
        let message =
            "expected services without selectors, serviceAccounts, nets, ports and domains";
        problems.error(&node.path, message);
        return None;
    }
    read.ok()
}

/// As good as absent: an empty text or list.
fn is_empty(value: &serde_json::Value) -> bool {
    value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty)
}

fn service(node: Node<'_>, place: Place<'_>, problems: &mut Problems) -> Read<ServiceMatch> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["name", "namespace"], problems);
    let name = match node.field("name") {
        None => Err(problems.error(&node.path, "missing name: expected the name of a service")),
        Some(name) => match name.text(problems) {
            Ok(text) if names::is_rfc1123_subdomain(text) => Ok(text.into()),
            Ok(_) => Err(name.expected(names::RFC1123_SUBDOMAIN, problems)),
            Err(unreadable) => Err(unreadable),
        },
    };
    let given = node.optional("namespace", problems, |node, problems| {
        let text = node.text(problems)?;
        if text.is_empty() || names::is_rfc1123_label(text) {
            Ok((!text.is_empty()).then(|| text.into()))
        } else {
            Err(node.expected(names::RFC1123_LABEL, problems))
        }
    })?;
    let namespace = match (given.flatten(), place.namespace) {
        (Some(namespace), _) => namespace,
        (None, Some(namespace)) => Arc::clone(namespace),
        (None, None) => {
            let message = "missing namespace: expected the namespace of the service";
            return Err(problems.error(&node.path, message));
        }
    };
    if unknown {
        return Err(Unreadable);
    }
    Ok(ServiceMatch {
        namespace,
        name: name?,
    })
}

/// Reads `domains`: in the destination of an egress rule that allows.
fn domains(entity: &Node<'_>, side: Side<'_>, problems: &mut Problems) -> Vec<Arc<str>> {
    let Some(node) = entity.field("domains") else {
        return Vec::new();
    };
    if node.value.as_array().is_some_and(Vec::is_empty) {
        return Vec::new();
    }
    let read = node.all(DOMAINS, problems, domain);
    if (side.name, side.place.direction) != ("destination", Direction::Egress) {
        let message = "expected domains only in the destination of an egress rule";
        problems.error(&node.path, message);
        return Vec::new();
    }
    if side.action != Action::Allow {
        let message = "expected domains only in a rule with action Allow";
        problems.error(&node.path, message);
        return Vec::new();
    }
    read.unwrap_or_default()
}

/// A domain name, in lower case and without the last dot.
pub(super) fn domain(node: Node<'_>, problems: &mut Problems) -> Read<Arc<str>> {
    let text = node.text(problems)?;
    if !names::is_domain_name(text) {
        return Err(node.expected(names::DOMAIN, problems));
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    Ok(text.to_ascii_lowercase().into())
}

fn nets(entity: &Node<'_>, name: &str, problems: &mut Problems) -> Vec<IpNet> {
    let read = |list: Node<'_>, problems: &mut Problems| {
        list.all(NETS, problems, |node, problems| {
            let net = net(node, problems)?;
            if name == "notNets" && net.prefix_len() == 0 {
                let message = format!("{net}: expected a net that is not everything");
                return Err(problems.error(&node.path, message));
            }
            Ok(net)
        })
    };
    entity.lenient(name, problems, read).unwrap_or_default()
}

/// A CIDR or an address.
pub(super) fn net(node: Node<'_>, problems: &mut Problems) -> Read<IpNet> {
    let text = node.text(problems)?;
    parse_net(text).map_err(|error| problems.error(&node.path, error.0))
}

fn ports(entity: &Node<'_>, name: &str, of: PortsOf, problems: &mut Problems) -> Vec<PortSpec> {
    let read = |list: Node<'_>, problems: &mut Problems| {
        let read = list.all(PORTS, problems, port);
        match of {
            PortsOf::None if !is_empty(list.value) => {
                let message = "expected protocol TCP, UDP or SCTP in a rule with ports";
                Err(problems.error(&list.path, message))
            }
            PortsOf::Unknown => Err(Unreadable),
            _ => read,
        }
    };
    entity.lenient(name, problems, read).unwrap_or_default()
}

/// A number, a range `a:b`, or a name.
fn port(node: Node<'_>, problems: &mut Problems) -> Read<PortSpec> {
    if node.value.is_number() {
        return node.integer(0, 65_535, problems).map(PortSpec::single);
    }
    let text = node.text(problems)?;
    let mut error = |message: String| Err(problems.error(&node.path, message));
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<u16>())
    };
    if let Some((first, last)) = text.split_once(':') {
        return match (number(first), number(last)) {
            (Some(Ok(first)), Some(Ok(last))) if first <= last => {
                Ok(PortSpec::Range { first, last })
            }
            (Some(Ok(first)), Some(Ok(last))) => error(format!(
                "{text}: expected a range that ends at or after {first}, not at {last}"
            )),
            _ => error(format!(
                "{text:?}: expected a range of ports such as 8000:8080, within 0-65535"
            )),
        };
    }
    match number(text) {
        Some(Ok(port)) => Ok(PortSpec::single(port)),
        Some(Err(_)) if !text.is_empty() => error(format!("{text}: expected 0-65535")),
        _ if names::is_calico_port_name(text) => Ok(PortSpec::Name(text.into())),
        _ => error(format!(
            "{text:?}: expected a port 0-65535, a range a:b or a port's name"
        )),
    }
}

fn service_accounts(node: Node<'_>, problems: &mut Problems) -> Read<ServiceAccountMatch> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["names", "selector"], problems);
    let names = node.optional("names", problems, |list, problems| {
        list.all(usize::MAX, problems, shared)
    });
    let selector = selector::optional_without_global(&node, "selector", problems);
    if unknown {
        return Err(Unreadable);
    }
    Ok(ServiceAccountMatch {
        names: names?.unwrap_or_default(),
        selector: selector?,
    })
}

/// All CIDRs of a rule are of one family, that of `ipVersion` if it is given. Those that are not
/// are left out and noted.
pub(super) fn check_families(
    rule: &Node<'_>,
    ip_version: Option<crate::Family>,
    source: &mut EntityRule,
    destination: &mut EntityRule,
    problems: &mut Problems,
) {
    let mut family = ip_version;
    let lists = [
        ("source", "nets", &mut source.nets),
        ("source", "notNets", &mut source.not_nets),
        ("destination", "nets", &mut destination.nets),
        ("destination", "notNets", &mut destination.not_nets),
    ];
    for (side, name, nets) in lists {
        let Some(first) = nets.first() else { continue };
        let expected = *family.get_or_insert(crate::Family::of(first));
        let Some(index) = nets
            .iter()
            .position(|net| crate::Family::of(net) != expected)
        else {
            continue;
        };
        let side = Path::Key(&rule.path, side);
        let list = Path::Key(&side, name);
        let reason = match ip_version {
            Some(_) => "as ipVersion says",
            None => "as the first CIDR of the rule",
        };
        let message = format!("{}: expected {expected}, {reason}", nets[index]);
        problems.error(&Path::Item(&list, index), message);
        nets.clear();
    }
}
