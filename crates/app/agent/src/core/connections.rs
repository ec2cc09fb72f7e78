//! Live connections, judged again after a change.
//!
//! ```text
//!   commit ──► core ──► walker (a thread): reads the connection table ──► chunks ──► core: judge, mark
//! ```
//!
//! A connection that policy no longer allows gets the mark that ends it: its next packet, from
//! either side, is dropped. One that was ended and is allowed again goes on as allowed, whichever side
//! sends next: judged as if it were the first, a packet of the server would ask for a connection to
//! the client.
//!
//! Reading a full table takes a good part of a second, and a workload can fill it. So it is read in a
//! thread of its own, and the core takes [`CHUNK`] entries at a time, between other messages. At most
//! one chunk waits for the core, and at most one walk for the walker: it begins after the change for
//! which it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::Context;
use ocicat_flow::Verdict;
use ocicat_kernel::conntrack::{Conntrack, Entry, Filter, Layer4, MarkChange};
use ocicat_node::{LocalAddress, Protocol, ServiceMatch, StackId};
use tokio::sync::mpsc;

use super::Core;

/// How many entries the core judges at a time.
const CHUNK: usize = 1000;

/// The thread that reads the connection table, as the core sees it.
pub(super) struct Walker {
    requests: SyncSender<()>,
    pub(super) chunks: mpsc::Receiver<Vec<Entry>>,
    /// The host's own addresses when the last walk was asked for.
    own: BTreeSet<IpAddr>,
}

impl Walker {
    /// Starts the thread. It ends when the core does. Entries with none of the `marks` have not been
    /// judged at all, and are left out.
    ///
    /// # Errors
    /// If the table cannot be opened or no thread can be had.
    pub(super) fn start(marks: u32) -> anyhow::Result<Self> {
        let conntrack = Conntrack::open()?;
        let (requests, asked) = sync_channel(1);
        let (sender, chunks) = mpsc::channel(1);
        let thread = std::thread::Builder::new().name("walker".into());
        let started = thread.spawn(move || walk(conntrack, marks, &asked, &sender));
        started.context("starting the walker")?;
        Ok(Self {
            requests,
            chunks,
            own: BTreeSet::new(),
        })
    }
}

fn walk(
    mut conntrack: Conntrack,
    marks: u32,
    asked: &Receiver<()>,
    chunks: &mpsc::Sender<Vec<Entry>>,
) {
    while asked.recv().is_ok() {
        let mut chunk = Vec::new();
        let walked = conntrack.select(&Filter::default(), |entry| {
            if entry.mark & marks != 0 {
                chunk.push(*entry);
            }
            if chunk.len() >= CHUNK {
                // A core that is gone needs no entries; the next request is not there either.
                let _ = chunks.blocking_send(std::mem::take(&mut chunk));
            }
            false
        });
        let _ = chunks.blocking_send(chunk);
        if let Err(error) = walked {
            tracing::error!(%error, "cannot read all live connections to judge them again");
        }
    }
}

impl Core {
    /// Has all live connections judged again.
    pub(super) fn start_walk(&mut self) {
        match self.rtnl.addresses() {
            Ok(own) => self.walker.own = own.into_iter().map(|a| a.net.addr()).collect(),
            Err(error) => tracing::error!(%error, "cannot read the host's addresses"),
        }
        // If the walker has not begun with the last request, that walk is as good as another.
        let _ = self.walker.requests.try_send(());
    }

    pub(super) fn judge_connections(&mut self, entries: &[Entry]) {
        if let Err(error) = self.try_judge_connections(entries) {
            tracing::error!("cannot judge live connections again: {error:#}");
        }
    }

    fn try_judge_connections(&mut self, entries: &[Entry]) -> anyhow::Result<()> {
        let config = self.compiler.config();
        let (ended, decided) = (config.ended(), config.decided());
        let local = self.local_addresses();
        let mut changes = Vec::new();
        for entry in entries {
            if self.walker.own.contains(&entry.original.source) {
                continue;
            }
            let Some(verdict) = self.verdict(entry, &local) else {
                continue;
            };
            let is_ended = entry.mark & ended != 0;
            let value = match verdict {
                Verdict::Deny if !is_ended => ended,
                Verdict::Allow if is_ended => decided,
                _ => continue,
            };
            changes.push(MarkChange {
                key: entry.key(),
                value,
                mask: ended | decided,
            });
        }
        if !changes.is_empty() {
            let failed = self
                .conntrack
                .set_marks(&changes)?
                .into_iter()
                .filter_map(Result::err);
            for error in failed {
                tracing::error!(%error, "cannot mark a connection");
            }
            tracing::info!(
                connections = changes.len(),
                "connections judged anew changed"
            );
        }
        Ok(())
    }

    /// The addresses of attached workloads; those without policy yet have no stacks.
    fn local_addresses(&self) -> BTreeMap<IpAddr, Option<LocalAddress>> {
        let mut local = BTreeMap::new();
        for (_, attachment, policy) in self.compiler.endpoints() {
            for address in &attachment.addresses {
                let judged = policy.into_iter().flat_map(|policy| &policy.addresses);
                let judged = judged.copied().find(|judged| judged.address == *address);
                local.insert(*address, judged);
            }
        }
        local
    }

    /// The verdict on a connection's first packet, after translation of its destination. `None`
    /// if it concerns no workload of this host.
    fn verdict(
        &self,
        entry: &Entry,
        local: &BTreeMap<IpAddr, Option<LocalAddress>>,
    ) -> Option<Verdict> {
        let source = entry.original.source;
        let destination = entry.reply.source;
        let service = service(entry);
        let judge = |near: &Option<LocalAddress>, stack: fn(&LocalAddress) -> StackId, far| {
            let outcome = near
                .as_ref()
                .and_then(|n| self.compiler.judge(stack(n), far, &service));
            outcome.map_or(Verdict::Deny, |outcome| outcome.verdict)
        };
        let egress = local
            .get(&source)
            .map(|near| judge(near, |n| n.egress, destination));
        let ingress = local
            .get(&destination)
            .map(|near| judge(near, |n| n.ingress, source));
        match (egress, ingress) {
            (None, None) => None,
            (one, other) => Some(
                one.unwrap_or(Verdict::Allow)
                    .and(other.unwrap_or(Verdict::Allow)),
            ),
        }
    }
}

fn service(entry: &Entry) -> ServiceMatch {
    let (source_port, port) = match (entry.original.layer4, entry.reply.layer4) {
        (
            Layer4::Ports { source, .. },
            Layer4::Ports {
                source: serving, ..
            },
        ) => (source, serving),
        (Layer4::Icmp { kind, code, .. }, _) => (0, u16::from_be_bytes([kind, code])),
        _ => (0, 0),
    };
    ServiceMatch {
        protocol: Protocol(entry.original.protocol),
        source_port,
        port,
    }
}
