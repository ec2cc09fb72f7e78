//! Deployments, StatefulSets, DaemonSets, ReplicaSets and Jobs.

use super::core::pod_spec;
use super::meta::template as template_metadata;
use super::node::{Node, Path, Problems};
use crate::core::Controller;
use crate::limits::REPLICAS;
use crate::{Kind, Metadata};

/// Reads a controller. One without a template makes pods without labels and ports.
pub(super) fn controller(
    kind: Kind,
    root: &Node<'_>,
    metadata: Metadata,
    problems: &mut Problems,
) -> Controller {
    let spec = super::spec(root);
    let _ = spec.mapping(problems);
    let field = if kind == Kind::Job {
        "parallelism"
    } else {
        "replicas"
    };
    let count = |node: Node<'_>, problems: &mut Problems| {
        node.integer::<u32>(0, i64::from(REPLICAS), problems)
    };
    let mut replicas = spec.lenient(field, problems, count).unwrap_or(1);
    if kind == Kind::Job {
        // No more pods run than completions are wanted, and none while it is suspended.
        let completions = spec
            .lenient("completions", problems, count)
            .unwrap_or(u32::MAX);
        let suspended = spec
            .lenient("suspend", problems, Node::boolean)
            .unwrap_or_default();
        replicas = if suspended {
            0
        } else {
            replicas.min(completions)
        };
    }
    let template = if let Some(template) = spec.field("template") {
        let metadata = match template.field("metadata") {
            Some(node) => template_metadata(&node, problems),
            None => Metadata::default(),
        };
        pod_spec(&super::spec(&template), metadata, problems)
    } else {
        problems.error(
            &Path::Key(&spec.path, "template"),
            "missing: expected a pod template",
        );
        pod_spec(&super::spec(&spec), Metadata::default(), problems)
    };
    Controller {
        metadata,
        replicas,
        template,
    }
}

#[cfg(test)]
mod tests;
