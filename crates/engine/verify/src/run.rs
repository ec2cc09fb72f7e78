//! Chains: rules in order, jumps, and what is known already.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ocicat_program::nft::{
    AnonymousSet, CtKey, Data, Expression, LookupSet, MetaKey, PayloadBase, Policy, Rule, Ruleset,
    SetData, Text, Verdict,
};
use rustc_hash::FxHashMap;

use crate::lookup::Index;
use crate::machine::{self, Behind};
use crate::packets::{Connection, FIELDS, Field, Packets};
use crate::{Ranges, Unsupported};

/// Jumps within jumps (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;

/// What a program does to packets besides deciding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// An element counted them.
    Counted {
        set: String,
        /// The key, where it is one number.
        number: Option<u32>,
        comment: Option<Text>,
    },
    /// They were sent to an NFLOG group.
    Logged {
        group: u16,
        mark: u32,
        prefix: Option<Text>,
    },
}

/// How packets leave a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    Accept,
    Drop,
    /// Back to the calling chain.
    Return,
}

/// Packets that leave a chain alike.
#[derive(Debug, Clone)]
pub struct Fate {
    pub packets: Packets,
    pub events: Vec<Event>,
    pub end: End,
}

/// Runs the chains of a table as it was read back.
pub struct Run<'r> {
    ruleset: &'r Ruleset,
    named: FxHashMap<String, Rc<Index>>,
    anonymous: FxHashMap<*const AnonymousSet, Rc<Index>>,
    looks: BTreeMap<String, Looks>,
    known: FxHashMap<Situation, Rc<Vec<Fate>>>,
    depth: usize,
}

/// What a chain, and the chains that it leads to, may look at or change: a bit for each.
type Looks = u16;

const IIF: Looks = 1 << FIELDS;
const OIF: Looks = 1 << (FIELDS + 1);
const FAMILY: Looks = 1 << (FIELDS + 2);
const PRIORITY: Looks = 1 << (FIELDS + 3);
const MARK: Looks = 1 << (FIELDS + 4);
const CONNECTION: Looks = 1 << (FIELDS + 5);
const TO_HOST: Looks = 1 << (FIELDS + 6);

/// All on which the fates of a chain depend. Sets are told apart by where they are: two equal ones in
/// different places are only calculated twice. They are kept as long as this is.
#[derive(Debug, Clone)]
struct Situation {
    chain: String,
    looks: Looks,
    packets: Packets,
}

impl<'r> Run<'r> {
    #[must_use]
    pub fn new(ruleset: &'r Ruleset) -> Self {
        Self {
            ruleset,
            named: FxHashMap::default(),
            anonymous: FxHashMap::default(),
            looks: BTreeMap::new(),
            known: FxHashMap::default(),
            depth: 0,
        }
    }

    /// What becomes of packets that enter a base chain.
    ///
    /// # Errors
    /// If there is no such chain, or the program does what this crate does not know.
    pub fn enter(&mut self, base: &str, packets: &Packets) -> Result<Vec<Fate>, Unsupported> {
        let installed = self.ruleset.chains.get(base);
        let hook = installed.and_then(|chain| chain.chain.base.as_ref());
        let hook = hook.ok_or_else(|| Unsupported(format!("there is no base chain {base}")))?;
        let end = match hook.policy {
            Policy::Accept => End::Accept,
            Policy::Drop => End::Drop,
        };
        let mut fates = self.chain(base, packets)?.to_vec();
        for fate in fates.iter_mut().filter(|fate| fate.end == End::Return) {
            fate.end = end;
        }
        Ok(fates)
    }

    /// What becomes of packets in a chain.
    ///
    /// # Errors
    /// As for [`Run::enter`].
    pub fn chain(&mut self, name: &str, packets: &Packets) -> Result<Rc<Vec<Fate>>, Unsupported> {
        let looks = self.looks(name)?;
        let situation = Situation {
            chain: name.to_owned(),
            looks,
            packets: packets.clone(),
        };
        if let Some(known) = self.known.get(&situation) {
            let fates = known.iter().map(|fate| Fate {
                packets: fate.packets.unseen_from(packets, looks),
                ..fate.clone()
            });
            return Ok(Rc::new(fates.collect()));
        }
        if self.depth == DEEPEST {
            return Err(Unsupported(format!("{name}: jumps are nested too deep")));
        }
        self.depth += 1;
        let fates = self.rules(name, packets);
        self.depth -= 1;
        let fates = Rc::new(fates?);
        self.known.insert(situation, Rc::clone(&fates));
        Ok(fates)
    }

    fn rules(&mut self, name: &str, packets: &Packets) -> Result<Vec<Fate>, Unsupported> {
        let ruleset = self.ruleset;
        let chain = ruleset.chains.get(name);
        let chain = chain.ok_or_else(|| Unsupported(format!("there is no chain {name}")))?;
        let mut done = Vec::new();
        let mut live = vec![(packets.clone(), Vec::new())];
        for installed in &chain.rules {
            let mut next = Vec::new();
            for (packets, events) in live {
                let expressions = &installed.rule.expressions;
                let behind = machine::rule(self, expressions, packets)
                    .map_err(|error| Unsupported(format!("{name}: {}", error.0)))?;
                for behind in behind {
                    self.follow(behind, &events, &mut next, &mut done)?;
                }
            }
            live = next;
        }
        done.extend(live.into_iter().map(|(packets, events)| Fate {
            packets,
            events,
            end: End::Return,
        }));
        Ok(done)
    }

    fn follow(
        &mut self,
        behind: Behind,
        before: &[Event],
        next: &mut Vec<(Packets, Vec<Event>)>,
        done: &mut Vec<Fate>,
    ) -> Result<(), Unsupported> {
        let events = [before, &behind.events].concat();
        let packets = behind.packets;
        let end = match behind.verdict {
            None | Some(Verdict::Continue) => {
                next.push((packets, events));
                return Ok(());
            }
            Some(Verdict::Accept) => End::Accept,
            Some(Verdict::Drop) => End::Drop,
            Some(Verdict::Return) => End::Return,
            Some(Verdict::Jump(to)) => {
                for fate in self.chain(&to, &packets)?.iter() {
                    let events = [&events, &fate.events[..]].concat();
                    let packets = fate.packets.clone();
                    match fate.end {
                        End::Return => next.push((packets, events)),
                        end => done.push(Fate {
                            packets,
                            events,
                            end,
                        }),
                    }
                }
                return Ok(());
            }
            Some(Verdict::Goto(to)) => {
                let fates = self.chain(&to, &packets)?;
                done.extend(fates.iter().map(|fate| Fate {
                    events: [&events, &fate.events[..]].concat(),
                    ..fate.clone()
                }));
                return Ok(());
            }
            Some(Verdict::Other(code)) => return Err(Unsupported(format!("the verdict {code}"))),
        };
        done.push(Fate {
            packets,
            events,
            end,
        });
        Ok(())
    }

    pub(crate) fn named(&mut self, name: &str) -> Result<Rc<Index>, Unsupported> {
        if let Some(index) = self.named.get(name) {
            return Ok(Rc::clone(index));
        }
        let installed = self.ruleset.sets.get(name);
        let installed = installed.ok_or_else(|| Unsupported(format!("there is no set {name}")))?;
        let set = &installed.set;
        let layout = set.id().layout;
        let index = Index::new(name, &set.key, set.data, layout, &installed.elements);
        let index = Rc::new(index);
        self.named.insert(name.to_owned(), Rc::clone(&index));
        Ok(index)
    }

    pub(crate) fn anonymous(&mut self, set: &AnonymousSet) -> Rc<Index> {
        // The sets are inside the ruleset, which stays where it is.
        if let Some(index) = self.anonymous.get(&std::ptr::from_ref(set)) {
            return Rc::clone(index);
        }
        let name = machine::name_of(set);
        let index = Index::new(&name, &set.key, set.data, set.layout(), &set.elements);
        let index = Rc::new(index);
        self.anonymous.insert(set, Rc::clone(&index));
        index
    }

    fn looks(&mut self, chain: &str) -> Result<Looks, Unsupported> {
        if let Some(looks) = self.looks.get(chain) {
            return Ok(*looks);
        }
        // A chain that leads to itself finds this, and fails when it is run.
        self.looks.insert(chain.to_owned(), 0);
        let ruleset = self.ruleset;
        let installed = ruleset.chains.get(chain);
        let installed =
            installed.ok_or_else(|| Unsupported(format!("there is no chain {chain}")))?;
        let mut looks = 0;
        for rule in installed.rules.iter().map(|installed| &installed.rule) {
            looks |= looks_of(rule);
            for to in self.leads_to(rule)? {
                looks |= self.looks(&to)?;
            }
        }
        self.looks.insert(chain.to_owned(), looks);
        Ok(looks)
    }

    /// The chains that a rule may enter.
    fn leads_to(&mut self, rule: &Rule) -> Result<Vec<String>, Unsupported> {
        let target = |verdict: &Verdict| match verdict {
            Verdict::Jump(to) | Verdict::Goto(to) => Some(to.clone()),
            _ => None,
        };
        let mut all = Vec::new();
        for expression in &rule.expressions {
            match expression {
                Expression::Verdict(verdict) => all.extend(target(verdict)),
                Expression::Lookup {
                    set: LookupSet::Named(name),
                    ..
                } => {
                    let index = self.named(name)?;
                    if index.data == SetData::Verdict {
                        all.extend(index.items.iter().filter_map(|item| match &item.data {
                            Some(Data::Verdict(verdict)) => target(verdict),
                            _ => None,
                        }));
                    }
                }
                _ => {}
            }
        }
        all.sort();
        all.dedup();
        Ok(all)
    }
}

/// What the expressions of a rule load or set.
fn looks_of(rule: &Rule) -> Looks {
    let bit = |field: Field| 1 << field as u16;
    let of = |expression: &Expression| match expression {
        Expression::MetaLoad { key, .. } | Expression::MetaSet { key, .. } => match key {
            MetaKey::Priority => PRIORITY,
            MetaKey::Mark => MARK,
            MetaKey::IifName => IIF,
            MetaKey::OifName => OIF,
            MetaKey::NfProto => FAMILY,
            MetaKey::L4Proto => bit(Field::Protocol),
            _ => 0,
        },
        Expression::CtLoad {
            key: CtKey::State | CtKey::Mark | CtKey::Direction,
            ..
        }
        | Expression::CtSet { .. }
        | Expression::Notrack => CONNECTION,
        Expression::Fib { .. } => TO_HOST,
        Expression::PayloadLoad {
            base, offset, len, ..
        } => match (base, offset, len) {
            (PayloadBase::Link, 12, 2) => FAMILY,
            (PayloadBase::Link, ..) => bit(Field::SourceMac),
            (PayloadBase::Network, 12 | 8, _) => FAMILY | bit(Field::Source),
            (PayloadBase::Network, ..) => FAMILY | bit(Field::Destination),
            (PayloadBase::Transport, 0, 2) => bit(Field::Protocol) | bit(Field::SourcePort),
            (PayloadBase::Transport, 2, 2) => bit(Field::Protocol) | bit(Field::DestinationPort),
            (PayloadBase::Transport, 0, 1) => bit(Field::Protocol) | bit(Field::IcmpType),
            (PayloadBase::Transport, ..) => bit(Field::Protocol) | bit(Field::IcmpCode),
            (PayloadBase::Inner, ..) => 0,
        },
        Expression::Log(_) => MARK,
        _ => 0,
    };
    rule.expressions
        .iter()
        .map(of)
        .fold(0, |all, one| all | one)
}

impl Packets {
    /// The same packets with what a chain does not look at taken from others.
    fn unseen_from(&self, others: &Self, looks: Looks) -> Self {
        let pick = |bit: Looks| looks & bit != 0;
        let sets = std::array::from_fn(|place| match pick(1 << place) {
            true => Arc::clone(&self.sets[place]),
            false => Arc::clone(&others.sets[place]),
        });
        let seen = |bit| if pick(bit) { self } else { others };
        Self {
            family: seen(FAMILY).family,
            iif: seen(IIF).iif,
            oif: seen(OIF).oif,
            connection: seen(CONNECTION).connection,
            to_host: seen(TO_HOST).to_host,
            priority: seen(PRIORITY).priority,
            mark: seen(MARK).mark,
            sets,
        }
    }
}

impl Situation {
    fn parts(&self) -> (&str, [*const Ranges; FIELDS], [u32; 7], [[u8; 16]; 2]) {
        let looks = |bit: Looks| self.looks & bit != 0;
        let packets = &self.packets;
        let set = |place: usize| match looks(1 << place) {
            true => Arc::as_ptr(&packets.sets[place]),
            false => std::ptr::null(),
        };
        let number = |bit: Looks, number: u32| if looks(bit) { number } else { 0 };
        let Connection {
            state,
            mark,
            is_reply,
        } = packets.connection;
        let numbers = [
            number(PRIORITY, packets.priority),
            number(MARK, packets.mark),
            number(CONNECTION, state),
            // No mark of ours has all bits.
            number(CONNECTION, mark.unwrap_or(u32::MAX)),
            number(FAMILY, packets.family.bits()),
            number(TO_HOST, packets.to_host.into()),
            number(CONNECTION, is_reply.into()),
        ];
        let name = |bit: Looks, name: [u8; 16]| if looks(bit) { name } else { [0; 16] };
        let names = [name(IIF, packets.iif), name(OIF, packets.oif)];
        (&self.chain, std::array::from_fn(set), numbers, names)
    }
}

impl PartialEq for Situation {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Situation {}

impl std::hash::Hash for Situation {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}
