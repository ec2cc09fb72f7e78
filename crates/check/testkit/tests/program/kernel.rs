//! A table as the kernel holds it, commit by commit.
//!
//! Elements of sets are looked up as of now. The rules of a chain are kept twice, for even and for odd
//! commits: a packet reads those of the parity at which its hook began. A commit writes the chains that
//! it changes for its own parity, and for all others that parity becomes what the commit before left
//! (`nf_tables_commit_chain` in `net/netfilter/nf_tables_api.c`).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ocicat_program::nft::{
    Chain, Data, Element, ElementKey, InstalledChain, InstalledRule, InstalledSet, Key, KeyType,
    Layout, Op, Rule, Ruleset, Set, TableId,
};

/// What packets find after one commit.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// How many commits there were.
    pub commits: usize,
    pub chains: BTreeMap<String, Held>,
    pub sets: BTreeMap<String, Rc<Elements>>,
}

/// A chain, and its rules for packets that began at even and at odd commits.
#[derive(Debug, Clone)]
pub struct Held {
    chain: Chain,
    pub rules: [Rc<Vec<Rule>>; 2],
}

/// A set or map with its elements. Keys are bytes, field by field.
#[derive(Debug, Clone)]
pub struct Elements {
    set: Set,
    pub key: Vec<KeyType>,
    exact: BTreeMap<Vec<u8>, Option<Data>>,
    ranges: BTreeMap<[Vec<Vec<u8>>; 2], Option<Data>>,
    catch_all: Option<Option<Data>>,
}

impl Elements {
    fn new(set: &Set) -> Self {
        Self {
            set: set.clone(),
            key: set.key.clone(),
            exact: BTreeMap::new(),
            ranges: BTreeMap::new(),
            catch_all: None,
        }
    }

    /// Those of a set without a name.
    pub fn of(key: &[KeyType], layout: Layout, elements: &[Element]) -> Self {
        let mut set = Set::new("", key);
        set.interval = layout != Layout::Exact;
        let mut held = Self::new(&set);
        for element in elements {
            held.add(element).expect("elements of one set differ");
        }
        held
    }

    /// What stands under a key; outside, whether anything does.
    pub fn get(&self, fields: &[&[u8]]) -> Option<Option<&Data>> {
        if let Some(data) = self.exact.get(&fields.concat()) {
            return Some(data.as_ref());
        }
        let covers = |[first, last]: &&[Vec<Vec<u8>>; 2]| {
            let within =
                |place: usize| (&first[place][..]..=&last[place][..]).contains(&fields[place]);
            (0..fields.len()).all(within)
        };
        let wide = self.ranges.iter().find(|(range, _)| covers(range));
        wide.map(|(_, data)| data.as_ref())
            .or_else(|| self.catch_all.as_ref().map(Option::as_ref))
    }

    fn fields(&self, key: &Key) -> Vec<Vec<u8>> {
        let field = |value: &ocicat_program::nft::Value| {
            let mut bytes = Vec::new();
            match self.set.interval {
                true => value.write_ordered(&mut bytes),
                false => value.write(&mut bytes),
            }
            bytes
        };
        key.0.iter().map(field).collect()
    }

    fn place(&mut self, element: &Element) -> Place<'_> {
        match &element.key {
            ElementKey::Exact(key) => {
                let key = self.fields(key).concat();
                Place::Exact(&mut self.exact, key)
            }
            ElementKey::Range { first, last } => {
                let range = [self.fields(first), self.fields(last)];
                Place::Range(&mut self.ranges, range)
            }
            ElementKey::CatchAll => Place::CatchAll(&mut self.catch_all),
        }
    }

    fn add(&mut self, element: &Element) -> Result<(), String> {
        let data = element.data.clone();
        let before = match self.place(element) {
            Place::Exact(all, key) => all.insert(key, data.clone()),
            Place::Range(all, range) => all.insert(range, data.clone()),
            Place::CatchAll(held) => held.replace(data.clone()),
        };
        match before {
            Some(before) if before != data => {
                Err(format!("{}: {element} is there already", self.set.name))
            }
            _ => self.fits(),
        }
    }

    fn delete(&mut self, element: &Element) -> Result<(), String> {
        let found = match self.place(element) {
            Place::Exact(all, key) => all.remove(&key),
            Place::Range(all, range) => all.remove(&range),
            Place::CatchAll(held) => held.take(),
        };
        found
            .map(drop)
            .ok_or_else(|| format!("{}: {element} is not there", self.set.name))
    }

    fn fits(&self) -> Result<(), String> {
        let count = self.exact.len() + self.ranges.len();
        let limit = self.set.size.map_or(usize::MAX, |size| size as usize);
        match count <= limit {
            true => Ok(()),
            false => Err(format!("{} is full", self.set.name)),
        }
    }
}

enum Place<'a> {
    Exact(&'a mut BTreeMap<Vec<u8>, Option<Data>>, Vec<u8>),
    Range(
        &'a mut BTreeMap<[Vec<Vec<u8>>; 2], Option<Data>>,
        [Vec<Vec<u8>>; 2],
    ),
    CatchAll(&'a mut Option<Option<Data>>),
}

impl Table {
    /// The table after one more commit, or why the kernel refuses it.
    pub fn commit(&self, ops: &[Op]) -> Result<Self, String> {
        let mut next = self.clone();
        next.commits += 1;
        let parity = next.commits % 2;
        for held in next.chains.values_mut() {
            held.rules[parity] = Rc::clone(&held.rules[1 - parity]);
        }
        let mut new = BTreeSet::new();
        for op in ops {
            next.apply(op, &mut new)?;
        }
        Ok(next)
    }

    fn apply(&mut self, op: &Op, new: &mut BTreeSet<String>) -> Result<(), String> {
        let parity = self.commits % 2;
        match op {
            Op::AddTable { .. } => {}
            Op::AddChain(chain) => {
                let empty = || Rc::new(Vec::new());
                new.insert(chain.name.clone());
                let held = Held {
                    chain: chain.clone(),
                    rules: [empty(), empty()],
                };
                self.chains.entry(chain.name.clone()).or_insert(held);
            }
            Op::DelChain(name) => {
                let held = self.chains.remove(name);
                let held = held.ok_or_else(|| format!("there is no chain {name}"))?;
                if !held.rules[parity].is_empty() {
                    return Err(format!("chain {name} is not empty"));
                }
            }
            Op::FlushChain(name) => *self.rules(name)? = Vec::new(),
            Op::AddRule(rule) => self.rules(&rule.chain)?.push(rule.clone()),
            Op::AddSet(set) => {
                let held = Rc::new(Elements::new(set));
                self.sets.entry(set.name.clone()).or_insert(held);
            }
            Op::DelSet(name) => {
                let held = self.sets.remove(name);
                held.ok_or_else(|| format!("there is no set {name}"))?;
            }
            Op::FlushSet(name) => {
                let held = self.set(name)?;
                *held = Elements::new(&held.set);
            }
            Op::AddElements { set, elements } => {
                let held = self.set(&set.name)?;
                elements.iter().try_for_each(|element| held.add(element))?;
            }
            Op::DelElements { set, elements } => {
                let held = self.set(&set.name)?;
                elements
                    .iter()
                    .try_for_each(|element| held.delete(element))?;
            }
            Op::AddNumbers(numbers) => {
                let held = self.set(numbers.map())?;
                numbers.elements().try_for_each(|e| held.add(&e))?;
            }
            Op::DelNumbers(numbers) => {
                let held = self.set(numbers.map())?;
                numbers.elements().try_for_each(|e| held.delete(&e))?;
            }
            Op::DelTable | Op::ReplaceRule { .. } | Op::DelRule { .. } => {
                return Err(format!("not known here: {op:?}"));
            }
        }
        Ok(())
    }

    /// The rules that packets read which begin after this commit.
    fn rules(&mut self, chain: &str) -> Result<&mut Vec<Rule>, String> {
        let held = self.chains.get_mut(chain);
        let held = held.ok_or_else(|| format!("there is no chain {chain}"))?;
        Ok(Rc::make_mut(&mut held.rules[self.commits % 2]))
    }

    fn set(&mut self, name: &str) -> Result<&mut Elements, String> {
        let held = self.sets.get_mut(name);
        let held = held.ok_or_else(|| format!("there is no set {name}"))?;
        Ok(Rc::make_mut(held))
    }

    /// Chains with their rules, and the names of sets, as they are read back.
    pub fn ruleset(&self) -> Ruleset {
        let chain = |held: &Held| {
            let rules = held.rules[self.commits % 2].iter();
            InstalledChain {
                chain: held.chain.clone(),
                handle: 0,
                rules: rules
                    .map(|rule| InstalledRule {
                        handle: 0,
                        rule: rule.clone(),
                    })
                    .collect(),
            }
        };
        let set = |elements: &Elements| InstalledSet {
            set: elements.set.clone(),
            handle: 0,
            elements: Vec::new(),
        };
        let chains = self.chains.iter().map(|(name, c)| (name.clone(), chain(c)));
        let sets = self.sets.iter().map(|(name, s)| (name.clone(), set(s)));
        Ruleset {
            table: TableId::inet("ocicat"),
            comment: None,
            chains: chains.collect(),
            sets: sets.collect(),
        }
    }
}
