//! Rules of the `projectcalico.org/v3` policy kinds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entity::{PortsOf, Side, check_families, entity};
use super::http::http;
use super::meta;
use super::node::{Node, Path, Problems, Read, Unreadable};
use crate::limits::RULES;
use crate::rule::{Action, Icmp, Rule};
use crate::{Family, Problem, Protocol};

const KNOWN: &[&str] = &[
    "action",
    "destination",
    "http",
    "icmp",
    "ipVersion",
    "metadata",
    "notICMP",
    "notProtocol",
    "protocol",
    "source",
];

/// Which of the two lists of rules a rule stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    /// The field of the list.
    pub fn field(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// Where a rule stands: what some of its fields depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub direction: Direction,
    /// Of the policy; `None` for policies and profiles that have none.
    pub namespace: Option<&'a Arc<str>>,
}

/// Reads `ingress` or `egress`. What cannot be read as a list of rules, and what is beyond the
/// limit, is one rule that denies.
pub(super) fn rules(spec: &Node<'_>, place: Place<'_>, problems: &mut Problems) -> Vec<Rule> {
    let Some(list) = spec.field(place.direction.field()) else {
        return Vec::new();
    };
    let Ok(items) = list.items(problems) else {
        return vec![closed(problems.0.last().cloned().into_iter().collect())];
    };
    let within = items.iter().take(RULES).enumerate();
    let mut rules: Vec<Rule> = within
        .map(|(index, value)| rule(list.item(index, value), place, problems))
        .collect();
    if items.len() > RULES {
        let message = format!("{} rules: expected at most {RULES}", items.len());
        problems.error(&list.path, message);
        rules.push(closed(problems.0.last().cloned().into_iter().collect()));
    }
    rules
}

/// A rule that denies everything, because nothing of it is known.
pub(super) fn closed(unreadable: Vec<Problem>) -> Rule {
    Rule {
        unreadable,
        ..Rule::of(Action::Deny)
    }
}

fn rule(node: Node<'_>, place: Place<'_>, problems: &mut Problems) -> Rule {
    let mut found = Problems::default();
    let mut rule = parts(&node, place, &mut found);
    rule.unreadable = found.errors();
    rule.unreadable.extend(unenforced(&node, &rule));
    found.0.extend(unenforced(&node, &rule));
    problems.0.append(&mut found.0);
    rule
}

/// What of a rule is understood and enforced by nothing yet.
fn unenforced(node: &Node<'_>, rule: &Rule) -> Vec<Problem> {
    let mut found = Problems::default();
    if rule.http.is_some() {
        let message =
            "no layer-7 proxy enforces this yet: until one does, the rule matches nothing";
        found.warning(&Path::Key(&node.path, "http"), message);
    }
    if !rule.destination.domains.is_empty() {
        let side = Path::Key(&node.path, "destination");
        let message = "no observer of names enforces this yet: until one does, the rule matches \
             nothing";
        found.warning(&Path::Key(&side, "domains"), message);
    }
    found.0
}

fn parts(node: &Node<'_>, place: Place<'_>, problems: &mut Problems) -> Rule {
    if node.mapping(problems).is_err() {
        return closed(Vec::new());
    }
    node.has_unknown(KNOWN, problems);
    let protocol = node.optional("protocol", problems, protocol);
    let ports_of = match protocol {
        Err(_) => PortsOf::Unknown,
        Ok(Some(protocol)) if protocol.has_ports() => PortsOf::Protocol(protocol),
        Ok(_) => PortsOf::None,
    };
    let action = action(node, problems);
    let http = http(node, place.direction, action, protocol, problems);
    let side = |name| Side {
        name,
        place,
        action,
        ports_of,
    };
    let mut rule = Rule {
        action,
        ip_version: node.lenient("ipVersion", problems, ip_version),
        protocol: protocol.unwrap_or_default(),
        not_protocol: node.lenient("notProtocol", problems, self::protocol),
        icmp: node.lenient("icmp", problems, icmp),
        not_icmp: node.lenient("notICMP", problems, icmp),
        source: entity(node, side("source"), problems),
        destination: entity(node, side("destination"), problems),
        http,
        annotations: annotations(node, problems),
        unreadable: Vec::new(),
    };
    check_icmp(node, &mut rule, ports_of, problems);
    check_families(
        node,
        rule.ip_version,
        &mut rule.source,
        &mut rule.destination,
        problems,
    );
    rule
}

fn action(node: &Node<'_>, problems: &mut Problems) -> Action {
    let Some(action) = node.field("action") else {
        problems.error(
            &node.path,
            "missing action: expected Allow, Deny, Log or Pass",
        );
        return Action::Deny;
    };
    match action.value.as_str() {
        Some("Allow") => Action::Allow,
        Some("Deny") => Action::Deny,
        Some("Log") => Action::Log,
        Some("Pass") => Action::Pass,
        _ => {
            action.expected("Allow, Deny, Log or Pass", problems);
            Action::Deny
        }
    }
}

fn ip_version(node: Node<'_>, problems: &mut Problems) -> Read<Family> {
    match node.value.as_i64() {
        Some(4) => Ok(Family::Ipv4),
        Some(6) => Ok(Family::Ipv6),
        _ => Err(node.expected("4 or 6", problems)),
    }
}

/// A name or a number.
pub(super) fn protocol(node: Node<'_>, problems: &mut Problems) -> Read<Protocol> {
    let text = match node.value {
        serde_json::Value::Number(number) => number.to_string(),
        _ => node.text(problems)?.to_owned(),
    };
    text.parse()
        .map_err(|error: crate::net::ParseNetError| problems.error(&node.path, error.0))
}

fn icmp(node: Node<'_>, problems: &mut Problems) -> Read<Icmp> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["type", "code"], problems);
    let icmp_type = node.optional("type", problems, |node, problems| {
        node.integer::<u8>(0, 254, problems)
    });
    let code = node.optional("code", problems, |node, problems| {
        node.integer::<u8>(0, 255, problems)
    });
    let (icmp_type, code) = (icmp_type?, code?);
    if unknown {
        return Err(Unreadable);
    }
    if code.is_some() && icmp_type.is_none() {
        return Err(problems.error(
            &node.path,
            "code without type: expected both, or type alone",
        ));
    }
    Ok(Icmp { icmp_type, code })
}

/// `icmp` needs protocol ICMP or ICMPv6, and those are of one family each.
fn check_icmp(node: &Node<'_>, rule: &mut Rule, ports_of: PortsOf, problems: &mut Problems) {
    let is_icmp = matches!(rule.protocol, Some(Protocol::ICMP | Protocol::ICMPV6));
    if rule.icmp.is_some() && !is_icmp && ports_of != PortsOf::Unknown {
        let message = "expected protocol ICMP or ICMPv6 in a rule with icmp";
        problems.error(&Path::Key(&node.path, "icmp"), message);
        rule.icmp = None;
    }
    for protocol in [rule.protocol, rule.not_protocol].into_iter().flatten() {
        let family = match protocol {
            Protocol::ICMP => Family::Ipv4,
            Protocol::ICMPV6 => Family::Ipv6,
            _ => continue,
        };
        if rule.ip_version.is_some_and(|given| given != family) {
            let message = format!("expected {family}: {protocol} is of that family alone");
            problems.error(&Path::Key(&node.path, "ipVersion"), message);
            rule.ip_version = None;
        }
    }
}

/// `metadata.annotations`: for people to read.
fn annotations(node: &Node<'_>, problems: &mut Problems) -> BTreeMap<Arc<str>, Arc<str>> {
    let Some(metadata) = node.field("metadata") else {
        return BTreeMap::new();
    };
    if metadata.mapping(problems).is_err() {
        return BTreeMap::new();
    }
    metadata.has_unknown(&["annotations"], problems);
    meta::annotations(&metadata, problems)
}

#[cfg(test)]
pub(super) mod tests;
