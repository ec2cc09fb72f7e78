//! The selectors of the world, writable in both languages.

use std::collections::BTreeSet;

use ocicat_testkit::Random;
use serde_json::{Map, Value, json};

use super::{Size, labels};

/// Comparisons that must all hold. Sorted by key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Conjunction(Vec<(&'static str, Comparison)>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Comparison {
    Is(String),
    IsNot(String),
    In(Vec<String>),
}

impl Conjunction {
    /// Calico's language.
    pub(super) fn text(&self) -> String {
        if self.0.is_empty() {
            return "all()".to_owned();
        }
        let terms = self.0.iter().map(|(key, comparison)| match comparison {
            Comparison::Is(value) => format!("{key} == \"{value}\""),
            Comparison::IsNot(value) => format!("{key} != \"{value}\""),
            Comparison::In(values) => {
                let quoted: Vec<String> = values.iter().map(|v| format!("\"{v}\"")).collect();
                format!("{key} in {{{}}}", quoted.join(", "))
            }
        });
        terms.collect::<Vec<_>>().join(" && ")
    }

    /// A label selector of Kubernetes.
    pub(super) fn label_selector(&self) -> Value {
        let (mut labels, mut expressions) = (Map::new(), Vec::new());
        for (key, comparison) in &self.0 {
            let (operator, values) = match comparison {
                Comparison::Is(value) => {
                    labels.insert((*key).to_owned(), value.clone().into());
                    continue;
                }
                Comparison::IsNot(value) => ("NotIn", vec![value.clone()]),
                Comparison::In(values) => ("In", values.clone()),
            };
            expressions.push(json!({"key": key, "operator": operator, "values": values}));
        }
        let mut selector = Map::new();
        if !labels.is_empty() {
            selector.insert("matchLabels".to_owned(), labels.into());
        }
        if !expressions.is_empty() {
            selector.insert("matchExpressions".to_owned(), expressions.into());
        }
        selector.into()
    }
}

pub(super) fn everything() -> Conjunction {
    Conjunction(Vec::new())
}

/// The pods of one label set.
pub(super) fn workload(label_set: usize) -> Conjunction {
    Conjunction(vec![app(label_set), component(label_set)])
}

pub(super) fn of_component(label_set: usize) -> Conjunction {
    Conjunction(vec![component(label_set)])
}

pub(super) fn of_app(label_set: usize) -> Conjunction {
    Conjunction(vec![app(label_set)])
}

pub(super) fn of_environment(environment: &str) -> Conjunction {
    Conjunction(vec![(
        "environment",
        Comparison::Is(environment.to_owned()),
    )])
}

fn app(label_set: usize) -> (&'static str, Comparison) {
    ("app", Comparison::Is(labels::app(label_set)))
}

fn component(label_set: usize) -> (&'static str, Comparison) {
    (
        "component",
        Comparison::Is(labels::component(label_set).to_owned()),
    )
}

/// Selectors of namespaces: each environment, each team, and some of both.
pub(super) fn of_namespaces(limit: usize) -> Vec<Conjunction> {
    let team = |number: usize| ("team", Comparison::Is(format!("team-{number}")));
    let environments = labels::ENVIRONMENTS.into_iter().map(of_environment);
    let teams = (0..labels::TEAMS).map(|number| Conjunction(vec![team(number)]));
    let both = (0..labels::TEAMS).map(|number| {
        let environment = labels::ENVIRONMENTS[number % labels::ENVIRONMENTS.len()];
        let environment = ("environment", Comparison::Is(environment.to_owned()));
        Conjunction(vec![environment, team(number)])
    });
    environments.chain(teams).chain(both).take(limit).collect()
}

/// So many distinct selectors of pods. Those of every label set, app and component are among them.
pub(super) fn of_pods(size: &Size, count: usize, random: &mut Random) -> Vec<Conjunction> {
    let sets = 0..size.label_sets;
    let mut known: BTreeSet<Conjunction> = sets.clone().map(workload).collect();
    known.extend(sets.clone().map(of_app));
    known.extend(sets.take(labels::COMPONENTS.len()).map(of_component));
    while known.len() < count {
        known.insert(any(size, random));
    }
    let mut pool: Vec<Conjunction> = known.into_iter().collect();
    for last in (1..pool.len()).rev() {
        pool.swap(last, random.below(last + 1));
    }
    pool
}

fn any(size: &Size, random: &mut Random) -> Conjunction {
    let set = random.below(size.label_sets);
    let apps = size.label_sets / labels::COMPONENTS.len();
    let some_apps = |random: &mut Random| {
        let names: BTreeSet<String> = random
            .several(2, 4, |r| labels::app_name(r.below(apps)))
            .into_iter()
            .collect();
        ("app", Comparison::In(names.into_iter().collect()))
    };
    let product = |random: &mut Random| {
        (
            "part-of",
            Comparison::Is(labels::product_name(random.below(labels::PRODUCTS))),
        )
    };
    let version = |random: &mut Random| {
        let names: BTreeSet<String> = random
            .several(1, 3, |r| format!("v{}", r.below(labels::VERSIONS)))
            .into_iter()
            .collect();
        ("version", Comparison::In(names.into_iter().collect()))
    };
    let track = |random: &mut Random| {
        (
            "track",
            Comparison::Is(random.pick(&labels::TRACKS).to_owned()),
        )
    };
    let not_component = || {
        (
            "component",
            Comparison::IsNot(labels::component(set).to_owned()),
        )
    };
    Conjunction(match random.below(7) {
        0 => vec![some_apps(random)],
        1 => vec![some_apps(random), component(set)],
        2 => vec![some_apps(random), not_component()],
        3 => vec![component(set), product(random), track(random)],
        4 => vec![component(set), version(random)],
        5 => vec![app(set), version(random)],
        _ => vec![app(set), not_component(), track(random)],
    })
}
