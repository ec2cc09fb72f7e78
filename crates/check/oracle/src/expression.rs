//! Whether labels satisfy a selector.

use std::collections::BTreeMap;

use ocicat_selector::Selector;

pub type LabelMap = BTreeMap<String, String>;

/// What `all()` and `global()` mean where a selector stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// Both are true.
    Plain,
    /// In a `namespaceSelector`, for an owner that has a namespace.
    Namespaced,
    /// In a `namespaceSelector`, for an owner that has none.
    NotNamespaced,
}

pub fn satisfies(labels: &LabelMap, selector: &Selector, sense: Sense) -> bool {
    let value = |name: &str| labels.get(name).map(String::as_str);
    let each = |selector: &Selector| satisfies(labels, selector, sense);
    match selector {
        // [4]
        Selector::All => sense != Sense::NotNamespaced,
        Selector::Global => sense != Sense::Namespaced,
        Selector::Has(name) => value(name).is_some(),
        // Label absent: all comparisons are false but `!=` and `not in`.
        Selector::Equal(name, want) => value(name) == Some(want),
        Selector::NotEqual(name, want) => value(name) != Some(want),
        Selector::In(name, set) => value(name).is_some_and(|v| set.iter().any(|w| &**w == v)),
        Selector::NotIn(name, set) => !value(name).is_some_and(|v| set.iter().any(|w| &**w == v)),
        Selector::Contains(name, part) => value(name).is_some_and(|v| v.contains(&**part)),
        Selector::StartsWith(name, part) => value(name).is_some_and(|v| v.starts_with(&**part)),
        Selector::EndsWith(name, part) => value(name).is_some_and(|v| v.ends_with(&**part)),
        Selector::Not(inner) => !each(inner),
        Selector::And(parts) => parts.iter().all(each),
        Selector::Or(parts) => parts.iter().any(each),
    }
}
