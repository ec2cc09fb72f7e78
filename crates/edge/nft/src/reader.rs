//! Reading rulesets back.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::connection::{Connection, Dump};
use crate::decode;
use crate::error::ReadError;
use crate::kernel::attr;
use crate::kernel::msg::{
    NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFT_MSG_GETSET, NFT_MSG_GETSETELEM, NFT_MSG_GETTABLE,
    NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM, NFT_MSG_NEWTABLE,
};
use crate::object::{
    AnonymousSet, Chain, Counter, Element, ElementKey, Expression, InstalledChain, InstalledRule,
    InstalledSet, LookupSet, Ruleset, Set, TableId,
};
use crate::wire::Writer;

/// Attempts to read while others commit, before giving up.
const ATTEMPTS: u32 = 32;

/// The longest pause between two attempts, each being a millisecond longer than the one before: together
/// under a third of a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

impl Connection {
    /// All tables, of every family this crate knows, in the kernel's order.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the kernel could not be asked, or its answer was not understood.
    pub fn tables(&mut self) -> Result<Vec<TableId>, ReadError> {
        self.settled(|nft| {
            let Some(dump) = nft.dump(NFT_MSG_GETTABLE, 0, |_| {})? else {
                return Ok(None);
            };
            // A table of a family this crate does not know is none of its business.
            Ok(Some(
                dump.messages(NFT_MSG_NEWTABLE)
                    .filter_map(|m| Some(decode::table(&m).ok()?.0))
                    .collect(),
            ))
        })
    }

    /// All chains of all tables, with their tables, in the kernel's order. Chains that this crate does
    /// not understand, of unknown families or kinds, are left out.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the kernel could not be asked.
    pub fn chains(&mut self) -> Result<Vec<(TableId, Chain)>, ReadError> {
        self.settled(|nft| {
            let Some(dump) = nft.dump(NFT_MSG_GETCHAIN, 0, |_| {})? else {
                return Ok(None);
            };
            let chains = dump
                .messages(NFT_MSG_NEWCHAIN)
                .filter_map(|m| decode::chain(&m).ok());
            Ok(Some(
                chains.map(|(table, chain, _)| (table, chain)).collect(),
            ))
        })
    }

    /// Everything in a table as of one moment, or `None` if there is no such table.
    ///
    /// # Errors
    ///
    /// [`ReadError::Unsettled`] if each of several attempts met a commit; [`ReadError::Malformed`] if an
    /// answer was not understood; [`ReadError::Io`] if the kernel could not be asked.
    pub fn dump_table(&mut self, table: &TableId) -> Result<Option<Ruleset>, ReadError> {
        self.settled(|nft| {
            let before = nft.generation()?;
            let attempt = nft.try_dump_table(table);
            // What fails while something is committed, such as a set that was listed and is gone, is
            // tried again.
            let unsettled = matches!(attempt, Err(ReadError::Unsettled { .. }));
            if nft.generation()? != before && !unsettled {
                return Ok(None);
            }
            Ok(match attempt? {
                Attempt::Done(ruleset) => Some(Some(ruleset)),
                Attempt::NoTable => Some(None),
                Attempt::Moved => None,
            })
        })
    }

    /// The elements of a set, sorted, with their counters.
    ///
    /// # Errors
    ///
    /// An [`ReadError::Io`] of kind `NotFound` if there is no such set; otherwise those of
    /// [`Connection::dump_table`].
    pub fn elements(&mut self, table: &TableId, set: &Set) -> Result<Vec<Element>, ReadError> {
        self.settled(|nft| {
            let Some(dump) = nft.dump_elements(table, &set.name)? else {
                return Ok(None);
            };
            decode_elements(&dump, set)
        })
    }

    /// The counters of a set's elements, sorted by key. Elements without a counter are left out.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::elements`].
    pub fn counters(
        &mut self,
        table: &TableId,
        set: &Set,
    ) -> Result<Vec<(ElementKey, Counter)>, ReadError> {
        let elements = self.elements(table, set)?;
        Ok(elements
            .into_iter()
            .filter_map(|e| Some((e.key, e.counter?)))
            .collect())
    }

    /// Tries until nothing moves meanwhile.
    fn settled<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<Option<T>, ReadError>,
    ) -> Result<T, ReadError> {
        for attempt in 0..ATTEMPTS {
            if let Some(value) = read(self)? {
                return Ok(value);
            }
            std::thread::sleep(LONGEST_PAUSE.min(Duration::from_millis(u64::from(attempt))));
        }
        Err(ReadError::Unsettled { attempts: ATTEMPTS })
    }

    fn try_dump_table(&mut self, table: &TableId) -> Result<Attempt, ReadError> {
        let family = table.family.number();
        let name = |kind| move |w: &mut Writer| w.string(kind, &table.name);
        let Some(all) = self.dump(NFT_MSG_GETTABLE, family, |_| {})? else {
            return Ok(Attempt::Moved);
        };
        let mut tables = all
            .messages(NFT_MSG_NEWTABLE)
            .filter_map(|m| decode::table(&m).ok());
        let Some((_, comment)) = tables.find(|(id, _)| id == table) else {
            return Ok(Attempt::NoTable);
        };
        let chains = self.dump(NFT_MSG_GETCHAIN, family, name(attr::NFTA_CHAIN_TABLE))?;
        let rules = self.dump(NFT_MSG_GETRULE, family, name(attr::NFTA_RULE_TABLE))?;
        let sets = self.dump(NFT_MSG_GETSET, family, name(attr::NFTA_SET_TABLE))?;
        let (Some(chains), Some(rules), Some(sets)) = (chains, rules, sets) else {
            return Ok(Attempt::Moved);
        };
        let mut ruleset = Ruleset {
            table: table.clone(),
            comment,
            chains: BTreeMap::new(),
            sets: BTreeMap::new(),
        };
        let anonymous = self.add_sets(&mut ruleset, &sets)?;
        add_chains(&mut ruleset, &chains)?;
        add_rules(&mut ruleset, &rules, &anonymous)?;
        Ok(Attempt::Done(ruleset))
    }

    /// Adds the named sets; returns those of rules by the kernel's names for them.
    fn add_sets(
        &mut self,
        ruleset: &mut Ruleset,
        dump: &Dump,
    ) -> Result<BTreeMap<String, AnonymousSet>, ReadError> {
        let mut anonymous = BTreeMap::new();
        for message in dump.messages(NFT_MSG_NEWSET) {
            let found = decode::set(&message)?;
            if found.table != ruleset.table {
                continue;
            }
            let (set, handle) = (found.set, found.handle);
            let elements = self.elements(&ruleset.table, &set)?;
            if found.anonymous {
                let (key, data, interval) = (set.key, set.data, set.interval);
                let value = AnonymousSet {
                    key,
                    data,
                    interval,
                    elements,
                };
                anonymous.insert(set.name, value);
            } else {
                let value = InstalledSet {
                    set,
                    handle,
                    elements,
                };
                ruleset.sets.insert(value.set.name.clone(), value);
            }
        }
        Ok(anonymous)
    }

    fn dump_elements(&mut self, table: &TableId, set: &str) -> Result<Option<Dump>, ReadError> {
        self.dump(NFT_MSG_GETSETELEM, table.family.number(), |w| {
            w.string(attr::NFTA_SET_ELEM_LIST_TABLE, &table.name);
            w.string(attr::NFTA_SET_ELEM_LIST_SET, set);
        })
    }
}

/// What became of an attempt to read a table.
enum Attempt {
    Done(Ruleset),
    NoTable,
    /// Something was committed meanwhile.
    Moved,
}

/// The elements of a dump, or `None` if it is not of one moment.
///
/// A hash table that has grown is rehashed in the background, which changes neither the generation nor
/// any flag of the dump, and between two datagrams of a dump the kernel finds its place by counting: so
/// one element comes twice where another is missing. The number that comes is never less than the number
/// that is there; without a repetition the dump is complete.
fn decode_elements(dump: &Dump, set: &Set) -> Result<Option<Vec<Element>>, ReadError> {
    let elements = decode::elements(
        dump.messages(NFT_MSG_NEWSETELEM),
        &set.key,
        set.id().layout,
        set.data,
    )?;
    let repeated = elements.windows(2).any(|pair| pair[0].key == pair[1].key);
    Ok((!repeated).then_some(elements))
}

fn add_chains(ruleset: &mut Ruleset, dump: &Dump) -> Result<(), ReadError> {
    for message in dump.messages(NFT_MSG_NEWCHAIN) {
        if decode::table_id(&message, attr::NFTA_CHAIN_TABLE)? != ruleset.table {
            continue;
        }
        let (_, chain, handle) = decode::chain(&message)?;
        ruleset.chains.insert(
            chain.name.clone(),
            InstalledChain {
                chain,
                handle,
                rules: Vec::new(),
            },
        );
    }
    Ok(())
}

/// The kernel dumps the rules of a chain in order.
fn add_rules(
    ruleset: &mut Ruleset,
    dump: &Dump,
    anonymous: &BTreeMap<String, AnonymousSet>,
) -> Result<(), ReadError> {
    for message in dump.messages(NFT_MSG_NEWRULE) {
        let (table, InstalledRule { handle, mut rule }) = decode::rule(&message)?;
        if table != ruleset.table {
            continue;
        }
        for expression in &mut rule.expressions {
            let Expression::Lookup { set, .. } = expression else {
                continue;
            };
            let LookupSet::Named(name) = &*set else {
                continue;
            };
            if let Some(found) = anonymous.get(name) {
                *set = LookupSet::Anonymous(found.clone());
            }
        }
        if let Some(chain) = ruleset.chains.get_mut(&rule.chain) {
            chain.rules.push(InstalledRule { handle, rule });
        }
    }
    Ok(())
}
