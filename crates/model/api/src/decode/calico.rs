//! Policies, tiers, sets and profiles of `projectcalico.org/v3`.

use std::sync::Arc;

use super::entity::{domain, net};
use super::meta::{check_label, strings};
use super::names;
use super::node::{Node, Path, Problems, Read};
use super::rule::{Direction, Place, closed, rules};
use super::selector;
use crate::policy::{
    CalicoPolicy, NetworkSet, PolicyStage, Profile, Staged, StagedAction, Subject, Tier, Types,
};
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

/// The field that staged policies have beside those of their enforced twins.
const STAGED_ACTION: &str = "stagedAction";

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
    policy_with(kind, root, metadata, envelope_known, &[], problems)
}

/// Reads a StagedNetworkPolicy or StagedGlobalNetworkPolicy.
pub(super) fn staged(
    kind: Kind,
    root: &Node<'_>,
    metadata: Metadata,
    envelope_known: Read<()>,
    problems: &mut Problems,
) -> Staged<CalicoPolicy> {
    let more = &[STAGED_ACTION];
    Staged {
        action: staged_action(&super::spec(root), problems),
        policy: policy_with(kind, root, metadata, envelope_known, more, problems),
    }
}

/// Reads `stagedAction`; one that cannot be read changes nothing in the preview.
pub(super) fn staged_action(spec: &Node<'_>, problems: &mut Problems) -> StagedAction {
    let read = spec.optional(STAGED_ACTION, problems, |node, problems| {
        Ok(
            match node.one_of(&["Set", "Delete", "Learn", "Ignore"], problems)? {
                "Set" => StagedAction::Set,
                "Delete" => StagedAction::Delete,
                "Learn" => StagedAction::Learn,
                _ => StagedAction::Ignore,
            },
        )
    });
    read.map_or(StagedAction::Ignore, Option::unwrap_or_default)
}

fn policy_with(
    kind: Kind,
    root: &Node<'_>,
    metadata: Metadata,
    envelope_known: Read<()>,
    more_fields: &[&str],
    problems: &mut Problems,
) -> CalicoPolicy {
    let global = !kind.is_namespaced();
    let fields = if global {
        GLOBAL_POLICY_FIELDS
    } else {
        POLICY_FIELDS
    };
    let fields = [fields, more_fields].concat();
    let spec = super::spec(root);
    let mut whole = if envelope_known.is_ok() {
        Whole::Known
    } else {
        Whole::Unknown
    };
    if spec.mapping(problems).is_err() || spec.has_unknown(&fields, problems) {
        whole = Whole::Unknown;
    }
    let place = |direction| Place {
        direction,
        namespace: metadata.namespace.as_ref(),
    };
    let ingress = rules(&spec, place(Direction::Ingress), problems);
    let egress = rules(&spec, place(Direction::Egress), problems);
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

/// Where a GlobalNetworkPolicy judges the packets of host endpoints.
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
        if let Some(field) = spec.field(name).filter(|_| set == Ok(true)) {
            check_host_only(spec, &field, forward, problems);
        }
    }
    if let Some(field) = spec.field("preDNAT").filter(|_| pre_dnat == Ok(true)) {
        if untracked == Ok(true) {
            let message = "expected one of doNotTrack and preDNAT, not both";
            return Err(problems.error(&field.path, message));
        }
        if types.egress || !egress.is_empty() {
            problems.error(&field.path, "expected no egress in a preDNAT policy");
        }
    }
    Ok(match (untracked?, pre_dnat?, forward?) {
        (true, ..) => PolicyStage::Untracked,
        (_, true, _) => PolicyStage::PreDnat,
        (.., true) => PolicyStage::Forward,
        _ => PolicyStage::Normal,
    })
}

/// What holds for a policy that `flag` makes one for host endpoints alone.
fn check_host_only(spec: &Node<'_>, flag: &Node<'_>, forward: Read<bool>, problems: &mut Problems) {
    if forward == Ok(false) {
        let Path::Key(_, name) = flag.path else {
            return;
        };
        let message = format!("{name} without applyOnForward: expected applyOnForward: true");
        problems.error(&flag.path, message);
    }
    for name in ["namespaceSelector", "serviceAccountSelector"] {
        if let Some(field) = spec.field(name).filter(|field| field.value != "") {
            let message = "a host endpoint has no namespace and no service account: the policy \
                 selects none, and has no effect";
            problems.warning(&field.path, message);
        }
    }
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
        spec.has_unknown(&["allowedEgressDomains", "nets"], problems);
    }
    let nets = spec.each("nets", problems, net);
    let domains = spec.each("allowedEgressDomains", problems, domain);
    if !domains.is_empty() {
        let message = "no observer of names enforces this yet: until one does, these names add no \
             addresses";
        let path = Path::Key(&spec.path, "allowedEgressDomains");
        problems.warning(&path, message);
    }
    NetworkSet {
        metadata,
        nets,
        domains,
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
    let place = |direction| Place {
        direction,
        namespace: None,
    };
    let mut profile = Profile {
        metadata,
        ingress: rules(&spec, place(Direction::Ingress), problems),
        egress: rules(&spec, place(Direction::Egress), problems),
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
