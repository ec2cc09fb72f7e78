//! `source` and `destination` of a Calico rule.

use ipnet::IpNet;

use super::meta::shared;
use super::names;
use super::node::{Node, Path, Problems, Read, Unreadable};
use super::selector;
use crate::limits::{NETS, PORTS};
use crate::net::parse_net;
use crate::rule::{EntityRule, ServiceAccountMatch};
use crate::{PortSpec, Protocol};

const KNOWN: &[&str] = &[
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

/// Reads `source` or `destination`; an absent one asks nothing. Each part that cannot be read is
/// left out as a whole and noted.
pub(super) fn entity(
    rule: &Node<'_>,
    name: &str,
    ports_of: PortsOf,
    problems: &mut Problems,
) -> EntityRule {
    let Some(node) = rule.field(name) else {
        return EntityRule::default();
    };
    if node.mapping(problems).is_err() {
        return EntityRule::default();
    }
    node.has_unknown(KNOWN, problems);
    if let Some(services) = node.field("services") {
        let message = "service matches are not supported yet; the rule fails closed";
        problems.error(&services.path, message);
    }
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
        service: None,
        domains: Vec::new(),
    }
}

fn nets(entity: &Node<'_>, name: &str, problems: &mut Problems) -> Vec<IpNet> {
    let read = |list: Node<'_>, problems: &mut Problems| {
        let items = bounded(list, NETS, problems)?;
        let mut nets = Vec::with_capacity(items.len());
        let mut outcome = Ok(());
        for (index, value) in items.iter().enumerate() {
            match net(list.item(index, value), problems) {
                Ok(net) if name == "notNets" && net.prefix_len() == 0 => {
                    let message = format!("{net}: expected a net that is not everything");
                    outcome = Err(problems.error(&list.item(index, value).path, message));
                }
                Ok(net) => nets.push(net),
                Err(unreadable) => outcome = Err(unreadable),
            }
        }
        outcome.map(|()| nets)
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
        let items = bounded(list, PORTS, problems)?;
        let mut ports = Vec::with_capacity(items.len());
        let mut outcome = Ok(());
        for (index, value) in items.iter().enumerate() {
            match port(list.item(index, value), problems) {
                Ok(port) => ports.push(port),
                Err(unreadable) => outcome = Err(unreadable),
            }
        }
        match of {
            PortsOf::None if !items.is_empty() => {
                let message = "expected protocol TCP, UDP or SCTP in a rule with ports";
                Err(problems.error(&list.path, message))
            }
            PortsOf::Unknown => Err(Unreadable),
            _ => outcome.map(|()| ports),
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
        let items = list.items(problems)?.iter().enumerate();
        items
            .map(|(index, value)| shared(list.item(index, value), problems))
            .collect()
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

/// The items of a list of at most `limit`.
fn bounded<'a>(
    list: Node<'a>,
    limit: usize,
    problems: &mut Problems,
) -> Read<&'a [serde_json::Value]> {
    let items = list.items(problems)?;
    if items.len() > limit {
        let message = format!("{} entries: expected at most {limit}", items.len());
        return Err(problems.error(&list.path, message));
    }
    Ok(items)
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
