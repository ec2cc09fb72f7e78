//! Policies, tiers, sets and profiles of `projectcalico.org/v3`.

use std::sync::Arc;

use super::entity::net;
use super::meta::{check_label, strings};
use super::names;
use super::node::{Node, Problems, Read};
use super::rule::{closed, rules};
use super::selector;
use crate::policy::{CalicoPolicy, NetworkSet, PolicyStage, Profile, Subject, Tier, Types};
use crate::rule::{Action, Rule};
use crate::{Kind, Metadata};

/// Name of the tier of policies that name none.
const DEFAULT_TIER: &str = "default";

/// Tiers that always exist, and are as Calico has them whatever an object says.
const FIXED_TIERS: [(&str, f64, Action); 3] = [
    ("kube-admin", 1_000.0, Action::Pass),
    ("default", 1_000_000.0, Action::Deny),
    ("kube-baseline", 10_000_000.0, Action::Pass),
];

const POLICY_FIELDS: &[&str] = &[
    "egress",
    "ingress",
    "order",
    "performanceHints",
    "selector",
    "serviceAccountSelector",
    "tier",
    "types",
];

const GLOBAL_POLICY_FIELDS: &[&str] = &[
    "applyOnForward",
    "doNotTrack",
    "egress",
    "ingress",
    "namespaceSelector",
    "order",
    "performanceHints",
    "preDNAT",
    "selector",
    "serviceAccountSelector",
    "tier",
    "types",
];

/// What of a policy could be read so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    Known,
    /// A field that nobody knows may say whom the policy selects, or in which directions.
    Unknown,
}

/// Reads a NetworkPolicy or GlobalNetworkPolicy.
pub(super) fn policy(
    kind: Kind,
    root: &Node<'_>,
    metadata: Metadata,
    envelope_known: Read<()>,
    problems: &mut Problems,
) -> CalicoPolicy {
    let global = kind == Kind::GlobalNetworkPolicy;
    let fields = if global {
        GLOBAL_POLICY_FIELDS
    } else {
        POLICY_FIELDS
    };
    let spec = super::spec(root);
    let mut whole = if envelope_known.is_ok() {
        Whole::Known
    } else {
        Whole::Unknown
    };
    if spec.mapping(problems).is_err() || spec.has_unknown(fields, problems) {
        whole = Whole::Unknown;
    }
    let ingress = rules(&spec, "ingress", problems);
    let egress = rules(&spec, "egress", problems);
    let types = types(&spec, &ingress, &egress, whole, problems);
    check_performance_hints(&spec, problems);
    let stage = if global {
        stage(&spec, &egress, types, problems)
    } else {
        Ok(PolicyStage::Normal)
    };
    let order = order(&spec, problems);
    let tier = spec.optional("tier", problems, tier_name);
    let mut subject = subject(&spec, problems);
    if whole == Whole::Unknown || order.is_err() || tier.is_err() || stage.is_err() {
        subject = Subject::Unreadable;
    }
    CalicoPolicy {
        metadata,
        tier: tier.ok().flatten().unwrap_or_else(|| DEFAULT_TIER.into()),
        order: order.unwrap_or_default(),
        subject,
        types,
        ingress,
        egress,
        stage: stage.unwrap_or_default(),
    }
}

fn subject(spec: &Node<'_>, problems: &mut Problems) -> Subject {
    let selector = selector::optional_without_global(spec, "selector", problems);
    let namespace = selector::namespaces_governed(spec, problems);
    let account = selector::optional_without_global(spec, "serviceAccountSelector", problems);
    match (selector, namespace, account) {
        (Ok(selector), Ok(namespace_selector), Ok(service_account_selector)) => {
            Subject::Selectors {
                selector: selector.unwrap_or(ocicat_selector::Selector::All),
                namespace_selector,
                service_account_selector,
            }
        }
        _ => Subject::Unreadable,
    }
}

/// `types`, or the default: Ingress if there are no egress rules, Egress if only egress rules, both
/// if both. What cannot be read closes both directions.
fn types(
    spec: &Node<'_>,
    ingress: &[Rule],
    egress: &[Rule],
    whole: Whole,
    problems: &mut Problems,
) -> Types {
    const BOTH: Types = Types {
        ingress: true,
        egress: true,
    };
    match spec.optional("types", problems, |list, problems| {
        directions(list, problems)
    }) {
        Ok(Some(types)) => types,
        Ok(None) if whole == Whole::Known => Types {
            ingress: !ingress.is_empty() || egress.is_empty(),
            egress: !egress.is_empty(),
        },
        _ => BOTH,
    }
}

/// A list of Ingress and Egress: one or both, each once.
pub(super) fn directions(list: Node<'_>, problems: &mut Problems) -> Read<Types> {
    let mut types = Types {
        ingress: false,
        egress: false,
    };
    let items = list.items(problems)?;
    if items.is_empty() {
        return Err(list.expected("Ingress, Egress or both in it", problems));
    }
    for (index, value) in items.iter().enumerate() {
        let item = list.item(index, value);
        let direction = match value.as_str() {
            Some("Ingress") => &mut types.ingress,
            Some("Egress") => &mut types.egress,
            _ => return Err(item.expected("Ingress or Egress", problems)),
        };
        if std::mem::replace(direction, true) {
            return Err(item.expected("each direction once", problems));
        }
    }
    Ok(types)
}

fn order(spec: &Node<'_>, problems: &mut Problems) -> Read<Option<f64>> {
    spec.optional("order", problems, |node, problems| {
        match node.value.as_f64() {
            Some(order) if order.is_finite() => Ok(order),
            _ => Err(node.expected("a number", problems)),
        }
    })
}

fn tier_name(node: Node<'_>, problems: &mut Problems) -> Read<Arc<str>> {
    let text = node.text(problems)?;
    if text.is_empty() {
        return Ok(DEFAULT_TIER.into());
    }
    if !names::is_rfc1123_subdomain(text) {
        return Err(node.expected(names::RFC1123_SUBDOMAIN, problems));
    }
    Ok(text.into())
}

fn check_performance_hints(spec: &Node<'_>, problems: &mut Problems) {
    spec.each("performanceHints", problems, |hint, problems| {
        match hint.value.as_str() {
            Some("AssumeNeededOnEveryNode") => Ok(()),
            _ => Err(hint.expected("AssumeNeededOnEveryNode", problems)),
        }
    });
}

/// Where a GlobalNetworkPolicy judges the packets of host endpoints, which are not supported yet.
fn stage(
    spec: &Node<'_>,
    egress: &[Rule],
    types: Types,
    problems: &mut Problems,
) -> Read<PolicyStage> {
    let mut flag = |name: &str| {
        let read = spec.optional(name, problems, Node::boolean);
        read.map(Option::unwrap_or_default)
    };
    let (untracked, pre_dnat) = (flag("doNotTrack"), flag("preDNAT"));
    let forward = flag("applyOnForward");
    for (name, set) in [("doNotTrack", untracked), ("preDNAT", pre_dnat)] {
        let Some(field) = spec.field(name).filter(|_| set == Ok(true)) else {
            continue;
        };
        let message = "concerns only host endpoints, which are not supported yet; \
             the policy has no effect";
        problems.warning(&field.path, message);
        if forward == Ok(false) {
            let message = format!("{name} without applyOnForward: expected applyOnForward: true");
            problems.error(&field.path, message);
        }
    }
    if let Some(field) = spec.field("preDNAT").filter(|_| pre_dnat == Ok(true)) {
        if untracked == Ok(true) {
            problems.error(
                &field.path,
                "expected one of doNotTrack and preDNAT, not both",
            );
        }
        if types.egress || !egress.is_empty() {
            problems.error(&field.path, "expected no egress in a preDNAT policy");
        }
    }
    if let Some(field) = spec.field("applyOnForward").filter(|_| forward == Ok(true)) {
        problems.warning(
            &field.path,
            "concerns only host endpoints, which are not supported yet",
        );
    }
    Ok(match (untracked?, pre_dnat?, forward == Ok(true)) {
        (true, ..) => PolicyStage::Untracked,
        (_, true, _) => PolicyStage::PreDnat,
        (.., true) => PolicyStage::Forward,
        _ => PolicyStage::Normal,
    })
}

/// Reads a Tier.
pub(super) fn tier(root: &Node<'_>, metadata: Metadata, problems: &mut Problems) -> Tier {
    let spec = super::spec(root);
    if spec.mapping(problems).is_ok() {
        spec.has_unknown(&["order", "defaultAction"], problems);
    }
    let order = order(&spec, problems).unwrap_or_default();
    let default_action = spec.lenient("defaultAction", problems, |node, problems| {
        match node.value.as_str() {
            Some("Deny") => Ok(Action::Deny),
            Some("Pass") => Ok(Action::Pass),
            _ => Err(node.expected("Deny or Pass", problems)),
        }
    });
    if let Some((name, fixed_order, fixed_action)) = FIXED_TIERS
        .iter()
        .find(|(name, ..)| **name == *metadata.name)
    {
        if let (Some(given), Some(field)) = (order, spec.field("order"))
            && (given - fixed_order).abs() > f64::EPSILON
        {
            let message = format!("tier {name} has order {fixed_order}, whatever is given");
            problems.warning(&field.path, message);
        }
        if let (Some(given), Some(field)) = (default_action, spec.field("defaultAction"))
            && given != *fixed_action
        {
            let message = format!("tier {name} ends in {fixed_action}, whatever is given");
            problems.warning(&field.path, message);
        }
    }
    Tier {
        metadata,
        order,
        default_action: default_action.unwrap_or(Action::Deny),
    }
}

/// Reads a NetworkSet or GlobalNetworkSet.
pub(super) fn network_set(
    root: &Node<'_>,
    metadata: Metadata,
    problems: &mut Problems,
) -> NetworkSet {
    let spec = super::spec(root);
    if spec.mapping(problems).is_ok() {
        spec.has_unknown(&["nets"], problems);
    }
    NetworkSet {
        metadata,
        nets: spec.each("nets", problems, net),
        domains: Vec::new(),
    }
}

/// Reads a Profile.
pub(super) fn profile(root: &Node<'_>, metadata: Metadata, problems: &mut Problems) -> Profile {
    let spec = super::spec(root);
    let unknown = spec.mapping(problems).is_err()
        || spec.has_unknown(&["ingress", "egress", "labelsToApply"], problems);
    let labels = spec.field("labelsToApply");
    let labels_to_apply = labels
        .map(|node| strings(&node, problems))
        .unwrap_or_default();
    if let Some(labels) = labels {
        for (key, value) in &labels_to_apply {
            check_label(&labels, key, value, problems);
        }
    }
    let mut profile = Profile {
        metadata,
        ingress: rules(&spec, "ingress", problems),
        egress: rules(&spec, "egress", problems),
        labels_to_apply,
    };
    if unknown {
        // What it denies before it allows is not known, so it denies.
        for rules in [&mut profile.ingress, &mut profile.egress] {
            rules.clear();
            rules.push(closed(problems.errors()));
        }
    }
    profile
}
