//! The backend that remembers: one redb file.
//!
//! Three tables. `log` holds every kept change with its value; `current` says for each living key which
//! change holds its value; `meta` holds the newest revision, how far the log is compacted, and the
//! layout. A value is stored once. Compaction to revision C removes the records up to C that a later
//! change up to C replaced, and the deletions up to C; what is still current stays.

use std::fs::DirBuilder;
use std::ops::Bound;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};

use crate::backend::{self, Backend, Outcome};
use crate::record::{self, Record};
use crate::types::{Action, Entry, Error, Event, Options, Page, Range, Revision, Write};

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const CURRENT: TableDefinition<&str, u64> = TableDefinition::new("current");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Version of the tables and records above.
const LAYOUT: u64 = 1;

/// Values and changes in a file.
pub(crate) struct Disk {
    database: Database,
    keep: u64,
}

impl Disk {
    /// Opens `path`, making it and the directories to it if they do not exist; those for the owner alone.
    pub(crate) fn open(path: &Path, options: Options) -> Result<Self, Error> {
        if let Some(directory) = path.parent() {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(directory);
            made.map_err(|error| Error::Storage(format!("{}: {error}", directory.display())))?;
        }
        let database = Database::builder()
            .set_cache_size(options.cache_bytes)
            .create(path)
            .map_err(|error| Error::Storage(format!("{}: {error}", path.display())))?;
        let transaction = database.begin_write().map_err(storage)?;
        {
            let mut meta = transaction.open_table(META).map_err(storage)?;
            transaction.open_table(LOG).map_err(storage)?;
            transaction.open_table(CURRENT).map_err(storage)?;
            let layout = number(&meta, "layout")?;
            if layout > LAYOUT {
                let text = format!("{}: layout {layout} is newer than {LAYOUT}", path.display());
                return Err(Error::Storage(text));
            }
            meta.insert("layout", LAYOUT).map_err(storage)?;
        }
        transaction.commit().map_err(storage)?;
        Ok(Self {
            database,
            keep: options.keep_changes,
        })
    }

    fn view(&self) -> Result<View, Error> {
        View::new(&self.database.begin_read().map_err(storage)?)
    }
}

impl Backend for Disk {
    fn revision(&self) -> Result<Revision, Error> {
        Ok(self.view()?.head)
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let view = self.view()?;
        let revision = view
            .current
            .get(key)
            .map_err(storage)?
            .map(|guard| guard.value());
        revision
            .map(|revision| entry_at(&view.log, revision))
            .transpose()
    }

    fn range(&self, range: &Range) -> Result<Page, Error> {
        let view = self.view()?;
        let at = range.at.unwrap_or(view.head);
        backend::readable(at, view.compacted, view.head)?;
        let undo = backend::undo_of(range, &view.changes(at, usize::MAX)?);
        let wanted = range
            .limit
            .map_or(usize::MAX, |limit| limit.saturating_add(undo.len() + 1));
        Ok(backend::page(
            backend::rewind(view.entries(range, wanted)?, undo),
            range,
            at,
        ))
    }

    fn changes(&self, after: Revision, limit: usize) -> Result<Vec<Arc<Event>>, Error> {
        let view = self.view()?;
        if after < view.compacted {
            return Err(Error::Compacted {
                requested: after,
                oldest: view.compacted,
            });
        }
        view.changes(after, limit)
    }

    fn commit(&self, batch: &[Vec<Write>]) -> Result<Vec<Outcome>, Error> {
        let transaction = self.database.begin_write().map_err(storage)?;
        let outcomes = Writing::open(&transaction)?.run(batch, self.keep)?;
        if outcomes.iter().flatten().flatten().next().is_some() {
            transaction.commit().map_err(storage)?;
        } else {
            // Nothing changed, so nothing needs the disk.
            transaction.abort().map_err(storage)?;
        }
        Ok(outcomes)
    }
}

/// One consistent state of the file.
struct View {
    log: redb::ReadOnlyTable<u64, &'static [u8]>,
    current: redb::ReadOnlyTable<&'static str, u64>,
    head: Revision,
    compacted: Revision,
}

impl View {
    fn new(transaction: &ReadTransaction) -> Result<Self, Error> {
        let meta = transaction.open_table(META).map_err(storage)?;
        Ok(Self {
            log: transaction.open_table(LOG).map_err(storage)?,
            current: transaction.open_table(CURRENT).map_err(storage)?,
            head: number(&meta, "head")?,
            compacted: number(&meta, "compacted")?,
        })
    }

    fn entries(&self, range: &Range, wanted: usize) -> Result<Vec<Entry>, Error> {
        let start = match range.after.as_deref() {
            Some(after) if after >= range.prefix.as_str() => Bound::Excluded(after),
            _ => Bound::Included(range.prefix.as_str()),
        };
        let mut entries = Vec::new();
        for item in self
            .current
            .range::<&str>((start, Bound::Unbounded))
            .map_err(storage)?
        {
            let (key, revision) = item.map_err(storage)?;
            if entries.len() == wanted || !key.value().starts_with(&range.prefix) {
                break;
            }
            entries.push(entry_at(&self.log, revision.value())?);
        }
        Ok(entries)
    }

    fn changes(&self, after: Revision, limit: usize) -> Result<Vec<Arc<Event>>, Error> {
        let mut events = Vec::new();
        if after >= self.head {
            return Ok(events);
        }
        for item in self.log.range(after + 1..).map_err(storage)?.take(limit) {
            let (revision, bytes) = item.map_err(storage)?;
            let (revision, record) = (revision.value(), record::decode(bytes.value())?);
            let before = match record.previous {
                0 => None,
                previous => Some(entry_at(&self.log, previous)?),
            };
            events.push(Arc::new(Event {
                revision,
                before,
                after: entry_of(&record, revision),
            }));
        }
        Ok(events)
    }
}

/// The tables of one write transaction.
struct Writing<'t> {
    log: Table<'t, u64, &'static [u8]>,
    current: Table<'t, &'static str, u64>,
    meta: Table<'t, &'static str, u64>,
    head: Revision,
}

impl<'t> Writing<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, Error> {
        let meta = transaction.open_table(META).map_err(storage)?;
        Ok(Self {
            log: transaction.open_table(LOG).map_err(storage)?,
            current: transaction.open_table(CURRENT).map_err(storage)?,
            head: number(&meta, "head")?,
            meta,
        })
    }

    fn run(mut self, batch: &[Vec<Write>], keep: u64) -> Result<Vec<Outcome>, Error> {
        let start = self.head;
        let mut outcomes = Vec::with_capacity(batch.len());
        for writes in batch {
            outcomes.push(match self.check(writes)? {
                Err(refused) => Err(refused),
                Ok(()) => Ok(self.apply_all(writes)?),
            });
        }
        self.compact(keep, self.head - start)?;
        self.meta.insert("head", self.head).map_err(storage)?;
        Ok(outcomes)
    }

    /// The outer result is trouble with the file, the inner one the verdict on the transaction.
    fn check(&self, writes: &[Write]) -> Result<Result<(), Error>, Error> {
        if let Err(refused) = backend::validate(writes) {
            return Ok(Err(refused));
        }
        for write in writes {
            let actual = self
                .current
                .get(&*write.key)
                .map_err(storage)?
                .map(|guard| guard.value());
            if !write.expected.holds(actual) {
                let key = Arc::clone(&write.key);
                return Ok(Err(Error::Conflict {
                    key,
                    expected: write.expected,
                    actual,
                }));
            }
        }
        Ok(Ok(()))
    }

    fn apply_all(&mut self, writes: &[Write]) -> Result<Vec<Arc<Event>>, Error> {
        let mut events = Vec::with_capacity(writes.len());
        for write in writes {
            events.extend(self.apply(write)?);
        }
        Ok(events)
    }

    fn apply(&mut self, write: &Write) -> Result<Option<Arc<Event>>, Error> {
        let before = match self
            .current
            .get(&*write.key)
            .map_err(storage)?
            .map(|guard| guard.value())
        {
            Some(revision) => Some(entry_at(&self.log, revision)?),
            None => None,
        };
        let revision = self.head + 1;
        let value = match (&write.action, &before) {
            (Action::Check, _) | (Action::Delete, None) => return Ok(None),
            (Action::Delete, Some(_)) => None,
            (Action::Put(value), _) => Some(value),
        };
        let record = Record {
            created: before.as_ref().map_or(revision, |entry| entry.created),
            previous: before.as_ref().map_or(0, |entry| entry.modified),
            key: &write.key,
            value: value.map(AsRef::as_ref),
        };
        self.log
            .insert(revision, record.encode().as_slice())
            .map_err(storage)?;
        if value.is_some() {
            self.current
                .insert(&*write.key, revision)
                .map_err(storage)?;
        } else {
            self.current.remove(&*write.key).map_err(storage)?;
        }
        self.head = revision;
        let after = entry_of(&record, revision);
        Ok(Some(Arc::new(Event {
            revision,
            before,
            after,
        })))
    }

    fn compact(&mut self, keep: u64, changes: u64) -> Result<(), Error> {
        let compacted = number(&self.meta, "compacted")?;
        let target = backend::compaction_target(compacted, self.head, keep, changes);
        for revision in compacted + 1..=target {
            let Some((previous, deleted)) = self.superseded_by(revision)? else {
                continue;
            };
            if previous > 0 {
                self.log.remove(previous).map_err(storage)?;
            }
            if deleted {
                self.log.remove(revision).map_err(storage)?;
            }
        }
        self.meta.insert("compacted", target).map_err(storage)?;
        Ok(())
    }

    /// Which record the change at `revision` made obsolete, and whether it was a deletion.
    fn superseded_by(&self, revision: Revision) -> Result<Option<(Revision, bool)>, Error> {
        let Some(bytes) = self.log.get(revision).map_err(storage)? else {
            return Ok(None);
        };
        let record = record::decode(bytes.value())?;
        Ok(Some((record.previous, record.value.is_none())))
    }
}

fn entry_of(record: &Record<'_>, revision: Revision) -> Option<Entry> {
    record.value.map(|value| Entry {
        key: record.key.into(),
        value: value.into(),
        created: record.created,
        modified: revision,
    })
}

fn entry_at(
    log: &impl ReadableTable<u64, &'static [u8]>,
    revision: Revision,
) -> Result<Entry, Error> {
    let missing = || {
        Error::Storage(format!(
            "revision {revision} is missing from the change log"
        ))
    };
    let bytes = log.get(revision).map_err(storage)?.ok_or_else(missing)?;
    entry_of(&record::decode(bytes.value())?, revision).ok_or_else(missing)
}

fn number(meta: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, Error> {
    Ok(meta
        .get(name)
        .map_err(storage)?
        .map_or(0, |guard| guard.value()))
}

fn storage(error: impl std::fmt::Display) -> Error {
    Error::Storage(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn directories_to_the_file_are_made_for_the_owner_alone() {
        let root = std::env::temp_dir().join(format!("ocicat-store-{}", std::process::id()));
        let directory = root.join("var/lib");
        Disk::open(&directory.join("api.redb"), Options::default()).expect("opens");
        let mode = std::fs::metadata(&directory)
            .expect("is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::remove_dir_all(&root).expect("is removed");
    }
}
