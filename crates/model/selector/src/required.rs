//! What must be true of the labels wherever a selector is true: a key to index selectors by.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::Selector;

/// A condition that is necessary, not sufficient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Required<'a> {
    /// The label has one of these values. No values: the selector is never true.
    OneOf {
        label: &'a Arc<str>,
        values: BTreeSet<&'a Arc<str>>,
    },
    /// The label is present.
    Present { label: &'a Arc<str> },
}

impl<'a> Required<'a> {
    /// The label that the condition is about.
    #[must_use]
    pub fn label(&self) -> &'a Arc<str> {
        match self {
            Self::OneOf { label, .. } | Self::Present { label } => label,
        }
    }

    /// The better of two conditions: fewer values; values rather than presence.
    fn narrower(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::OneOf { values: a, .. }, Self::OneOf { values: b, .. }) => {
                if b.len() < a.len() {
                    other
                } else {
                    self
                }
            }
            (Self::Present { .. }, Self::OneOf { .. }) => other,
            _ => self,
        }
    }

    /// A condition that holds where either does, if both are about one label.
    fn either(self, other: Self) -> Option<Self> {
        if self.label() != other.label() {
            return None;
        }
        let label = self.label();
        Some(match (self, other) {
            (Self::OneOf { mut values, .. }, Self::OneOf { values: more, .. }) => {
                values.extend(more);
                Self::OneOf { label, values }
            }
            _ => Self::Present { label },
        })
    }
}

impl Selector {
    /// A condition on one label without which the selector is false; `None` where there is none
    /// that a look-up could use. Where several hold, the one with the fewest values.
    ///
    /// ```
    /// use ocicat_selector::{Required, Selector};
    ///
    /// let selector = Selector::parse("has(a) && b in {'x', 'y'} && c != 'z'").unwrap();
    /// let Some(Required::OneOf { label, values }) = selector.required() else { panic!() };
    /// assert_eq!((&**label, values.len()), ("b", 2));
    /// ```
    #[must_use]
    pub fn required(&self) -> Option<Required<'_>> {
        self.required_for(Truth::True)
    }

    fn required_for(&self, truth: Truth) -> Option<Required<'_>> {
        match (self, truth) {
            (Self::Equal(label, value), Truth::True)
            | (Self::NotEqual(label, value), Truth::False) => Some(Required::OneOf {
                label,
                values: BTreeSet::from([value]),
            }),
            (Self::In(label, values), Truth::True) | (Self::NotIn(label, values), Truth::False) => {
                Some(Required::OneOf {
                    label,
                    values: values.iter().collect(),
                })
            }
            (
                Self::Has(label)
                | Self::Contains(label, _)
                | Self::StartsWith(label, _)
                | Self::EndsWith(label, _),
                Truth::True,
            ) => Some(Required::Present { label }),
            (Self::Not(inner), _) => inner.required_for(truth.opposite()),
            (Self::And(parts), Truth::True) | (Self::Or(parts), Truth::False) => parts
                .iter()
                .filter_map(|part| part.required_for(truth))
                .reduce(Required::narrower),
            (Self::Or(parts), Truth::True) | (Self::And(parts), Truth::False) => {
                let mut parts = parts.iter().map(|part| part.required_for(truth));
                let first = parts.next()??;
                parts.try_fold(first, |all, part| all.either(part?))
            }
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Truth {
    True,
    False,
}

impl Truth {
    fn opposite(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(text: &str) -> String {
        let selector = Selector::parse(text).unwrap();
        match selector.required() {
            None => "none".to_owned(),
            Some(Required::Present { label }) => format!("has {label}"),
            Some(Required::OneOf { label, values }) => {
                let values: Vec<&str> = values.into_iter().map(AsRef::as_ref).collect();
                format!("{label}: {}", values.join(" "))
            }
        }
    }

    #[test]
    fn hints() {
        for (text, expected) in [
            ("all()", "none"),
            ("a == 'x'", "a: x"),
            ("a != 'x'", "none"),
            ("!(a != 'x')", "a: x"),
            ("!(a not in {'x', 'y'})", "a: x y"),
            ("!(a == 'x')", "none"),
            ("a in {}", "a: "),
            ("a contains 'x'", "has a"),
            ("a starts with 'x' && b == 'y'", "b: y"),
            ("a in {'x', 'y'} && b == 'z'", "b: z"),
            ("a == 'x' || a == 'y'", "a: x y"),
            ("a == 'x' || has(a)", "has a"),
            ("a == 'x' || b == 'x'", "none"),
            ("a == 'x' || b != 'x'", "none"),
            ("!(a != 'x' || b == 'y')", "a: x"),
            ("!(a != 'x' && a != 'y')", "a: x y"),
        ] {
            assert_eq!(hint(text), expected, "{text}");
        }
    }
}
