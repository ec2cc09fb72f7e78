//! Watch: a response that goes on.
//!
//! A watch holds a position in the log of the store and what it is about to send; nothing queues up
//! behind a slow client. One that falls behind what the log keeps gets an `ERROR` event with code 410 and
//! lists again. At most 10,000 watches are open at once; the next one is refused with code 429.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use ocicat_store::{Entry, Event, Watch};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::{Api, Call, Reply};
use crate::failure::Failure;
use crate::object::{self, Object};
use crate::params::{Include, View};
use crate::registry::Resource;
use crate::render;
use crate::selector::Filter;

/// How often a client that takes bookmarks learns how far it has seen.
const BOOKMARK: Duration = Duration::from_secs(30);

/// How long a watch lasts if the client does not say.
const LASTS: Duration = Duration::from_hours(1);

/// Objects sent in one piece at the start.
const PIECE: usize = 256;

impl Api {
    pub(super) async fn watch(self: &Arc<Self>, mut call: Call) -> Result<Reply, Failure> {
        let permit = Arc::clone(&self.watches).try_acquire_owned();
        let permit = permit.map_err(|_| Failure::too_many("too many watches are open"))?;
        let name = std::mem::take(&mut call.target.name);
        if !name.is_empty() {
            call.params.field_selector = format!("metadata.name={name}");
        }
        let params = &call.params;
        let filter = Filter::parse(
            &params.label_selector,
            &params.field_selector,
            call.target.resource,
        )?;
        let from = params.resource_version.parse().unwrap_or(0);
        let initial = params.initial_events || from == 0;
        let (mut pending, mut start, mut future) = (VecDeque::new(), from, None);
        if initial {
            let mut all = call;
            (all.params.limit, all.params.exact_version) = (None, false);
            let listing = self.listing(&all).await?;
            (pending, start) = (listing.entries.into(), listing.revision);
            call = all;
        } else if from > self.store.revision() {
            let (requested, newest) = (from, self.store.revision());
            future = Some(Failure::from(ocicat_store::Error::Future {
                requested,
                newest,
            }));
        }
        let params = &call.params;
        let lasts = params.timeout_seconds.map_or(LASTS, Duration::from_secs);
        let feed = Feed {
            source: self.store.watch(&call.target.key(), start),
            stop: self.stop.clone(),
            form: Form {
                resource: call.target.resource,
                filter,
                view: call.accept.view,
                include: params.include,
            },
            end_of_initial: params.initial_events && params.bookmarks,
            pending,
            failure: future,
            next_bookmark: params.bookmarks.then(|| Instant::now() + BOOKMARK),
            ends: Instant::now() + lasts,
            done: false,
            _permit: permit,
        };
        let stream = futures::stream::unfold(feed, |mut feed| async {
            let piece = feed.next().await?;
            Some((Ok::<_, Infallible>(piece), feed))
        });
        Ok(Reply::new(200, Body::from_stream(stream)))
    }
}

/// One open watch.
struct Feed {
    source: Watch,
    stop: watch::Receiver<bool>,
    form: Form,
    /// The state at the start, as far as it is not sent.
    pending: VecDeque<Entry>,
    /// Whether a bookmark must tell that the state at the start was all sent.
    end_of_initial: bool,
    /// Why the watch cannot begin.
    failure: Option<Failure>,
    next_bookmark: Option<Instant>,
    ends: Instant,
    done: bool,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    /// The next piece of the response; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        if let Some(failure) = self.failure.take() {
            return Some(self.fail(&failure));
        }
        if !self.pending.is_empty() {
            let piece: Vec<Entry> = self
                .pending
                .drain(..PIECE.min(self.pending.len()))
                .collect();
            return Some(self.initial(&piece));
        }
        if std::mem::take(&mut self.end_of_initial) {
            return Some(self.bookmark(true));
        }
        loop {
            let wake = self.next_bookmark.unwrap_or(self.ends).min(self.ends);
            let woken = tokio::select! {
                () = stopped(&mut self.stop) => return None,
                batch = self.source.next() => Some(batch),
                () = tokio::time::sleep_until(wake) => None,
            };
            let Some(batch) = woken else {
                return self.on_time();
            };
            let sent = batch
                .map_err(Failure::from)
                .and_then(|batch| self.form.events(&batch.events));
            match sent {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Some(bytes.into()),
                Err(failure) => return Some(self.fail(&failure)),
            }
        }
    }

    /// It is time for a bookmark, or for the end.
    fn on_time(&mut self) -> Option<Bytes> {
        self.done = Instant::now() >= self.ends;
        self.next_bookmark?;
        self.next_bookmark = Some(Instant::now() + BOOKMARK);
        Some(self.bookmark(false))
    }

    fn initial(&mut self, entries: &[Entry]) -> Bytes {
        let mut bytes = Vec::new();
        for entry in entries {
            if let Err(failure) = self.form.event("ADDED", entry, entry.modified, &mut bytes) {
                return self.fail(&failure);
            }
        }
        bytes.into()
    }

    fn bookmark(&self, end_of_initial: bool) -> Bytes {
        let object = render::bookmark(
            self.form.view,
            self.form.resource,
            self.source.position(),
            end_of_initial,
        );
        line("BOOKMARK", &object).into()
    }

    fn fail(&mut self, failure: &Failure) -> Bytes {
        self.done = true;
        line("ERROR", &failure.status()).into()
    }
}

/// Returns when the server stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender is gone only when the server is.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// How the events of a watch look.
struct Form {
    resource: &'static Resource,
    filter: Filter,
    view: View,
    include: Include,
}

impl Form {
    /// A line for each change that the client can see. What leaves the selection is deleted for the
    /// client, which gets its last state that it could see.
    fn events(&self, events: &[Arc<Event>]) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        for event in events {
            let before = event.before.as_ref().filter(|entry| self.shows(entry));
            let after = event.after.as_ref().filter(|entry| self.shows(entry));
            match (before, after) {
                (None, Some(after)) => self.event("ADDED", after, event.revision, &mut bytes)?,
                (Some(_), Some(after)) => {
                    self.event("MODIFIED", after, event.revision, &mut bytes)?;
                }
                (Some(before), None) => {
                    self.event("DELETED", before, event.revision, &mut bytes)?;
                }
                (None, None) => {}
            }
        }
        Ok(bytes)
    }

    fn shows(&self, entry: &Entry) -> bool {
        // What cannot be read is not hidden: `event` reports it.
        self.filter.is_empty()
            || Object::decode(&entry.value, entry.modified)
                .is_ok_and(|object| self.filter.shows(&object))
    }

    fn event(
        &self,
        kind: &str,
        entry: &Entry,
        revision: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if self.view == View::Object {
            bytes.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
            bytes.extend_from_slice(&object::with_revision(&entry.value, revision));
            bytes.extend_from_slice(b"}\n");
        } else {
            let object = Object::decode(&entry.value, revision)?;
            bytes.extend(line(
                kind,
                &render::one(self.view, self.include, self.resource, object),
            ));
        }
        Ok(())
    }
}

fn line(kind: &str, object: &Value) -> Vec<u8> {
    let mut line = json!({ "type": kind, "object": object })
        .to_string()
        .into_bytes();
    line.push(b'\n');
    line
}
