//! The backend that forgets: values and log in ordinary collections behind one lock.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::backend::{self, Backend, Outcome};
use crate::types::{Action, Entry, Error, Event, Page, Range, Revision, Write};

/// Values and changes in memory.
pub(crate) struct Memory {
    state: RwLock<State>,
    keep: u64,
}

#[derive(Default)]
struct State {
    head: Revision,
    current: BTreeMap<Arc<str>, Entry>,
    /// Changes `head - log.len() + 1 ..= head`.
    log: VecDeque<Arc<Event>>,
}

impl Memory {
    pub(crate) fn new(keep: u64) -> Self {
        Self {
            state: RwLock::default(),
            keep,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Memory {
    fn revision(&self) -> Result<Revision, Error> {
        Ok(self.read().head)
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.read().current.get(key).cloned())
    }

    fn range(&self, range: &Range) -> Result<Page, Error> {
        let state = self.read();
        let at = range.at.unwrap_or(state.head);
        backend::readable(at, state.compacted(), state.head)?;
        let undo = backend::undo_of(range, &state.changes(at, usize::MAX));
        let wanted = range
            .limit
            .map_or(usize::MAX, |limit| limit.saturating_add(undo.len() + 1));
        let entries = state.entries(range).take(wanted).cloned().collect();
        Ok(backend::page(backend::rewind(entries, undo), range, at))
    }

    fn changes(&self, after: Revision, limit: usize) -> Result<Vec<Arc<Event>>, Error> {
        let state = self.read();
        if after < state.compacted() {
            return Err(Error::Compacted {
                requested: after,
                oldest: state.compacted(),
            });
        }
        Ok(state.changes(after, limit))
    }

    fn commit(&self, batch: &[Vec<Write>]) -> Result<Vec<Outcome>, Error> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let start = state.head;
        let outcomes = batch.iter().map(|writes| state.run(writes)).collect();
        let target = backend::compaction_target(
            state.compacted(),
            state.head,
            self.keep,
            state.head - start,
        );
        while state.compacted() < target {
            state.log.pop_front();
        }
        Ok(outcomes)
    }
}

impl State {
    fn compacted(&self) -> Revision {
        self.head - self.log.len() as u64
    }

    fn entries<'a>(&'a self, range: &'a Range) -> impl Iterator<Item = &'a Entry> {
        let start = match range.after.as_deref() {
            Some(after) if after >= range.prefix.as_str() => Bound::Excluded(after),
            _ => Bound::Included(range.prefix.as_str()),
        };
        self.current
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.key.starts_with(&range.prefix))
    }

    fn changes(&self, after: Revision, limit: usize) -> Vec<Arc<Event>> {
        let skip = usize::try_from(after.saturating_sub(self.compacted())).unwrap_or(usize::MAX);
        self.log.iter().skip(skip).take(limit).cloned().collect()
    }

    fn run(&mut self, writes: &[Write]) -> Outcome {
        backend::validate(writes)?;
        for write in writes {
            let actual = self.current.get(&write.key).map(|entry| entry.modified);
            if !write.expected.holds(actual) {
                return Err(Error::Conflict {
                    key: Arc::clone(&write.key),
                    expected: write.expected,
                    actual,
                });
            }
        }
        Ok(writes
            .iter()
            .filter_map(|write| self.apply(write))
            .collect())
    }

    fn apply(&mut self, write: &Write) -> Option<Arc<Event>> {
        let revision = self.head + 1;
        let (before, after) = match &write.action {
            Action::Check => return None,
            Action::Delete => (Some(self.current.remove(&write.key)?), None),
            Action::Put(value) => {
                let before = self.current.get(&write.key).cloned();
                let after = Entry {
                    key: Arc::clone(&write.key),
                    value: Arc::clone(value),
                    created: before.as_ref().map_or(revision, |entry| entry.created),
                    modified: revision,
                };
                self.current.insert(Arc::clone(&write.key), after.clone());
                (before, Some(after))
            }
        };
        let event = Arc::new(Event {
            revision,
            before,
            after,
        });
        self.head = revision;
        self.log.push_back(Arc::clone(&event));
        Some(event)
    }
}
