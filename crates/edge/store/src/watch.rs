//! Following changes: a position in the log, and the wish to hear of newer ones.

use std::sync::Arc;

use tokio::sync::watch;

use crate::store::Core;
use crate::types::{Error, Event, Revision};

/// Changes looked at in one step.
const STEP: usize = 512;

/// Some changes, in order.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The changes of the watched keys; never empty.
    pub events: Vec<Arc<Event>>,
    /// All changes up to this revision have been looked at.
    pub revision: Revision,
}

/// A reader of the change log. It holds no events, so that a slow one costs nothing; one that is slower
/// than the log is long gets [`Error::Compacted`].
pub struct Watch {
    core: Arc<Core>,
    head: watch::Receiver<Revision>,
    prefix: String,
    position: Revision,
}

impl Watch {
    pub(crate) fn new(
        core: Arc<Core>,
        head: watch::Receiver<Revision>,
        prefix: &str,
        after: Revision,
    ) -> Self {
        Self {
            core,
            head,
            prefix: prefix.to_owned(),
            position: after,
        }
    }

    /// All changes of the watched keys up to this revision have been returned.
    #[must_use]
    pub fn position(&self) -> Revision {
        self.position
    }

    /// Waits for the next changes. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error::Compacted`] when changes were missed: read a range and watch from its revision.
    /// [`Error::Closed`] when the store ends, [`Error::Storage`].
    pub async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            if *self.head.borrow_and_update() <= self.position {
                self.head.changed().await.map_err(|_| Error::Closed)?;
                continue;
            }
            let mut events = self.core.changes(self.position, STEP).await?;
            // The head is published after the changes, so there is at least one.
            let Some(last) = events.last() else {
                return Err(Error::Storage("the change log has a gap".to_owned()));
            };
            self.position = last.revision;
            events.retain(|event| event.key().starts_with(&self.prefix));
            if !events.is_empty() {
                return Ok(Batch {
                    events,
                    revision: self.position,
                });
            }
        }
    }
}
