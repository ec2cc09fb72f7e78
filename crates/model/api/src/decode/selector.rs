//! Selectors: Calico's expressions, and Kubernetes' label selectors made into them.

use std::collections::BTreeSet;
use std::sync::Arc;

use ocicat_selector::Selector;

use super::meta::check_label;
use super::names;
use super::node::{Node, Problems, Read, Unreadable};
use crate::limits::SELECTOR_CHARS;

/// Reads an expression. An empty text is `None`: as good as absent.
pub(super) fn expression(node: Node<'_>, problems: &mut Problems) -> Read<Option<Selector>> {
    let text = node.text(problems)?;
    if text.is_empty() {
        return Ok(None);
    }
    let chars = text.chars().count();
    if chars > SELECTOR_CHARS {
        let message = format!("{chars} characters: expected at most {SELECTOR_CHARS}");
        return Err(problems.error(&node.path, message));
    }
    match Selector::parse(text) {
        Ok(selector) => Ok(Some(selector)),
        Err(error) => Err(problems.error(&node.path, error.to_string())),
    }
}

/// Reads an expression that is a field of `node`. An absent or empty one is `None`.
pub(super) fn optional(
    node: &Node<'_>,
    name: &str,
    problems: &mut Problems,
) -> Read<Option<Selector>> {
    Ok(node.optional(name, problems, expression)?.flatten())
}

/// As [`optional`], where `global()` has no meaning of its own: it is remarked on.
pub(super) fn optional_without_global(
    node: &Node<'_>,
    name: &str,
    problems: &mut Problems,
) -> Read<Option<Selector>> {
    let selector = optional(node, name, problems)?;
    if selector.as_ref().is_some_and(asks_global)
        && let Some(field) = node.field(name)
    {
        let message = "global() means all() here; it has a meaning of its own only in the \
             namespaceSelector";
        problems.warning(&field.path, message);
    }
    Ok(selector)
}

/// Reads the `namespaceSelector` by which a policy chooses whom it governs: `global()` there is
/// what has no namespace, so no workload, and is remarked on.
pub(super) fn namespaces_governed(
    node: &Node<'_>,
    problems: &mut Problems,
) -> Read<Option<Selector>> {
    let selector = optional(node, "namespaceSelector", problems)?;
    if selector.as_ref().is_some_and(asks_global)
        && let Some(field) = node.field("namespaceSelector")
    {
        let message = "global() is what has no namespace: it selects no workload";
        problems.warning(&field.path, message);
    }
    Ok(selector)
}

fn asks_global(selector: &Selector) -> bool {
    match selector {
        Selector::Global => true,
        Selector::Not(inner) => asks_global(inner),
        Selector::And(parts) | Selector::Or(parts) => parts.iter().any(asks_global),
        _ => false,
    }
}

/// Reads a `LabelSelector` of Kubernetes; `matchLabels` and `matchExpressions` are ANDed, and
/// nothing in it means everything.
pub(super) fn label_selector(node: Node<'_>, problems: &mut Problems) -> Read<Selector> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["matchLabels", "matchExpressions"], problems);
    let mut parts = Vec::new();
    let labels = match_labels(&node, &mut parts, problems);
    let expressions = match_expressions(&node, &mut parts, problems);
    labels?;
    expressions?;
    if unknown {
        Err(Unreadable)
    } else {
        Ok(Selector::and(parts))
    }
}

fn match_labels(node: &Node<'_>, parts: &mut Vec<Selector>, problems: &mut Problems) -> Read<()> {
    let Some(labels) = node.field("matchLabels") else {
        return Ok(());
    };
    let before = problems.0.len();
    let found = super::meta::strings(&labels, problems);
    for (key, value) in found {
        check_label(&labels, &key, &value, problems);
        parts.push(Selector::Equal(key, value));
    }
    if problems.0.len() > before {
        Err(Unreadable)
    } else {
        Ok(())
    }
}

fn match_expressions(
    node: &Node<'_>,
    parts: &mut Vec<Selector>,
    problems: &mut Problems,
) -> Read<()> {
    let Some(list) = node.field("matchExpressions") else {
        return Ok(());
    };
    let mut outcome = Ok(());
    for (index, value) in list.items(problems)?.iter().enumerate() {
        match match_expression(list.item(index, value), problems) {
            Ok(part) => parts.push(part),
            Err(unreadable) => outcome = Err(unreadable),
        }
    }
    outcome
}

fn match_expression(node: Node<'_>, problems: &mut Problems) -> Read<Selector> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["key", "operator", "values"], problems);
    let Some(key) = node.field("key") else {
        return Err(problems.error(&node.path, "missing key: expected a label name"));
    };
    let label = key.text(problems)?;
    if !names::is_qualified_name(label) {
        return Err(key.expected("a label name", problems));
    }
    let Some(operator) = node.field("operator") else {
        return Err(problems.error(
            &node.path,
            "missing operator: expected In, NotIn, Exists or DoesNotExist",
        ));
    };
    let values = match node.field("values") {
        Some(list) => label_values(list, problems)?,
        None => BTreeSet::new(),
    };
    let label: Arc<str> = label.into();
    match (operator.text(problems)?, values.is_empty()) {
        _ if unknown => Err(Unreadable),
        ("In", false) => Ok(Selector::In(label, values)),
        ("NotIn", false) => Ok(Selector::NotIn(label, values)),
        ("Exists", true) => Ok(Selector::Has(label)),
        ("DoesNotExist", true) => Ok(Selector::negate(Selector::Has(label))),
        ("In" | "NotIn", true) => Err(problems.error(
            &node.path,
            "no values: expected at least one for In and NotIn",
        )),
        ("Exists" | "DoesNotExist", false) => Err(problems.error(
            &node.path,
            "values: expected none for Exists and DoesNotExist",
        )),
        _ => Err(operator.expected("In, NotIn, Exists or DoesNotExist", problems)),
    }
}

fn label_values(list: Node<'_>, problems: &mut Problems) -> Read<BTreeSet<Arc<str>>> {
    let mut values = BTreeSet::new();
    for (index, value) in list.items(problems)?.iter().enumerate() {
        let value = list.item(index, value);
        let text = value.text(problems)?;
        if !names::is_label_value(text) {
            return Err(value.expected("a label value", problems));
        }
        values.insert(Arc::from(text));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> (Option<String>, Vec<String>) {
        let mut problems = Problems::default();
        let selector = label_selector(Node::root(value), &mut problems);
        let problems = problems.0.iter().map(ToString::to_string).collect();
        (selector.ok().map(|selector| selector.to_string()), problems)
    }

    #[test]
    fn label_selectors_become_expressions() {
        for (value, expected) in [
            (json!({}), "all()"),
            (
                json!({"matchLabels": {"b": "y", "a": "x"}}),
                r#"a == "x" && b == "y""#,
            ),
            (
                json!({"matchExpressions": [
                    {"key": "a", "operator": "In", "values": ["y", "x"]},
                    {"key": "b", "operator": "NotIn", "values": ["z"]},
                    {"key": "c", "operator": "Exists"},
                    {"key": "d", "operator": "DoesNotExist", "values": []},
                ]}),
                r#"a in { "x", "y" } && b not in { "z" } && has(c) && !has(d)"#,
            ),
        ] {
            assert_eq!(read(&value), (Some(expected.to_owned()), vec![]), "{value}");
        }
    }

    #[test]
    fn unreadable_label_selectors() {
        for (value, part) in [
            (json!("x"), "expected a mapping"),
            (json!({"matchLabel": {}}), "did you mean \"matchLabels\"?"),
            (
                json!({"matchLabels": {"a": 1}}),
                "matchLabels.a: 1: expected a text: put it in quotes",
            ),
            (
                json!({"matchLabels": {"a b": "x"}}),
                "expected a label name",
            ),
            (
                json!({"matchLabels": {"a": "x y"}}),
                "expected a label value",
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "in"}]}),
                "expected In, NotIn",
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
                "at least one",
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}),
                "expected none",
            ),
            (
                json!({"matchExpressions": [{"operator": "Exists"}]}),
                "missing key",
            ),
            (
                json!({"matchExpressions": [{"key": "a"}]}),
                "missing operator",
            ),
        ] {
            let (selector, problems) = read(&value);
            assert_eq!(selector, None, "{value}");
            assert!(
                problems.iter().any(|problem| problem.contains(part)),
                "{value}: {problems:?}"
            );
        }
    }
}
