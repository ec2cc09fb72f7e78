//! What an object is, from `apiVersion` and `kind`.

use serde_json::Value;

use super::node::{Node, Path, Problems, Read, closest};
use crate::Kind;

/// What is known of an object's kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    Known(Kind),
    /// A kind that we have no use for: its name and version.
    Unused(String),
}

/// Groups whose kinds concern us all; a kind there that nobody knows is a mistake.
const OUR_GROUPS: [&str; 3] = ["projectcalico.org", "ocicat.io", "policy.networking.k8s.io"];

/// Kinds that decided about packets, and that ClusterNetworkPolicy replaces.
const REPLACED: &[&str] = &["AdminNetworkPolicy", "BaselineAdminNetworkPolicy"];

/// Kinds of our groups that configure other programs, or that programs keep for themselves.
const NO_USE: &[&str] = &[
    "BGPConfiguration",
    "BGPFilter",
    "BGPPeer",
    "BlockAffinity",
    "CalicoNodeStatus",
    "ClusterInformation",
    "IPAMConfig",
    "IPAMConfiguration",
    "IPAMHandle",
    "IPReservation",
    "PolicyStatus",
];

/// What the kind is.
///
/// # Errors
///
/// It is not said, or it is one that decides about packets and that is not supported.
pub(super) fn read(root: &Node<'_>, problems: &mut Problems) -> Read<Envelope> {
    root.mapping(problems)?;
    let version = required(root, "apiVersion", "such as projectcalico.org/v3", problems);
    let kind = required(root, "kind", "such as NetworkPolicy", problems);
    let (version, kind) = (version?, kind?);
    if let Some(kind) = Kind::of(version, kind) {
        return Ok(Envelope::Known(kind));
    }
    let (group, _) = version.split_once('/').unwrap_or(("", version));
    // Calico's own Node: addresses and tunnels of a host.
    if (version, kind) == ("projectcalico.org/v3", "Node") {
        return Ok(Envelope::Known(Kind::Node));
    }
    if group == "crd.projectcalico.org" {
        let message = format!("{version}: expected projectcalico.org/v3, as calicoctl prints it");
        return Err(problems.error(&Path::Key(&root.path, "apiVersion"), message));
    }
    let other = Kind::table()
        .iter()
        .find(|info| info.name == kind && info.group == group);
    if let Some(info) = other {
        let message = format!("{version}: expected {} for {kind}", info.api_version());
        return Err(problems.error(&Path::Key(&root.path, "apiVersion"), message));
    }
    if OUR_GROUPS.contains(&group) && REPLACED.contains(&kind) {
        let message =
            format!("kind {kind} is not read: expected ClusterNetworkPolicy, which replaces it");
        return Err(problems.error(&Path::Key(&root.path, "kind"), message));
    }
    if OUR_GROUPS.contains(&group) && !NO_USE.contains(&kind) {
        return Err(unknown_kind(root, group, kind, problems));
    }
    if group == "extensions" && kind == "NetworkPolicy" {
        let message = format!("{version}: expected networking.k8s.io/v1 for {kind}");
        return Err(problems.error(&Path::Key(&root.path, "apiVersion"), message));
    }
    Ok(Envelope::Unused(format!("{kind} ({version})")))
}

fn unknown_kind(
    root: &Node<'_>,
    group: &str,
    kind: &str,
    problems: &mut Problems,
) -> super::node::Unreadable {
    let ours = Kind::table()
        .iter()
        .filter(|info| info.group == group)
        .map(|info| info.name);
    let known: Vec<&str> = ours.collect();
    let message = match closest(kind, &known) {
        Some(meant) => format!("unknown kind {kind:?} of {group}: did you mean {meant:?}?"),
        None => format!("unknown kind {kind:?} of {group}"),
    };
    problems.error(&Path::Key(&root.path, "kind"), message)
}

fn required<'a>(
    root: &Node<'a>,
    name: &str,
    example: &str,
    problems: &mut Problems,
) -> Read<&'a str> {
    let path = Path::Key(&root.path, name);
    match root.value.get(name) {
        None | Some(Value::Null) => {
            Err(problems.error(&path, format!("missing: expected {name}, {example}")))
        }
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) => Err(problems.error(&path, format!("expected a text, {example}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(version: &str, kind: &str) -> String {
        let mut problems = Problems::default();
        let value = json!({"apiVersion": version, "kind": kind});
        match read(&Node::root(&value), &mut problems) {
            Ok(Envelope::Known(kind)) => kind.to_string(),
            Ok(Envelope::Unused(what)) => format!("unused {what}"),
            Err(_) => problems.0[0].to_string(),
        }
    }

    #[test]
    fn kinds_and_versions() {
        for (version, kind, expected) in [
            ("v1", "Pod", "Pod"),
            ("networking.k8s.io/v1", "NetworkPolicy", "NetworkPolicy"),
            (
                "projectcalico.org/v3",
                "NetworkPolicy",
                "CalicoNetworkPolicy",
            ),
            ("projectcalico.org/v3", "Node", "Node"),
            ("v1", "ConfigMap", "unused ConfigMap (v1)"),
            (
                "example.com/v1",
                "NetworkPolicy",
                "unused NetworkPolicy (example.com/v1)",
            ),
            (
                "projectcalico.org/v3",
                "BGPPeer",
                "unused BGPPeer (projectcalico.org/v3)",
            ),
            (
                "policy.networking.k8s.io/v1alpha2",
                "ClusterNetworkPolicy",
                "ClusterNetworkPolicy",
            ),
            (
                "policy.networking.k8s.io/v1alpha1",
                "AdminNetworkPolicy",
                "kind: kind AdminNetworkPolicy is not read: expected ClusterNetworkPolicy, which \
                 replaces it",
            ),
            (
                "policy.networking.k8s.io/v1alpha1",
                "ClusterNetworkPolicy",
                "apiVersion: policy.networking.k8s.io/v1alpha1: expected \
                 policy.networking.k8s.io/v1alpha2 for ClusterNetworkPolicy",
            ),
            (
                "projectcalico.org/v3",
                "GlobalNetworkPolcy",
                "kind: unknown kind \"GlobalNetworkPolcy\" of projectcalico.org: did you mean \
                 \"GlobalNetworkPolicy\"?",
            ),
            (
                "ocicat.io/v1alpha1",
                "Thing",
                "kind: unknown kind \"Thing\" of ocicat.io",
            ),
            (
                "projectcalico.org/v1",
                "Tier",
                "apiVersion: projectcalico.org/v1: expected projectcalico.org/v3 for Tier",
            ),
            (
                "crd.projectcalico.org/v1",
                "Tier",
                "apiVersion: crd.projectcalico.org/v1: expected projectcalico.org/v3, as calicoctl \
                 prints it",
            ),
            (
                "extensions/v1beta1",
                "NetworkPolicy",
                "apiVersion: extensions/v1beta1: expected networking.k8s.io/v1 for NetworkPolicy",
            ),
            (
                "",
                "Pod",
                "apiVersion: expected a text, such as projectcalico.org/v3",
            ),
        ] {
            assert_eq!(outcome(version, kind), expected);
        }
    }
}
