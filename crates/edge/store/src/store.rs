//! The store that callers hold: an async face over a backend, and the one thread that writes.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot, watch};

use crate::backend::{Backend, Outcome};
use crate::disk::Disk;
use crate::memory::Memory;
use crate::types::{Entry, Error, Event, Options, Page, Range, Revision, Write};
use crate::watch::Watch;

/// Transactions that may wait for the writer; the next caller waits for room.
const QUEUE: usize = 1024;
/// Transactions in one durable write.
const GROUP: usize = 256;
/// Newest changes kept in memory for watches: at most this many ...
const RECENT_EVENTS: usize = 4096;
/// ... and about this many bytes.
const RECENT_BYTES: usize = 16 << 20;

/// A handle on a store. Clones share the store, which ends when the last one is dropped or after
/// [`Store::close`].
#[derive(Clone)]
pub struct Store {
    core: Arc<Core>,
    queue: mpsc::Sender<Job>,
    head: watch::Receiver<Revision>,
}

impl Store {
    /// An empty store in memory.
    ///
    /// # Panics
    /// If the system refuses to start a thread.
    #[must_use]
    pub fn memory(options: Options) -> Self {
        Self::over(Box::new(Memory::new(options.keep_changes)))
            .expect("memory always answers and a thread starts")
    }

    /// A store in the file `path`, which is made if it does not exist; its folder must. Blocks on the
    /// disk, briefly, or for a full check of the file after a crash.
    ///
    /// # Errors
    /// [`Error::Storage`] if the file cannot be opened, is another program's, is open already, or was
    /// written by a newer version.
    pub fn open(path: &Path, options: Options) -> Result<Self, Error> {
        Self::over(Box::new(Disk::open(path, options)?))
    }

    /// A store over a backend of another kind, which nothing else writes.
    ///
    /// # Errors
    /// [`Error::Storage`] if the backend does not tell its revision or no thread can be started.
    pub fn over(backend: Box<dyn Backend>) -> Result<Self, Error> {
        let (head_tx, head) = watch::channel(backend.revision()?);
        let core = Arc::new(Core {
            backend,
            recent: RwLock::default(),
        });
        let (queue, jobs) = mpsc::channel(QUEUE);
        let writer = Writer {
            core: Arc::clone(&core),
            head: head_tx,
        };
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(jobs))
            .map_err(|error| Error::Storage(format!("no thread for the writer: {error}")))?;
        Ok(Self { core, queue, head })
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        *self.head.borrow()
    }

    /// The current version of a key, if it exists.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Storage`].
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let key = key.to_owned();
        let entry = self.core.blocking(move |backend| backend.get(&key)).await?;
        if let Some(entry) = &entry {
            self.published(entry.modified).await?;
        }
        Ok(entry)
    }

    /// Reads a range at one revision.
    ///
    /// # Errors
    /// [`Error::Compacted`] and [`Error::Future`] for a revision that cannot be read, [`Error::Closed`],
    /// [`Error::Storage`].
    pub async fn range(&self, range: Range) -> Result<Page, Error> {
        let page = self
            .core
            .blocking(move |backend| backend.range(&range))
            .await?;
        self.published(page.revision).await?;
        Ok(page)
    }

    /// A read may see a commit an instant before the writer tells of it. Nobody learns of a revision
    /// that [`Store::revision`] has not reached.
    async fn published(&self, revision: Revision) -> Result<(), Error> {
        let mut head = self.head.clone();
        let reached = head.wait_for(|head| *head >= revision).await;
        reached.map(drop).map_err(|_| Error::Closed)
    }

    /// Runs one transaction: all its writes, or none. Returns the revision of its last change (the
    /// newest revision if it changed nothing), after it is durable. A caller that stops waiting does not
    /// take the transaction back.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a demand does not hold, [`Error::Invalid`] for a key that is empty, too
    /// long or named twice, [`Error::Closed`], [`Error::Storage`].
    pub async fn commit(&self, writes: Vec<Write>) -> Result<Revision, Error> {
        if writes.is_empty() {
            return Ok(self.revision());
        }
        let (reply, answer) = oneshot::channel();
        self.queue
            .send(Job::Commit { writes, reply })
            .await
            .map_err(|_| Error::Closed)?;
        let events = answer.await.map_err(|_| Error::Closed)??;
        Ok(events
            .last()
            .map_or_else(|| self.revision(), |event| event.revision))
    }

    /// Follows the changes of keys that start with `prefix`, from the first one after revision `after`.
    /// Costs nothing until it is asked for events.
    #[must_use]
    pub fn watch(&self, prefix: &str, after: Revision) -> Watch {
        Watch::new(Arc::clone(&self.core), self.head.clone(), prefix, after)
    }

    /// Ends the store: what was committed before is durable, later calls and open watches get
    /// [`Error::Closed`]. The file can be opened again when all clones and watches are dropped.
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.queue.send(Job::Close { reply }).await.is_ok() {
            // An error means that the writer has ended already, which is what is waited for.
            let _ = done.await;
        }
    }
}

/// What the writer is asked to do.
enum Job {
    Commit {
        writes: Vec<Write>,
        reply: oneshot::Sender<Outcome>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// What handles, watches and the writer share.
pub(crate) struct Core {
    backend: Box<dyn Backend>,
    recent: RwLock<Recent>,
}

/// The newest changes, without gaps.
#[derive(Default)]
struct Recent {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

impl Core {
    /// At most `limit` changes after `after`: from memory if they are there, else from the log.
    pub(crate) async fn changes(
        self: &Arc<Self>,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, Error> {
        if let Some(events) = self.recent_changes(after, limit) {
            return Ok(events);
        }
        self.blocking(move |backend| backend.changes(after, limit))
            .await
    }

    fn recent_changes(&self, after: Revision, limit: usize) -> Option<Vec<Arc<Event>>> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let skip = (after + 1).checked_sub(recent.events.front()?.revision)?;
        Some(
            recent
                .events
                .iter()
                .skip(usize::try_from(skip).ok()?)
                .take(limit)
                .cloned()
                .collect(),
        )
    }

    fn remember(&self, events: impl Iterator<Item = Arc<Event>>) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            recent.bytes += event.size();
            recent.events.push_back(event);
        }
        while recent.events.len() > RECENT_EVENTS
            || (recent.bytes > RECENT_BYTES && recent.events.len() > 1)
        {
            let oldest = recent.events.pop_front().map_or(0, |event| event.size());
            recent.bytes -= oldest;
        }
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&dyn Backend) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let core = Arc::clone(self);
        tokio::task::spawn_blocking(move || read(core.backend.as_ref()))
            .await
            .unwrap_or_else(|stopped| {
                Err(Error::Storage(format!("a read did not finish: {stopped}")))
            })
    }
}

/// The only one that writes to the backend.
struct Writer {
    core: Arc<Core>,
    head: watch::Sender<Revision>,
}

impl Writer {
    /// Runs until the store is closed or nobody holds it. What queued up while the last write went to
    /// disk goes into the next one together.
    fn run(self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(job) = jobs.try_recv()
            {
                group.push(job);
            }
            if let Some(done) = self.commit(group) {
                jobs.close();
                drop(self);
                // Nobody waits any more if this fails.
                let _ = done.send(());
                return;
            }
        }
    }

    /// Returns whom to tell that the store is closed, if that was asked.
    fn commit(&self, group: Vec<Job>) -> Option<oneshot::Sender<()>> {
        let (mut batch, mut replies, mut close) = (Vec::new(), Vec::new(), None);
        for job in group {
            match job {
                Job::Commit { writes, reply } if close.is_none() => {
                    batch.push(writes);
                    replies.push(reply);
                }
                // Dropping the reply tells the caller that the store is closed.
                Job::Commit { .. } => {}
                Job::Close { reply } => close = close.or(Some(reply)),
            }
        }
        let outcomes = match self.core.backend.commit(&batch) {
            Ok(outcomes) => outcomes,
            Err(error) => batch.iter().map(|_| Err(error.clone())).collect(),
        };
        self.core
            .remember(outcomes.iter().flatten().flatten().cloned());
        if let Some(last) = outcomes.iter().flatten().flatten().last() {
            self.head.send_replace(last.revision);
        }
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // A caller that stopped waiting does not take its transaction back.
            let _ = reply.send(outcome);
        }
        close
    }
}
