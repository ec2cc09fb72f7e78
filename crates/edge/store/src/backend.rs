//! What a backend does, and the checks that all backends share.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::types::{Entry, Error, Event, Page, Range, Revision, Write};

/// Longest key, in bytes.
const KEY_BYTES: usize = 1024;

/// What became of one transaction: its changes, or why none of it was done.
pub type Outcome = Result<Vec<Arc<Event>>, Error>;

/// A place that keeps values and the log of their changes. Calls may block on a disk; the store makes
/// them on threads that may.
pub trait Backend: Send + Sync + 'static {
    /// The newest revision.
    ///
    /// # Errors
    /// [`Error::Storage`].
    fn revision(&self) -> Result<Revision, Error>;

    /// The current version of a key, if it exists.
    ///
    /// # Errors
    /// [`Error::Storage`].
    fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// Reads a range at one revision.
    ///
    /// # Errors
    /// [`Error::Compacted`] and [`Error::Future`] for a revision that cannot be read, [`Error::Storage`].
    fn range(&self, range: &Range) -> Result<Page, Error>;

    /// At most `limit` changes with revisions greater than `after`, in order.
    ///
    /// # Errors
    /// [`Error::Compacted`] if some of them are no longer kept, [`Error::Storage`].
    fn changes(&self, after: Revision, limit: usize) -> Result<Vec<Arc<Event>>, Error>;

    /// Runs transactions in order, each whole or not at all, and makes all of them durable together.
    ///
    /// # Errors
    /// [`Error::Storage`] if nothing of the batch was done.
    fn commit(&self, batch: &[Vec<Write>]) -> Result<Vec<Outcome>, Error>;
}

/// Refuses transactions that no backend accepts.
pub(crate) fn validate(writes: &[Write]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for write in writes {
        if write.key.is_empty() || write.key.len() > KEY_BYTES {
            return Err(Error::Invalid(format!(
                "a key has 1 to {KEY_BYTES} bytes, not {}",
                write.key.len()
            )));
        }
        if !seen.insert(&write.key) {
            return Err(Error::Invalid(format!(
                "key {:?} appears twice in a transaction",
                write.key
            )));
        }
    }
    Ok(())
}

/// How far the log may be cut: `keep` changes stay, and each change of a batch pays for two old ones,
/// so that compaction never stops the writers for long.
pub(crate) fn compaction_target(
    compacted: Revision,
    head: Revision,
    keep: u64,
    changes: u64,
) -> Revision {
    let wanted = head.saturating_sub(keep.max(1));
    wanted
        .min(compacted.saturating_add(changes.saturating_mul(2)))
        .max(compacted)
}

/// Refuses revisions outside what is kept.
pub(crate) fn readable(
    requested: Revision,
    compacted: Revision,
    head: Revision,
) -> Result<(), Error> {
    if requested < compacted {
        return Err(Error::Compacted {
            requested,
            oldest: compacted,
        });
    }
    if requested > head {
        return Err(Error::Future {
            requested,
            newest: head,
        });
    }
    Ok(())
}

/// Turns the present state of a range into an older one: `entries` are the first present entries (at
/// least `limit` + `undo.len()` + 1 of them, or all), `undo` what the keys changed since then held.
pub(crate) fn rewind(entries: Vec<Entry>, undo: Vec<(Arc<str>, Option<Entry>)>) -> Vec<Entry> {
    let mut state: std::collections::BTreeMap<Arc<str>, Entry> = entries
        .into_iter()
        .map(|entry| (Arc::clone(&entry.key), entry))
        .collect();
    for (key, before) in undo {
        match before {
            Some(entry) => state.insert(key, entry),
            None => state.remove(&key),
        };
    }
    state.into_values().collect()
}

/// Whether `range` reads `key`.
pub(crate) fn covers(range: &Range, key: &str) -> bool {
    key.starts_with(&range.prefix) && range.after.as_deref().is_none_or(|after| key > after)
}

/// The first change of each key of `range` among `changes`, as what it held before.
pub(crate) fn undo_of(range: &Range, changes: &[Arc<Event>]) -> Vec<(Arc<str>, Option<Entry>)> {
    let mut seen = BTreeSet::new();
    let mut undo = Vec::new();
    for event in changes {
        if covers(range, event.key()) && seen.insert(event.key().to_owned()) {
            undo.push((Arc::from(event.key()), event.before.clone()));
        }
    }
    undo
}

/// Cuts `entries` to the limit of `range`.
pub(crate) fn page(mut entries: Vec<Entry>, range: &Range, revision: Revision) -> Page {
    let more = range.limit.is_some_and(|limit| entries.len() > limit);
    if let Some(limit) = range.limit {
        entries.truncate(limit);
    }
    Page {
        entries,
        revision,
        more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compaction_is_paid_by_changes() {
        assert_eq!(compaction_target(0, 10, 100, 1), 0);
        assert_eq!(compaction_target(0, 110, 100, 1), 2);
        assert_eq!(compaction_target(9, 110, 100, 50), 10);
        assert_eq!(compaction_target(50, 110, 100, 50), 50);
    }
}
