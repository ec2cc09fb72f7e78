//! A collection followed for ever.
//!
//! ```text
//!   list ──► watch ──► watch ──► ..          the server ends a watch now and then: go on from
//!     ▲        │                             the last version seen
//!     └────────┘ 410 Gone: the version is too old, list again
//! ```
//!
//! One task for each [`Watch`] does the asking and ends when the `Watch` is dropped. Between task
//! and reader stands a queue of [`QUEUE`] events; when it is full the task stops reading, so that
//! a slow reader slows the server's connection and loses nothing.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::Stream;
use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::error::Status;
use crate::line::Lines;
use crate::list::FIRST_LIMIT;
use crate::request::{Call, Client};
use crate::resource::{Name, Resource};
use crate::{Error, Retry, Selection};

/// What a [`Watch`] tells.
#[derive(Debug)]
pub enum Event {
    /// A complete listing follows, up to [`Event::Synced`]. Comes first, and again when the
    /// server no longer knows what changed since; also in the middle of a listing, which then
    /// begins anew.
    Restarted,
    /// The JSON of an object that is new, changed, or part of a listing; `apiVersion` and `kind`
    /// included.
    Upsert(Bytes),
    /// An object that is gone, with the last JSON that the server has of it.
    Deleted { name: Name, last: Bytes },
    /// The listing is complete: an object not named since [`Event::Restarted`] is gone.
    Synced,
    /// The connection failed; the watch goes on by itself after a wait of at most
    /// [`Retry::CEILING`]. What was told before stays true as far as known.
    Interrupted(Error),
}

/// Events that wait for the reader; when as many wait, the server is not read.
pub const QUEUE: usize = 1024;

/// A running watch. Dropping it ends it. Also a [`Stream`] that never ends.
pub struct Watch {
    events: mpsc::Receiver<Event>,
    task: tokio::task::JoinHandle<()>,
}

impl Client {
    /// Lists a collection and follows it for ever, through lost connections and restarts of the
    /// server. Must be called inside a tokio runtime.
    #[must_use]
    pub fn watch(&self, resource: impl Into<Resource>, selection: Selection) -> Watch {
        let (sender, events) = mpsc::channel(QUEUE);
        let follower = Follower {
            client: self.clone().with_retry(Retry::NONE),
            resource: resource.into(),
            selection,
            events: sender,
            failures: 0,
        };
        Watch {
            events,
            task: tokio::spawn(follower.run()),
        }
    }
}

impl Watch {
    /// The next event. Nothing is lost if the future is dropped.
    ///
    /// # Panics
    /// If the runtime that the watch was made in has been shut down.
    pub async fn next(&mut self) -> Event {
        // The task ends only when this receiver is dropped.
        self.events
            .recv()
            .await
            .expect("the runtime of the watch still runs")
    }

    /// An event that has already come. For readers that handle events in batches.
    pub fn ready(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

impl Stream for Watch {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(cx)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asked of the server, in seconds; API servers end watches by themselves after 30 to 60 minutes.
const WATCH_SECONDS: u32 = 290;
/// A watch that is silent for longer than the server promised is dead.
const SILENCE: Duration = Duration::from_secs(320);

struct Follower {
    client: Client,
    resource: Resource,
    selection: Selection,
    events: mpsc::Sender<Event>,
    failures: u32,
}

/// Why a step ended early.
enum Stop {
    /// The reader is gone.
    Unheard,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Follower {
    async fn run(mut self) {
        let mut version: Option<String> = None;
        loop {
            let step = match version.take() {
                None => self.list().await.map(|listed| version = Some(listed)),
                Some(mut from) => {
                    let begun = Instant::now();
                    let step = self.follow(&mut from).await;
                    // A watch that stood for a while was well, even if it had nothing to tell.
                    if begun.elapsed() >= Retry::CEILING {
                        self.failures = 0;
                    }
                    version = Some(from);
                    if step.is_ok() {
                        self.pause().await;
                    }
                    step
                }
            };
            match step {
                Ok(()) => {}
                Err(Stop::Unheard) => return,
                Err(Stop::Failed(Error::Expired { message, .. })) => {
                    tracing::debug!(kind = self.resource.plural, message, "listing again");
                    version = None;
                    self.pause().await;
                    self.failures += 1;
                }
                Err(Stop::Failed(error)) => {
                    self.failures += 1;
                    tracing::debug!(kind = self.resource.plural, %error, "watch interrupted");
                    if self.tell(Event::Interrupted(error)).await.is_err() {
                        return;
                    }
                    self.pause().await;
                }
            }
        }
    }

    /// Waits as long as the failures in a row demand; not at all without any.
    async fn pause(&self) {
        if self.failures > 0 {
            tokio::time::sleep(Retry::wait(self.failures)).await;
        }
    }

    async fn tell(&self, event: Event) -> Result<(), Stop> {
        self.events.send(event).await.map_err(|_| Stop::Unheard)
    }

    /// Tells a whole listing and returns its version.
    async fn list(&mut self) -> Result<String, Stop> {
        // Told only once the server answers, so that an outage does not look like a restart.
        let mut limit = FIRST_LIMIT;
        let mut page = self
            .client
            .page(&self.resource, &self.selection, limit, None)
            .await?;
        self.tell(Event::Restarted).await?;
        loop {
            for item in page.items {
                self.tell(Event::Upsert(item)).await?;
            }
            let Some(token) = page.next else { break };
            let next = self
                .client
                .page(&self.resource, &self.selection, limit, Some(&token))
                .await;
            page = match next {
                Err(Error::Expired { .. }) if limit.is_some() => {
                    limit = None;
                    self.tell(Event::Restarted).await?;
                    self.client
                        .page(&self.resource, &self.selection, limit, None)
                        .await?
                }
                page => page?,
            };
        }
        self.tell(Event::Synced).await?;
        Ok(page.resource_version)
    }

    /// Tells what changes after version `from`, moving it on, until the server ends the watch.
    async fn follow(&mut self, from: &mut String) -> Result<(), Stop> {
        let path = format!(
            "{}watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={from}",
            self.selection.path(&self.resource),
        );
        let call = Call::new(Method::GET, path, self.resource.plural);
        let answer = tokio::time::timeout(SILENCE, self.client.open(&call)).await;
        let answer = answer.map_err(|_| self.client.unreachable("no answer"))??;
        let mut lines = Lines::new(answer.into_body());
        // A server that ends watches at once must not be asked without pause.
        self.failures += 1;
        loop {
            let line = tokio::time::timeout(SILENCE, lines.next()).await;
            let line = line.map_err(|_| self.client.unreachable("the watch fell silent"))?;
            let Some(line) = line.map_err(|error| self.client.unreachable(&error))? else {
                return Ok(());
            };
            let change = read(&call, &line)?;
            if !change.version.is_empty() {
                *from = change.version;
            }
            self.failures = 0;
            if let Some(event) = change.event {
                self.tell(event).await?;
            }
        }
    }
}

struct Line {
    version: String,
    event: Option<Event>,
}

#[derive(Deserialize)]
struct WireEvent<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct WireObject<'a> {
    #[serde(borrow)]
    metadata: WireMetadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMetadata<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    resource_version: Cow<'a, str>,
}

fn read(call: &Call, line: &Bytes) -> Result<Line, Error> {
    let fail = |error: serde_json::Error| call.protocol(&error.to_string());
    let event: WireEvent = serde_json::from_slice(line).map_err(fail)?;
    if event.r#type == "ERROR" {
        let status: Status = serde_json::from_str(event.object.get()).map_err(fail)?;
        return Err(Error::from_status(&call.what, status.code, status));
    }
    let object: WireObject = serde_json::from_str(event.object.get()).map_err(fail)?;
    let metadata = object.metadata;
    let bytes = line.slice_ref(event.object.get().as_bytes());
    let event = match &*event.r#type {
        "ADDED" | "MODIFIED" => Some(Event::Upsert(bytes)),
        "DELETED" => {
            let namespace = metadata.namespace.filter(|x| !x.is_empty());
            let name = Name {
                namespace: namespace.map(Into::into),
                name: metadata.name.into(),
            };
            Some(Event::Deleted { name, last: bytes })
        }
        "BOOKMARK" => None,
        other => return Err(call.protocol(&format!("watch event of type {other:?}"))),
    };
    Ok(Line {
        version: metadata.resource_version.into_owned(),
        event,
    })
}
