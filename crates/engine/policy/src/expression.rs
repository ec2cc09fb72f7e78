//! Selectors over interned labels.

use std::sync::Arc;

use ocicat_selector::{Required, Selector};

use crate::label::{Labels, Name, Names, value_of};

/// Where a selector stands, which decides what `all()` and `global()` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Both are true.
    Labels,
    /// `all()` is "the owner is namespaced", `global()` "it is not".
    Namespace,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Expression {
    Always,
    Namespaced,
    NotNamespaced,
    Has(Name),
    Equal(Name, Name),
    NotEqual(Name, Name),
    /// Values sorted by number.
    In(Name, Box<[Name]>),
    NotIn(Name, Box<[Name]>),
    Contains(Name, Name),
    StartsWith(Name, Name),
    EndsWith(Name, Name),
    Not(Box<Expression>),
    And(Box<[Expression]>),
    Or(Box<[Expression]>),
}

/// A condition that must hold wherever the expression does: what to index it by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    Nothing,
    Key(Name),
    OneOf(Name, Box<[Name]>),
}

impl Expression {
    /// Acquires every name that it stores.
    pub(crate) fn compile(selector: &Selector, place: Place, names: &mut Names) -> Self {
        let mut name = |text: &Arc<str>| names.acquire(text);
        match selector {
            Selector::All if place == Place::Namespace => Self::Namespaced,
            Selector::Global if place == Place::Namespace => Self::NotNamespaced,
            Selector::All | Selector::Global => Self::Always,
            Selector::Has(key) => Self::Has(name(key)),
            Selector::Equal(key, value) => Self::Equal(name(key), name(value)),
            Selector::NotEqual(key, value) => Self::NotEqual(name(key), name(value)),
            Selector::Contains(key, value) => Self::Contains(name(key), name(value)),
            Selector::StartsWith(key, value) => Self::StartsWith(name(key), name(value)),
            Selector::EndsWith(key, value) => Self::EndsWith(name(key), name(value)),
            Selector::In(key, values) => {
                let key = name(key);
                Self::In(key, sorted(values.iter().map(name)))
            }
            Selector::NotIn(key, values) => {
                let key = name(key);
                Self::NotIn(key, sorted(values.iter().map(name)))
            }
            Selector::Not(inner) => Self::Not(Box::new(Self::compile(inner, place, names))),
            Selector::And(parts) => Self::And(
                parts
                    .iter()
                    .map(|part| Self::compile(part, place, names))
                    .collect(),
            ),
            Selector::Or(parts) => Self::Or(
                parts
                    .iter()
                    .map(|part| Self::compile(part, place, names))
                    .collect(),
            ),
        }
    }

    /// What `required` of the selector says, in names that the compiled selector holds.
    pub(crate) fn need(selector: &Selector, names: &Names) -> Need {
        match selector.required() {
            None => Need::Nothing,
            Some(Required::Present { label }) => names.find(label).map_or(Need::Nothing, Need::Key),
            Some(Required::OneOf { label, values }) => {
                let values: Option<Vec<Name>> = values.iter().map(|v| names.find(v)).collect();
                match (names.find(label), values) {
                    (Some(label), Some(values)) => Need::OneOf(label, sorted(values.into_iter())),
                    _ => Need::Nothing,
                }
            }
        }
    }

    pub(crate) fn matches(&self, labels: &Labels, namespaced: bool, names: &Names) -> bool {
        let text = |key: Name, test: &dyn Fn(&str) -> bool| {
            value_of(labels, key).is_some_and(|value| test(names.text(value)))
        };
        match self {
            Self::Always => true,
            Self::Namespaced => namespaced,
            Self::NotNamespaced => !namespaced,
            Self::Has(key) => value_of(labels, *key).is_some(),
            Self::Equal(key, value) => value_of(labels, *key) == Some(*value),
            Self::NotEqual(key, value) => value_of(labels, *key) != Some(*value),
            Self::In(key, values) => is_one_of(value_of(labels, *key), values),
            Self::NotIn(key, values) => !is_one_of(value_of(labels, *key), values),
            Self::Contains(key, part) => text(*key, &|v| v.contains(&**names.text(*part))),
            Self::StartsWith(key, part) => text(*key, &|v| v.starts_with(&**names.text(*part))),
            Self::EndsWith(key, part) => text(*key, &|v| v.ends_with(&**names.text(*part))),
            Self::Not(inner) => !inner.matches(labels, namespaced, names),
            Self::And(parts) => parts.iter().all(|p| p.matches(labels, namespaced, names)),
            Self::Or(parts) => parts.iter().any(|p| p.matches(labels, namespaced, names)),
        }
    }

    /// What must all hold.
    pub(crate) fn conditions(&self) -> &[Self] {
        match self {
            Self::And(parts) => parts,
            one => std::slice::from_ref(one),
        }
    }

    pub(crate) fn release(&self, names: &mut Names) {
        match self {
            Self::Always | Self::Namespaced | Self::NotNamespaced => {}
            Self::Has(key) => names.release(*key),
            Self::Equal(key, value)
            | Self::NotEqual(key, value)
            | Self::Contains(key, value)
            | Self::StartsWith(key, value)
            | Self::EndsWith(key, value) => {
                names.release(*key);
                names.release(*value);
            }
            Self::In(key, values) | Self::NotIn(key, values) => {
                names.release(*key);
                values.iter().for_each(|value| names.release(*value));
            }
            Self::Not(inner) => inner.release(names),
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|p| p.release(names)),
        }
    }
}

fn sorted(values: impl Iterator<Item = Name>) -> Box<[Name]> {
    let mut values: Vec<Name> = values.collect();
    values.sort_unstable();
    values.into_boxed_slice()
}

fn is_one_of(value: Option<Name>, values: &[Name]) -> bool {
    value.is_some_and(|value| values.binary_search(&value).is_ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn agrees_with_the_selector_itself() {
        let mut names = Names::default();
        let maps: [&[(&str, &str)]; 5] = [
            &[],
            &[("a", "x")],
            &[("a", "xy")],
            &[("b", "x")],
            &[("a", "y"), ("b", "yx")],
        ];
        let texts = [
            "",
            "global()",
            "has(a)",
            "a == 'x'",
            "a != 'x'",
            "a in {'x','y'}",
            "a not in {'x'}",
            "a contains 'y'",
            "a starts with 'x'",
            "b ends with 'x'",
            "!has(a)",
            "a in {}",
            "has(a) && has(b)",
            "has(a) || b == 'x'",
            "!(has(a) && a != 'y')",
        ];
        for text in texts {
            let selector = Selector::parse(text).unwrap();
            let compiled = Expression::compile(&selector, Place::Labels, &mut names);
            for map in maps {
                let plain: BTreeMap<&str, &str> = map.iter().copied().collect();
                let mut labels: Vec<(Name, Name)> = map
                    .iter()
                    .map(|(k, v)| (names.acquire(k), names.acquire(v)))
                    .collect();
                labels.sort_unstable();
                let expected = selector.matches(&plain);
                assert_eq!(
                    compiled.matches(&labels, true, &names),
                    expected,
                    "{text} on {map:?}"
                );
            }
        }
    }

    #[test]
    fn all_and_global_of_namespaces() {
        let mut names = Names::default();
        let mut check = |text: &str, namespaced| {
            let selector = Selector::parse(text).unwrap();
            let compiled = Expression::compile(&selector, Place::Namespace, &mut names);
            compiled.matches(&[], namespaced, &names)
        };
        assert!(check("all()", true) && !check("all()", false));
        assert!(!check("global()", true) && check("global()", false));
        assert!(check("!all()", false) && check("x != 'y'", false));
    }

    #[test]
    fn released_names_are_gone() {
        let mut names = Names::default();
        let selector = Selector::parse("a in {'x','y'} && !(has(b) || c == 'z')").unwrap();
        let compiled = Expression::compile(&selector, Place::Labels, &mut names);
        let need = Expression::need(&selector, &names);
        assert!(matches!(need, Need::OneOf(..)));
        compiled.release(&mut names);
        assert!(
            ["a", "b", "c", "x", "y", "z"]
                .iter()
                .all(|text| names.find(text).is_none())
        );
    }
}
