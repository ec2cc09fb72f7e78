//! `metadata` of all kinds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::names;
use super::node::{Node, Path, Problems, Read};
use super::{Strictness, strictness};
use crate::limits::ANNOTATION_BYTES;
use crate::{Kind, Metadata, Owner};

/// Namespace of namespaced objects that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// The label that every namespace has: its own name.
pub(crate) const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The label that Calico gives to endpoints and sets itself.
const CALICO_NAMESPACE_LABEL: &str = "projectcalico.org/namespace";

pub(super) const KNOWN: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "clusterName",
];

/// Reads `metadata`. `None` where it is not known which object it is: without a name, or with a
/// namespace that is no text.
pub(super) fn metadata(kind: Kind, root: &Node<'_>, problems: &mut Problems) -> Option<Metadata> {
    let Some(node) = root.field("metadata") else {
        problems.error(
            &Path::Key(&root.path, "metadata"),
            "missing: expected metadata.name",
        );
        return None;
    };
    node.mapping(problems).ok()?;
    if strictness(kind) == Strictness::AllFields {
        node.has_unknown(KNOWN, problems);
    }
    let name = name(kind, &node, problems)?;
    let namespace = namespace(kind, &node, problems).ok()?;
    let mut metadata = Metadata {
        name: name.clone(),
        namespace,
        labels: labels(&node, problems),
        annotations: annotations(&node, problems),
        uid: node.lenient("uid", problems, shared),
        resource_version: node.lenient("resourceVersion", problems, shared),
        generation: node.lenient("generation", problems, |node, problems| {
            node.integer(0, i64::MAX, problems)
        }),
        owner: owner(&node, problems),
    };
    match kind {
        Kind::Namespace => {
            metadata.labels.insert(NAMESPACE_NAME_LABEL.into(), name);
        }
        Kind::NetworkSet | Kind::GlobalNetworkSet
            if metadata.labels.contains_key(CALICO_NAMESPACE_LABEL) =>
        {
            let message =
                format!("{CALICO_NAMESPACE_LABEL}: expected a label that is not given by itself");
            problems.error(&Path::Key(&node.path, "labels"), message);
        }
        _ => {}
    }
    Some(metadata)
}

/// Labels and annotations of a pod template; it has no name.
pub(super) fn template(node: &Node<'_>, problems: &mut Problems) -> Metadata {
    Metadata {
        labels: labels(node, problems),
        annotations: annotations(node, problems),
        ..Metadata::default()
    }
}

fn name(kind: Kind, node: &Node<'_>, problems: &mut Problems) -> Option<Arc<str>> {
    let Some(name) = node.field("name") else {
        problems.error(&Path::Key(&node.path, "name"), "missing: expected a name");
        return None;
    };
    let text = name.text(problems).ok()?;
    let (right, expected) = match kind {
        Kind::Namespace | Kind::Service => (names::is_rfc1123_label(text), names::RFC1123_LABEL),
        _ => (names::is_rfc1123_subdomain(text), names::RFC1123_SUBDOMAIN),
    };
    if !right {
        name.expected(expected, problems);
    }
    (!text.is_empty()).then(|| text.into())
}

/// What cannot be read may be any namespace.
fn namespace(kind: Kind, node: &Node<'_>, problems: &mut Problems) -> Read<Option<Arc<str>>> {
    let given = node.optional("namespace", problems, Node::text)?;
    let given = given.filter(|text| !text.is_empty());
    let path = Path::Key(&node.path, "namespace");
    if !kind.is_namespaced() {
        if given.is_some() {
            let message = format!("{kind} objects have no namespace; it is ignored");
            problems.warning(&path, message);
        }
        return Ok(None);
    }
    let text = given.unwrap_or(DEFAULT_NAMESPACE);
    if !names::is_rfc1123_label(text) {
        let message = format!("{text:?}: expected {}", names::RFC1123_LABEL);
        problems.error(&path, message);
    }
    Ok(Some(text.into()))
}

fn labels(node: &Node<'_>, problems: &mut Problems) -> BTreeMap<Arc<str>, Arc<str>> {
    let Some(labels) = node.field("labels") else {
        return BTreeMap::new();
    };
    let found = strings(&labels, problems);
    for (key, value) in &found {
        check_label(&labels, key, value, problems);
    }
    found
}

/// Checks one label of a mapping of labels.
pub(super) fn check_label(labels: &Node<'_>, key: &str, value: &str, problems: &mut Problems) {
    let path = Path::Key(&labels.path, key);
    if !names::is_qualified_name(key) {
        let expected = "expected a label name: [prefix/]name with at most 63 letters, digits, '-', \
             '_' and '.' after a prefix that is an RFC 1123 subdomain";
        problems.error(&path, format!("{key:?}: {expected}"));
    }
    if !names::is_label_value(value) {
        let expected = "expected a label value: at most 63 letters, digits, '-', '_' and '.', \
             beginning and ending with a letter or digit";
        problems.error(&path, format!("{value:?}: {expected}"));
    }
}

pub(super) fn annotations(
    node: &Node<'_>,
    problems: &mut Problems,
) -> BTreeMap<Arc<str>, Arc<str>> {
    let Some(annotations) = node.field("annotations") else {
        return BTreeMap::new();
    };
    let found = strings(&annotations, problems);
    for key in found
        .keys()
        .filter(|key| !names::is_qualified_name(&key.to_ascii_lowercase()))
    {
        let path = Path::Key(&annotations.path, key);
        problems.error(
            &path,
            format!("{key:?}: expected an annotation name: [prefix/]name"),
        );
    }
    let bytes: usize = found
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if bytes > ANNOTATION_BYTES {
        let message = format!("{bytes} bytes: expected at most {ANNOTATION_BYTES}");
        problems.error(&annotations.path, message);
    }
    found
}

/// A mapping of texts; entries that are no text are left out.
pub(super) fn strings(node: &Node<'_>, problems: &mut Problems) -> BTreeMap<Arc<str>, Arc<str>> {
    let Ok(fields) = node.mapping(problems) else {
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for (key, value) in fields {
        let value = Node {
            value,
            path: Path::Key(&node.path, key),
        };
        if let Ok(text) = value.text(problems) {
            found.insert(Arc::from(key.as_str()), Arc::from(text));
        }
    }
    found
}

fn owner(node: &Node<'_>, problems: &mut Problems) -> Option<Owner> {
    let owners = node.each("ownerReferences", problems, |owner, problems| {
        let controls = owner
            .optional("controller", problems, Node::boolean)?
            .unwrap_or_default();
        let kind = owner.optional("kind", problems, shared)?;
        let name = owner.optional("name", problems, shared)?;
        Ok(kind
            .zip(name)
            .filter(|_| controls)
            .map(|(kind, name)| Owner { kind, name }))
    });
    owners.into_iter().flatten().next()
}

/// A text of its own.
pub(super) fn shared(node: Node<'_>, problems: &mut Problems) -> Read<Arc<str>> {
    node.text(problems).map(Arc::from)
}
