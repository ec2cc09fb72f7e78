//! A revisioned key-value store with watch.
//!
//! The contract is etcd's: one global [`Revision`] that grows by one for each change, writes guarded by
//! the revision they expect, ranges that read one revision, watches that start at a revision, and
//! compaction, after which a slow watcher is told to list again ([`Error::Compacted`]).
//!
//! ```text
//!   commit ──► queue (1,024) ──► writer thread ──► backend: current values + change log,
//!                                     │              many transactions in one durable write
//!                                     ▼
//!   watch  ◄── newest changes in memory (4,096 or 16 MiB), older ones from the log
//!   get, range ◄────────────────── backend, at one revision
//! ```
//!
//! A watcher has no queue of its own: it reads the log at its own pace, so that lagging never loses an
//! event. The log keeps the last [`Options::keep_changes`] changes; a watcher that falls behind that
//! gets [`Error::Compacted`].
//!
//! Backends: [`Store::memory`] forgets everything at the end of the process; [`Store::open`] keeps one
//! redb file, and a commit that returned survives a crash of process and machine. A further backend
//! implements [`Backend`].
//!
//! What it will not do: interpret values, expire keys, serve a network, or run more than one server on
//! a file (a second [`Store::open`] of the same file fails).
//!
//! ```
//! use ocicat_store::{Expected, Options, Range, Store, Write};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ocicat_store::Error> {
//! let store = Store::memory(Options::default());
//! let mut watch = store.watch("/pods/", 0);
//!
//! let first = store.commit(vec![Write::put("/pods/a", b"1", Expected::Absent)]).await?;
//! let stale = Write::put("/pods/a", b"2", Expected::At(first + 7));
//! assert!(store.commit(vec![stale]).await.is_err());
//!
//! let page = store.range(Range::prefix("/pods/")).await?;
//! assert_eq!((page.entries.len(), page.revision), (1, first));
//! assert_eq!(watch.next().await?.events[0].key(), "/pods/a");
//! # Ok(())
//! # }
//! ```

mod backend;
mod disk;
mod memory;
mod record;
mod store;
mod types;
mod watch;

pub use backend::{Backend, Outcome};
pub use store::Store;
pub use types::{Action, Entry, Error, Event, Expected, Options, Page, Range, Revision, Write};
pub use watch::{Batch, Watch};
