//! What in the kernel is not as it shall be.

use std::collections::{BTreeMap, BTreeSet};

use ocicat_program::nft::{Counter, Element, Expression, Op, Rule, Ruleset};

use super::Compiler;
use crate::layout::Epoch;
use crate::skeleton;

/// Differences named at most.
const NAMED: usize = 100;

/// A table by its parts, without counters and handles.
#[derive(Default)]
struct Parts {
    chains: BTreeMap<String, Vec<Rule>>,
    sets: BTreeMap<String, BTreeSet<Element>>,
}

impl Compiler {
    /// The differences between the table as the kernel has it and the program in force, in words;
    /// at most 100. Call it when [`Compiler::has_garbage`] is false: what waits to be removed
    /// counts as a difference.
    #[must_use]
    pub fn differences(&self, found: &Ruleset) -> Vec<String> {
        let with_hosts = self.has_hosts();
        let mut ops = skeleton::base_chains(with_hosts);
        ops.extend(self.program());
        ops.extend(skeleton::turn_over(self.epoch, &self.config, with_hosts));
        let (desired, actual) = (desired(ops), actual(found, self.epoch));
        let mut out = Vec::new();
        let chains: BTreeSet<_> = desired.chains.keys().chain(actual.chains.keys()).collect();
        for name in chains {
            match (desired.chains.get(name), actual.chains.get(name)) {
                (Some(_), None) => out.push(format!("chain {name} is missing")),
                (None, _) => out.push(format!("chain {name} is not ours")),
                (Some(one), Some(other)) if one != other => {
                    out.push(format!("the rules of chain {name} differ"));
                }
                _ => {}
            }
        }
        let sets: BTreeSet<_> = desired.sets.keys().chain(actual.sets.keys()).collect();
        for name in sets {
            match (desired.sets.get(name), actual.sets.get(name)) {
                (Some(_), None) => out.push(format!("map {name} is missing")),
                (None, _) => out.push(format!("map {name} is not ours")),
                (Some(one), Some(other)) => {
                    let missing = one
                        .difference(other)
                        .map(|e| format!("{name}: {e} is missing"));
                    out.extend(missing.take(NAMED));
                    let extra = other
                        .difference(one)
                        .map(|e| format!("{name}: {e} is not ours"));
                    out.extend(extra.take(NAMED));
                }
            }
        }
        out.truncate(NAMED);
        out
    }
}

fn desired(ops: Vec<Op>) -> Parts {
    let mut parts = Parts::default();
    for op in ops {
        match op {
            Op::AddChain(chain) => {
                parts.chains.entry(chain.name).or_default();
            }
            Op::AddRule(rule) => {
                parts
                    .chains
                    .entry(rule.chain.clone())
                    .or_default()
                    .push(without_counters(rule));
            }
            Op::AddSet(set) => {
                parts.sets.entry(set.name).or_default();
            }
            Op::AddElements { set, elements } => {
                parts.sets.entry(set.name).or_default().extend(elements);
            }
            Op::AddNumbers(numbers) => {
                let held = parts.sets.entry(numbers.map().to_owned()).or_default();
                held.extend(numbers.elements());
            }
            // Nothing else is in a program that is written whole.
            _ => {}
        }
    }
    parts
}

fn actual(found: &Ruleset, epoch: Epoch) -> Parts {
    let other = |name: &str| Epoch::of_name(name) == Some(epoch.other());
    let mut parts = Parts::default();
    for (name, installed) in found.chains.iter().filter(|(name, _)| !other(name)) {
        let rules = installed
            .rules
            .iter()
            .map(|rule| without_counters(rule.rule.clone()));
        parts.chains.insert(name.clone(), rules.collect());
    }
    for (name, installed) in found.sets.iter().filter(|(name, _)| !other(name)) {
        let elements = installed.elements.iter().cloned();
        let elements = elements.map(|element| Element {
            counter: None,
            ..element
        });
        parts.sets.insert(name.clone(), elements.collect());
    }
    parts
}

fn without_counters(mut rule: Rule) -> Rule {
    for expression in &mut rule.expressions {
        if let Expression::Counter(counter) = expression {
            *counter = Counter::default();
        }
    }
    rule
}
