//! Properties of parsing, printing, evaluating and hints together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use crate::{Labels, Required, Selector};

fn label() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![
        prop::sample::select(vec!["a", "b", "in", "not", "has", "all", "x.y/z-1_"]),
        prop::sample::select(vec!["a", "b"]),
    ]
    .prop_map(Arc::from)
}

fn value() -> impl Strategy<Value = Arc<str>> {
    prop::sample::select(vec!["", "x", "xy", "say \"x\"", "it's", "ü && (", "\t"])
        .prop_map(Arc::from)
}

fn values() -> impl Strategy<Value = BTreeSet<Arc<str>>> {
    prop::collection::btree_set(value(), 0..4)
}

/// Selectors as the parser makes them: flattened, two parts or more.
fn selector() -> impl Strategy<Value = Selector> {
    let leaf = prop_oneof![
        Just(Selector::All),
        Just(Selector::Global),
        label().prop_map(Selector::Has),
        (label(), value()).prop_map(|(l, v)| Selector::Equal(l, v)),
        (label(), value()).prop_map(|(l, v)| Selector::NotEqual(l, v)),
        (label(), values()).prop_map(|(l, v)| Selector::In(l, v)),
        (label(), values()).prop_map(|(l, v)| Selector::NotIn(l, v)),
        (label(), value()).prop_map(|(l, v)| Selector::Contains(l, v)),
        (label(), value()).prop_map(|(l, v)| Selector::StartsWith(l, v)),
        (label(), value()).prop_map(|(l, v)| Selector::EndsWith(l, v)),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(Selector::negate),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Selector::and),
            prop::collection::vec(inner, 2..4).prop_map(Selector::or),
        ]
    })
}

fn labels() -> impl Strategy<Value = BTreeMap<Arc<str>, Arc<str>>> {
    prop::collection::btree_map(label(), value(), 0..5)
}

proptest! {
    #[test]
    fn printed_text_parses_to_the_same_tree(selector in selector()) {
        let text = selector.to_string();
        prop_assert_eq!(Selector::parse(&text), Ok(selector));
    }

    #[test]
    fn any_text_parses_or_fails_within_bounds(text in "[a!&|(){}'\", =hsn\tin]{0,40}") {
        match Selector::parse(&text) {
            Ok(selector) => {
                let canonical = selector.to_string();
                prop_assert_eq!(Selector::parse(&canonical).unwrap().to_string(), canonical);
            }
            Err(error) => {
                prop_assert!(error.column >= 1);
                prop_assert!(error.column <= text.chars().count() + 1);
                prop_assert_eq!(error.to_string().lines().count(), 3);
            }
        }
    }

    #[test]
    fn what_is_required_is_necessary(selector in selector(), labels in labels()) {
        if selector.matches(&labels) {
            match selector.required() {
                Some(Required::Present { label }) => {
                    prop_assert!(Labels::get(&labels, label).is_some());
                }
                Some(Required::OneOf { label, values }) => {
                    let found = Labels::get(&labels, label);
                    prop_assert!(values.iter().any(|value| found == Some(value)));
                }
                None => {}
            }
        }
    }

    #[test]
    fn only_listed_labels_matter(selector in selector(), labels in labels()) {
        let asked: BTreeSet<&Arc<str>> = selector.labels().collect();
        let mut fewer = labels.clone();
        fewer.retain(|label, _| asked.contains(label));
        prop_assert_eq!(selector.matches(&labels), selector.matches(&fewer));
    }
}
