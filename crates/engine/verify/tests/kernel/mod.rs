//! A table without a kernel.

use std::collections::BTreeMap;

use ocicat_program::nft::{
    Counter, Element, InstalledChain, InstalledRule, InstalledSet, Op, Ruleset, TableId,
};

/// The table that a list of operations makes, as it would be read back.
pub fn in_kernel(ops: &[Op]) -> Ruleset {
    let mut table = Ruleset {
        table: TableId::inet("ocicat"),
        comment: None,
        chains: BTreeMap::new(),
        sets: BTreeMap::new(),
    };
    for op in ops {
        match op {
            Op::AddChain(chain) => {
                let installed = InstalledChain {
                    chain: chain.clone(),
                    handle: 0,
                    rules: Vec::new(),
                };
                table.chains.insert(chain.name.clone(), installed);
            }
            Op::AddRule(rule) => {
                let chain = table
                    .chains
                    .get_mut(&rule.chain)
                    .expect("the chain is there");
                let rule = rule.clone();
                chain.rules.push(InstalledRule { handle: 0, rule });
            }
            Op::FlushChain(chain) => {
                table
                    .chains
                    .get_mut(chain)
                    .expect("the chain is there")
                    .rules
                    .clear();
            }
            Op::AddSet(set) => {
                let installed = InstalledSet {
                    set: set.clone(),
                    handle: 0,
                    elements: Vec::new(),
                };
                table.sets.insert(set.name.clone(), installed);
            }
            Op::AddNumbers(numbers) => {
                let held = table.sets.get_mut(numbers.map()).expect("the set is there");
                held.elements.extend(numbers.elements());
            }
            Op::AddElements { set, elements } => {
                let held = table.sets.get_mut(&set.name).expect("the set is there");
                let counter = held.set.counter.then(Counter::default);
                held.elements
                    .extend(elements.iter().cloned().map(|e| Element { counter, ..e }));
            }
            _ => {}
        }
    }
    table
}

/// Gives an element another value that elements of its map have, or takes it away.
pub fn spoilt(ruleset: &Ruleset, set: &str, place: usize) -> Vec<(String, Ruleset)> {
    let mut out = Vec::new();
    let elements = &ruleset.sets[set].elements;
    let element = &elements[place];
    let other = elements
        .iter()
        .map(|e| &e.data)
        .find(|data| **data != element.data);
    if let Some(other) = other {
        let mut spoilt = ruleset.clone();
        let held = spoilt.sets.get_mut(set).expect("it was just there");
        held.elements[place].data = other.clone();
        out.push((format!("{set}: {element} gets {other:?}"), spoilt));
    }
    let mut spoilt = ruleset.clone();
    spoilt
        .sets
        .get_mut(set)
        .expect("it was just there")
        .elements
        .remove(place);
    out.push((format!("{set}: {element} is gone"), spoilt));
    out
}
