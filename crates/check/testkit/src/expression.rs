//! Random selectors.

use std::collections::BTreeSet;
use std::sync::Arc;

use ocicat_selector::Selector;

use crate::Random;
use crate::words::{ACCOUNTS, GIVEN_LABELS, LABELS, NAMESPACES, OUTER_LABELS, VALUES};

/// Over labels of endpoints and sets, with every operator.
pub fn of_endpoints(random: &mut Random) -> Selector {
    expression(random, 2, &|random| {
        if random.chance(80) {
            let name = random.pick(&LABELS);
            return (name, random.pick(&VALUES));
        }
        given(random)
    })
}

/// Over labels of namespaces and their names.
pub fn of_namespaces(random: &mut Random) -> Selector {
    expression(random, 2, &|random| {
        if random.chance(30) {
            return ("projectcalico.org/name", random.pick(&NAMESPACES));
        }
        (random.pick(&OUTER_LABELS), random.pick(&VALUES))
    })
}

/// Over labels of service accounts and their names.
pub fn of_accounts(random: &mut Random) -> Selector {
    expression(random, 1, &|random| {
        if random.chance(30) {
            return ("projectcalico.org/name", random.pick(&ACCOUNTS));
        }
        (random.pick(&OUTER_LABELS), random.pick(&VALUES))
    })
}

/// What a Kubernetes label selector can say, over labels of pods.
pub fn of_pods(random: &mut Random) -> Selector {
    label_selector(random, &LABELS)
}

/// What a Kubernetes label selector can say, over labels of namespaces.
pub fn of_kube_namespaces(random: &mut Random) -> Selector {
    if random.chance(20) {
        let name = random.pick(&NAMESPACES);
        return Selector::equal("kubernetes.io/metadata.name", name);
    }
    label_selector(random, &OUTER_LABELS)
}

/// What a Kubernetes label selector can say, over labels of nodes.
pub fn of_nodes(random: &mut Random) -> Selector {
    label_selector(random, &OUTER_LABELS)
}

type Word = (&'static str, &'static str);

/// A label that endpoints get from elsewhere, with a value it may have.
fn given(random: &mut Random) -> Word {
    let name = random.pick(&GIVEN_LABELS);
    let value = match name {
        "projectcalico.org/namespace" => random.pick(&NAMESPACES),
        "projectcalico.org/orchestrator" => random.pick(&["bare", "k8s"]),
        "projectcalico.org/serviceaccount" => random.pick(&ACCOUNTS),
        _ => random.pick(&VALUES),
    };
    (name, value)
}

fn expression(random: &mut Random, depth: usize, word: &dyn Fn(&mut Random) -> Word) -> Selector {
    if depth == 0 || random.chance(60) {
        return leaf(random, word);
    }
    let parts = |random: &mut Random| -> Vec<Selector> {
        random.several(2, 3, |random| expression(random, depth - 1, word))
    };
    match random.below(3) {
        0 => Selector::and(parts(random)),
        1 => Selector::or(parts(random)),
        _ => Selector::negate(expression(random, depth - 1, word)),
    }
}

fn leaf(random: &mut Random, word: &dyn Fn(&mut Random) -> Word) -> Selector {
    let (name, value) = word(random);
    let (name, value): (Arc<str>, Arc<str>) = (name.into(), value.into());
    let mut set = || -> BTreeSet<Arc<str>> {
        let others = random.several(0, 2, |random| random.pick(&VALUES).into());
        let keep = random.chance(85).then(|| value.clone());
        others.into_iter().chain(keep).collect()
    };
    let (set, choice) = (set(), random.below(100));
    match choice {
        0..8 => Selector::All,
        8..12 => Selector::Global,
        12..26 => Selector::Has(name),
        26..50 => Selector::Equal(name, value),
        50..60 => Selector::NotEqual(name, value),
        60..72 => Selector::In(name, set),
        72..82 => Selector::NotIn(name, set),
        82..88 => Selector::Contains(name, value),
        88..94 => Selector::StartsWith(name, value),
        _ => Selector::EndsWith(name, value),
    }
}

/// In the order in which they stand in a manifest: `matchLabels`, then `matchExpressions`.
fn label_selector(random: &mut Random, names: &[&'static str]) -> Selector {
    let mut parts = Vec::new();
    for name in names {
        if random.chance(20) {
            parts.push(Selector::equal(name, random.pick(&VALUES)));
        }
    }
    if random.chance(35) {
        let name: Arc<str> = random.pick(names).into();
        let set = random.several(1, 3, |random| random.pick(&VALUES).into());
        let set = set.into_iter().collect();
        parts.push(match random.below(4) {
            0 => Selector::In(name, set),
            1 => Selector::NotIn(name, set),
            2 => Selector::Has(name),
            _ => Selector::negate(Selector::Has(name)),
        });
    }
    Selector::and(parts)
}
