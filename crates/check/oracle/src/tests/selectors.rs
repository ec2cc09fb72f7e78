//! The selector language: every operator, present, different and absent.

use std::collections::BTreeMap;

use ocicat_selector::Selector;

use super::build::eq;
use crate::expression::{Sense, satisfies};

fn holds(selector: &Selector) -> bool {
    let labels: BTreeMap<String, String> = [
        ("app".to_owned(), "web-1".to_owned()),
        ("empty".to_owned(), String::new()),
    ]
    .into();
    satisfies(&labels, selector, Sense::Plain)
}

#[test]
fn comparisons() {
    // (selector, expected where the label is `web-1`, and where it is absent)
    type Make = fn(&str) -> Selector;
    use Selector::{Contains, EndsWith, Equal, Has, In, NotEqual, NotIn, StartsWith};
    let set = |values: &[&str]| values.iter().map(|v| (*v).into()).collect();
    let table: [(Make, bool, bool); 10] = [
        (|l| Has(l.into()), true, false),
        (|l| Equal(l.into(), "web-1".into()), true, false),
        (|l| Equal(l.into(), "web".into()), false, false),
        (|l| NotEqual(l.into(), "web-1".into()), false, true),
        (|l| NotEqual(l.into(), "web".into()), true, true),
        (|l| Contains(l.into(), "b-".into()), true, false),
        (|l| Contains(l.into(), "".into()), true, false),
        (|l| StartsWith(l.into(), "web".into()), true, false),
        (|l| StartsWith(l.into(), "eb".into()), false, false),
        (|l| EndsWith(l.into(), "-1".into()), true, false),
    ];
    for (make, present, absent) in table {
        assert_eq!(holds(&make("app")), present, "{:?}", make("app"));
        assert_eq!(holds(&make("gone")), absent, "{:?}", make("gone"));
    }
    assert!(holds(&In("app".into(), set(&["web-1", "x"]))));
    assert!(!holds(&In("app".into(), set(&["x"]))));
    assert!(!holds(&In("app".into(), set(&[]))));
    assert!(!holds(&In("gone".into(), set(&["x"]))));
    assert!(!holds(&NotIn("app".into(), set(&["web-1"]))));
    assert!(holds(&NotIn("app".into(), set(&[]))));
    assert!(holds(&NotIn("gone".into(), set(&["x"]))));
    // An empty value is a value.
    assert!(holds(&Has("empty".into())));
    assert!(holds(&eq("empty", "")));
}

#[test]
fn connectives() {
    let yes = || eq("app", "web-1");
    let no = || eq("app", "x");
    assert!(!holds(&Selector::Not(Box::new(yes()))));
    assert!(holds(&Selector::Not(Box::new(no()))));
    assert!(holds(&Selector::And(vec![yes(), yes()])));
    assert!(!holds(&Selector::And(vec![yes(), no()])));
    assert!(holds(&Selector::Or(vec![no(), yes()])));
    assert!(!holds(&Selector::Or(vec![no(), no()])));
}

#[test]
fn all_and_global_by_where_they_stand() {
    let at = |selector: &Selector, sense| satisfies(&BTreeMap::new(), selector, sense);
    for (sense, all, global) in [
        (Sense::Plain, true, true),
        (Sense::Namespaced, true, false),
        (Sense::NotNamespaced, false, true),
    ] {
        assert_eq!(at(&Selector::All, sense), all);
        assert_eq!(at(&Selector::Global, sense), global);
        assert_eq!(at(&Selector::Not(Box::new(Selector::All)), sense), !all);
    }
}
