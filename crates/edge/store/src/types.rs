//! The values that callers and backends exchange.

use std::sync::Arc;

/// The number of a change. 0 is the empty store; each changed key takes the next number.
pub type Revision = u64;

/// How a store is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many of the newest changes stay readable for watches and older ranges. At least 1.
    pub keep_changes: u64,
    /// Bytes of memory for cached pages of a file.
    pub cache_bytes: usize,
}

impl Default for Options {
    /// 100,000 changes and 32 MiB.
    fn default() -> Self {
        Self {
            keep_changes: 100_000,
            cache_bytes: 32 << 20,
        }
    }
}

/// One version of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Arc<str>,
    /// What was stored.
    pub value: Arc<[u8]>,
    /// The revision that made the key; later changes keep it.
    pub created: Revision,
    /// The revision that stored this value.
    pub modified: Revision,
}

/// One change: what a key held before and after. At least one of the two is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number of the change.
    pub revision: Revision,
    /// The version that was replaced or deleted.
    pub before: Option<Entry>,
    /// The version that was stored; absent when the key was deleted.
    pub after: Option<Entry>,
}

impl Event {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &str {
        self.after
            .as_ref()
            .or(self.before.as_ref())
            .map_or("", |entry| &entry.key)
    }

    /// Roughly what the event holds in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        let entry = |side: &Option<Entry>| side.as_ref().map_or(0, |e| e.value.len() + e.key.len());
        64 + entry(&self.before) + entry(&self.after)
    }
}

/// What a write demands of the present state of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Any,
    /// The key does not exist.
    Absent,
    /// The key exists.
    Present,
    /// The key exists and was last changed at this revision.
    At(Revision),
}

impl Expected {
    /// Whether a key last changed at `modified` (absent when `None`) is as demanded.
    #[must_use]
    pub fn holds(self, modified: Option<Revision>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => modified.is_none(),
            Self::Present => modified.is_some(),
            Self::At(revision) => modified == Some(revision),
        }
    }
}

/// What a write does when its demand holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Store this value.
    Put(Arc<[u8]>),
    /// Remove the key. Removing an absent key changes nothing and takes no revision.
    Delete,
    /// Change nothing: only the demand counts.
    Check,
}

/// One key's part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key: not empty, at most 1,024 bytes, once in a transaction.
    pub key: Arc<str>,
    /// What must hold before.
    pub expected: Expected,
    /// What is done.
    pub action: Action,
}

impl Write {
    /// Stores `value` under `key`.
    #[must_use]
    pub fn put(key: &str, value: &[u8], expected: Expected) -> Self {
        Self {
            key: key.into(),
            expected,
            action: Action::Put(value.into()),
        }
    }

    /// Removes `key`.
    #[must_use]
    pub fn delete(key: &str, expected: Expected) -> Self {
        Self {
            key: key.into(),
            expected,
            action: Action::Delete,
        }
    }

    /// Demands `expected` of `key` without changing it.
    #[must_use]
    pub fn check(key: &str, expected: Expected) -> Self {
        Self {
            key: key.into(),
            expected,
            action: Action::Check,
        }
    }
}

/// Which keys to read, and how they were when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Keys that start with this. Empty means all.
    pub prefix: String,
    /// Only keys greater than this one.
    pub after: Option<String>,
    /// At most this many. `None` means all.
    pub limit: Option<usize>,
    /// The state at this revision. `None` means now.
    pub at: Option<Revision>,
}

impl Range {
    /// All keys that start with `prefix`, as they are now.
    #[must_use]
    pub fn prefix(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            ..Self::default()
        }
    }
}

/// What a range found: a consistent state of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries, ordered by the bytes of their keys.
    pub entries: Vec<Entry>,
    /// The revision that was read.
    pub revision: Revision,
    /// Whether the limit cut the range short.
    pub more: bool,
}

/// Why the store did not do as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A demand of a write did not hold; nothing of its transaction was done.
    #[error("key {key:?} is at revision {actual:?}, but {expected:?} was demanded")]
    Conflict {
        /// The key.
        key: Arc<str>,
        /// What was demanded.
        expected: Expected,
        /// The revision of its last change; `None` when it does not exist.
        actual: Option<Revision>,
    },
    /// The changes after this revision are no longer all kept: list again.
    #[error("revision {requested} is compacted: changes are kept from revision {oldest}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest revision that can be read or watched from.
        oldest: Revision,
    },
    /// The store has not reached this revision.
    #[error("revision {requested} is in the future: the store is at {newest}")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// The transaction is not well formed.
    #[error("{0}")]
    Invalid(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The file could not be read or written.
    #[error("store: {0}")]
    Storage(String),
}
