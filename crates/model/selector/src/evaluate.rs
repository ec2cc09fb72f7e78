//! Does a selector match a set of labels?

use crate::{Labels, Selector};

impl Selector {
    /// True if the labels satisfy the selector. An absent label satisfies only `!=` and `not in`
    /// (and what `!` makes of the others).
    #[must_use]
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        match self {
            Self::All | Self::Global => true,
            Self::Has(label) => labels.get(label).is_some(),
            Self::Equal(label, value) => labels.get(label) == Some(value),
            Self::NotEqual(label, value) => labels.get(label) != Some(value),
            Self::In(label, values) => labels.get(label).is_some_and(|v| values.contains(v)),
            Self::NotIn(label, values) => !labels.get(label).is_some_and(|v| values.contains(v)),
            Self::Contains(label, part) => labels.get(label).is_some_and(|v| v.contains(&**part)),
            Self::StartsWith(label, part) => {
                labels.get(label).is_some_and(|v| v.starts_with(&**part))
            }
            Self::EndsWith(label, part) => labels.get(label).is_some_and(|v| v.ends_with(&**part)),
            Self::Not(inner) => !inner.matches(labels),
            Self::And(parts) => parts.iter().all(|part| part.matches(labels)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(labels)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Each operator on label `a` asked about "xy": the text, then the answers where `a` is
    /// absent, empty, `x`, `xy` and `zxyz`.
    const CASES: &[(&str, [bool; 5])] = &[
        ("all()", [true, true, true, true, true]),
        ("global()", [true, true, true, true, true]),
        ("has(a)", [false, true, true, true, true]),
        ("a == 'xy'", [false, false, false, true, false]),
        ("a != 'xy'", [true, true, true, false, true]),
        ("a in {'x', 'xy'}", [false, false, true, true, false]),
        ("a in {}", [false, false, false, false, false]),
        ("a not in {'x', 'xy'}", [true, true, false, false, true]),
        ("a not in {}", [true, true, true, true, true]),
        ("a contains 'xy'", [false, false, false, true, true]),
        ("a contains ''", [false, true, true, true, true]),
        ("a starts with 'x'", [false, false, true, true, false]),
        ("a ends with 'y'", [false, false, false, true, false]),
        ("a == ''", [false, true, false, false, false]),
    ];

    fn worlds() -> [BTreeMap<&'static str, &'static str>; 5] {
        let with = |value| BTreeMap::from([("a", value), ("b", "xy")]);
        [
            BTreeMap::from([("b", "xy")]),
            with(""),
            with("x"),
            with("xy"),
            with("zxyz"),
        ]
    }

    #[test]
    fn every_operator_on_every_value() {
        for (text, expected) in CASES {
            let selector = Selector::parse(text).unwrap();
            let negated = Selector::parse(&format!("!{text}")).unwrap();
            for (labels, want) in worlds().iter().zip(expected) {
                assert_eq!(selector.matches(labels), *want, "{text} on {labels:?}");
                assert_eq!(negated.matches(labels), !want, "!{text} on {labels:?}");
            }
        }
    }

    #[test]
    fn every_pair_of_operators_under_and_and_or() {
        for (left, on_left) in CASES {
            for (right, on_right) in CASES {
                let and = Selector::parse(&format!("{left} && {right}")).unwrap();
                let or = Selector::parse(&format!("{left} || {right}")).unwrap();
                for (index, labels) in worlds().iter().enumerate() {
                    assert_eq!(and.matches(labels), on_left[index] && on_right[index]);
                    assert_eq!(or.matches(labels), on_left[index] || on_right[index]);
                }
            }
        }
    }

    #[test]
    fn labels_may_be_a_trait_object() {
        let labels = BTreeMap::from([("a", "x")]);
        let labels: &dyn Labels = &labels;
        assert!(Selector::parse("a == 'x'").unwrap().matches(labels));
    }
}
