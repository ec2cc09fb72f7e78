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

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::Context;
use ocicat_compile::Source;
use ocicat_flow::{Direction, Verdict};
use ocicat_kernel::conntrack::{Conntrack, Entry, Filter, Layer4, MarkChange};
use ocicat_node::{LocalAddress, Protocol, ServiceMatch, StackId, Stage};
use tokio::sync::mpsc;

use super::Core;

/// Interfaces of addresses that one walk remembers at most.
const WAYS: usize = 100_000;
/// How many entries the core judges at a time.
const CHUNK: usize = 1000;

/// The thread that reads the connection table, as the core sees it.
pub(super) struct Walker {
    requests: SyncSender<u32>,
    pub(super) chunks: mpsc::Receiver<Vec<Entry>>,
    /// The host's own addresses when the last walk was asked for.
    own: BTreeSet<IpAddr>,
    /// TCP ports of the host's listeners, if this walk has asked for them.
    listening: Option<BTreeSet<u16>>,
    /// The interfaces that packets to addresses leave by, as far as this walk has asked.
    ways: HashMap<IpAddr, Option<String>>,
}

impl Walker {
    /// Starts the thread. It ends when the core does.
    ///
    /// # Errors
    /// If the table cannot be opened or no thread can be had.
    pub(super) fn start() -> anyhow::Result<Self> {
        let conntrack = Conntrack::open()?;
        let (requests, asked) = sync_channel(1);
        let (sender, chunks) = mpsc::channel(1);
        let thread = std::thread::Builder::new().name("walker".into());
        let started = thread.spawn(move || walk(conntrack, &asked, &sender));
        started.context("starting the walker")?;
        Ok(Self {
            requests,
            chunks,
            own: BTreeSet::new(),
            listening: None,
            ways: HashMap::new(),
        })
    }
}

/// A request is for entries with any of these marks, or for all if it is 0.
fn walk(mut conntrack: Conntrack, asked: &Receiver<u32>, chunks: &mpsc::Sender<Vec<Entry>>) {
    while let Ok(marks) = asked.recv() {
        let mut chunk = Vec::new();
        let walked = conntrack.select(&Filter::default(), |entry| {
            if marks == 0 || entry.mark & marks != 0 {
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
        let config = self.compiler.config();
        // What has none of our marks has not been judged at all; but a host endpoint may be younger
        // than its connections.
        let marks = match self.compiler.has_hosts() {
            true => 0,
            false => config.ended() | config.decided(),
        };
        self.walker.ways.clear();
        self.walker.listening = None;
        let _ = self.walker.requests.try_send(marks);
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
            let begun = self.as_begun(entry);
            let is_ended = entry.mark & ended != 0;
            let is_judged = is_ended || entry.mark & decided != 0;
            let from_host = self.walker.own.contains(&begun.original.source);
            let by_workloads = match is_judged && !from_host {
                true => self.verdict(&begun, &local),
                false => None,
            };
            let by_hosts = self.host_verdict(&begun)?;
            let verdict = match (by_workloads, by_hosts) {
                (Some(one), Some(other)) => one.and(other),
                (Some(verdict), None) | (None, Some(verdict)) => verdict,
                (None, None) => continue,
            };
            let value = match verdict {
                Verdict::Deny if !is_ended => ended,
                Verdict::Allow if is_ended || !is_judged => decided,
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

    /// The entry as if its connection had been tracked from the beginning. Of one that is older than
    /// its entry, such as our own to the API server, the first packet seen may be an answer; for a
    /// connection of the host itself, its listeners tell.
    fn as_begun(&mut self, entry: &Entry) -> Entry {
        let Layer4::Ports {
            source,
            destination,
        } = entry.original.layer4
        else {
            return *entry;
        };
        if !entry.picked_up || !self.compiler.has_hosts() {
            return *entry;
        }
        let own = &self.walker.own;
        let (from_us, to_us) = (
            own.contains(&entry.original.source),
            own.contains(&entry.original.destination),
        );
        if self.walker.listening.is_none() {
            match ocicat_kernel::listeners::tcp() {
                Ok(ports) => self.walker.listening = Some(ports),
                Err(error) => tracing::error!(%error, "cannot tell who began old connections"),
            }
        }
        let Some(listening) = &self.walker.listening else {
            return *entry;
        };
        let is_turned = match (from_us, to_us) {
            (true, false) => listening.contains(&source),
            (false, true) => !listening.contains(&destination),
            _ => false,
        };
        match is_turned {
            true => Entry {
                original: entry.original.turned(),
                reply: entry.reply.turned(),
                ..*entry
            },
            false => *entry,
        }
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

    /// What the endpoints of the host say of a connection's first packet. `None` if it concerns none.
    fn host_verdict(&mut self, entry: &Entry) -> anyhow::Result<Option<Verdict>> {
        if !self.compiler.has_hosts() {
            return Ok(None);
        }
        let (source, destination) = (entry.original.source, entry.reply.source);
        let asked_for = entry.original.destination;
        let before = service(&Entry {
            reply: entry.original.turned(),
            ..*entry
        });
        let after = service(entry);
        let own = |address: &IpAddr| self.walker.own.contains(address);
        let (from_us, to_us) = (own(&source), own(&destination));
        if from_us && to_us {
            return Ok(None);
        }
        let inbound = [
            (Stage::Untracked, asked_for, before),
            (Stage::PreDnat, asked_for, before),
        ];
        let mut verdicts = Vec::new();
        if !from_us {
            let last = match to_us {
                true => Stage::Local,
                false => Stage::Forward,
            };
            let [first, second] = inbound;
            let stages = [first, second, (last, destination, after)];
            verdicts.extend(self.side(Direction::Ingress, source, &stages, to_us)?);
        }
        if !to_us {
            let stages: &[_] = match from_us {
                true => &[
                    (Stage::Untracked, source, after),
                    (Stage::Local, source, after),
                ],
                false => &[(Stage::Forward, source, after)],
            };
            verdicts.extend(self.side(Direction::Egress, destination, stages, from_us)?);
        }
        Ok(verdicts.into_iter().reduce(Verdict::and))
    }

    /// One side of a connection through the host, by the stages that a packet passes there.
    fn side(
        &mut self,
        direction: Direction,
        far: IpAddr,
        stages: &[(Stage, IpAddr, ServiceMatch)],
        is_local: bool,
    ) -> anyhow::Result<Option<Verdict>> {
        let Some(link) = self.way_to(far)? else {
            return Ok(None);
        };
        for (stage, near, service) in stages {
            let is_failsafe = is_local && self.compiler.is_failsafe(direction, far, service, false);
            if is_failsafe && *stage == Stage::Local {
                return Ok(Some(Verdict::Allow));
            }
            let addresses = (*near, far);
            let outcome = self
                .compiler
                .judge_stage(&link, (*stage, direction), addresses, service);
            match outcome.map(|outcome| outcome.verdict) {
                Some(verdict @ (Verdict::Allow | Verdict::Deny)) if !is_failsafe => {
                    return Ok(Some(verdict));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The interface that packets to an address leave by.
    fn way_to(&mut self, address: IpAddr) -> anyhow::Result<Option<String>> {
        if let Some(known) = self.walker.ways.get(&address) {
            return Ok(known.clone());
        }
        let path = self.rtnl.path_to(address)?;
        let name = path.and_then(|path| self.hosts.known.get(&path.interface));
        let name = name.map(|link| link.name.clone());
        if self.walker.ways.len() < WAYS {
            self.walker.ways.insert(address, name.clone());
        }
        Ok(name)
    }

    /// The verdict on what comes from a source that is no address of a workload and that some may send
    /// from: which one does is not known here, so it goes on if one of them may.
    fn by_allowed_source(
        &self,
        source: IpAddr,
        judge: impl Fn(LocalAddress) -> Verdict,
    ) -> Option<Verdict> {
        let config = self.compiler.config();
        let has = |allowed: &Source| allowed.net.contains(&source);
        // Hardly anybody is allowed anything.
        if !config.sources.iter().any(has) {
            return None;
        }
        let of_family = |local: &&LocalAddress| local.address.is_ipv4() == source.is_ipv4();
        let verdicts = self
            .compiler
            .endpoints()
            .filter_map(|(_, attachment, policy)| {
                config.sources_of(&attachment.interface).find(|x| has(x))?;
                policy?
                    .addresses
                    .iter()
                    .find(of_family)
                    .map(|near| judge(*near))
            });
        verdicts.reduce(|one, other| if one == Verdict::Allow { one } else { other })
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
        let egress = match local.get(&source) {
            Some(near) => Some(judge(near, |n| n.egress, destination)),
            None => {
                self.by_allowed_source(source, |near| judge(&Some(near), |n| n.egress, destination))
            }
        };
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
