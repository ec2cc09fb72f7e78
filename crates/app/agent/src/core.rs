//! The core: one thread that owns the calculation and the kernel of this host.
//!
//! ```text
//!   feed, CNI, tools ──► inbox (4,096 messages) ──► engine ──► compiler ──► nftables, links, routes
//!                                                                  └──► reports to the status task
//! ```
//!
//! Messages that wait are taken together, so that a burst of changes becomes one calculation and one
//! kernel transaction. Until every kind has been listed once, nothing is written to the kernel.

mod configure;
mod connections;
mod hosts;
mod kernel;
mod plumbing;
mod report;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use ocicat_api::config::{FelixConfiguration, KubeControllersConfiguration};
use ocicat_api::{Kind, Object, ObjectKey, Problem};
use ocicat_compile::Compiler;
use ocicat_kernel::attach::Host;
use ocicat_kernel::conntrack::Conntrack;
use ocicat_kernel::rtnl::Rtnl;
use ocicat_node::EndpointId;
use ocicat_policy::{Engine, Locality};
use ocicat_routing::Topology;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::auto::Wanted;
use crate::config::Config;
use crate::denied::Known;
use crate::links::{self, Links};
use crate::record::{Record, Records};
use crate::verify::Snapshot;
use crate::{feed, felix};

pub use report::{Metrics, Report};

/// Messages that wait for the core; senders wait when it is full.
pub const INBOX: usize = 4096;
/// Messages taken together at most.
const BATCH: usize = 4096;
/// How long what a commit replaced stays in the kernel at least; then a grace period is awaited.
const COLLECT_AFTER: Duration = Duration::from_millis(50);
/// Live connections are judged again this long after a commit, so that a burst costs one walk.
const WALK_AFTER: Duration = Duration::from_millis(30);
/// And once more, for those confirmed during a commit.
const WALK_AGAIN_AFTER: Duration = Duration::from_millis(300);
/// Walks begin at least this far apart.
const WALKS_APART: Duration = Duration::from_millis(150);
/// What a start leaves behind has settled after so long.
const FIRST_GATHER: Duration = Duration::from_secs(10);
const GATHER_EVERY: Duration = Duration::from_mins(10);

/// An audit takes at most a hundredth of the time: it waits longer where it takes long.
const AUDIT_SHARE: u32 = 100;
/// How often we look whether somebody else has changed nftables, which costs one question.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What the core may be told or asked.
#[derive(Debug)]
pub enum Message {
    Upsert(Box<Object>, Vec<Problem>),
    Remove(ObjectKey),
    /// A kind's list is complete.
    Listed(Kind),
    Attach(Attach, oneshot::Sender<Result<(), String>>),
    /// By host-side interface. The answer is the record, if there was one.
    Detach(String, oneshot::Sender<Result<Option<Record>, String>>),
    /// By host-side interface. The answer is the differences from what ADD made.
    Check(String, oneshot::Sender<Result<Vec<String>, String>>),
    /// What is attached.
    Records(oneshot::Sender<Vec<Record>>),
    Status(oneshot::Sender<Value>),
    /// What the kernel has and what it shall decide, as of one moment.
    Verify(oneshot::Sender<Result<Box<Snapshot>, String>>),
    Unknown(Vec<IpAddr>, oneshot::Sender<Vec<IpAddr>>),
    Metrics(oneshot::Sender<report::Metrics>),
    /// The host's links, which have changed.
    Links(Links),
    /// Where the API server is, if it is reached over TCP.
    ApiServer(Vec<SocketAddr>),
    /// Whether the API server answers.
    Reach(bool),
}

/// A workload to be joined to this host.
#[derive(Debug)]
pub struct Attach {
    pub record: Record,
    /// The workload's object, read a moment ago.
    pub object: Box<Object>,
}

/// What the core tells others of the agent.
#[derive(Debug, Clone)]
pub struct Tells {
    pub denied: Known,
    pub reports: watch::Sender<Report>,
    pub auto_endpoints: watch::Sender<Option<Wanted>>,
}

/// The state of the thread.
pub struct Core {
    config: Config,
    engine: Engine,
    compiler: Compiler,
    nft: ocicat_nft::Connection,
    host: Host,
    rtnl: Rtnl,
    conntrack: Conntrack,
    walker: connections::Walker,
    records: Records,
    topology: Topology,
    /// What workloads ask to send from besides their addresses.
    asked_sources: BTreeMap<ObjectKey, Vec<IpNet>>,
    /// Interfaces whose IPv4 sources only our table checks.
    unfiltered: BTreeSet<String>,
    /// Which addresses of an endpoint need routes of their own.
    stray_owners: BTreeMap<ObjectKey, Vec<IpAddr>>,
    routes: BTreeSet<ocicat_node::Route>,
    routes_changed: bool,
    /// Kinds whose first list is not complete.
    missing: BTreeSet<Kind>,
    /// Attach and detach requests that came before the first sync.
    early: Vec<Message>,
    in_force: bool,
    commits: u64,
    collect_at: Option<Instant>,
    walk_at: Option<Instant>,
    walk_again_at: Option<Instant>,
    last_walk: Instant,
    audit_at: Instant,
    /// When memory is put into large pages.
    gather_at: Instant,
    /// Where the interpretation of the kernel's program goes on.
    next_step: usize,
    look_at: Instant,
    /// The generation of the kernel's ruleset after our last commit or look.
    generation: Option<u32>,
    problems: BTreeMap<ObjectKey, Vec<Problem>>,
    versions: BTreeMap<ObjectKey, Arc<str>>,
    denied: Known,
    counted: report::Counted,
    reports: watch::Sender<Report>,
    auto_endpoints: watch::Sender<Option<Wanted>>,
    hosts: hosts::Hosts,
    felix: BTreeMap<Arc<str>, FelixConfiguration>,
    kube_controllers: Option<KubeControllersConfiguration>,
    own_node: Option<ocicat_api::core::Node>,
    /// What is wrong with configurations here, besides what their decoding found.
    configuration_problems: BTreeMap<ObjectKey, Vec<Problem>>,
    audit_every: Option<Duration>,
    /// The next commit installs the whole program.
    must_install: bool,
    failure: Option<String>,
    /// The newest resource version of a policy object that was seen.
    revision: u64,
    /// How each policy fares, as of the last calculation.
    fares: BTreeMap<ObjectKey, ocicat_policy::PolicyReport>,
}

impl Core {
    /// Opens the kernel in the network namespace of the calling thread, and reads the records.
    ///
    /// # Errors
    /// If a socket cannot be had or the records cannot be read.
    pub fn open(config: Config, tells: Tells, api: Vec<SocketAddr>) -> anyhow::Result<Self> {
        let records = Records::open(&config.state_dir)?;
        let mut engine = Engine::new(Locality::Node(config.node.as_str().into()));
        for record in records.all() {
            let key = record.workload.key();
            engine.set_addresses(&key, &record.addresses);
            engine.set_local(&key, ocicat_policy::Place::Local);
        }
        // As the agent before may have left them.
        let interfaces = records.all().map(|record| record.interface.clone());
        let unfiltered = interfaces.collect();
        let mut core = Self {
            engine,
            compiler: Compiler::new(config.program.clone()),
            nft: ocicat_nft::Connection::open()?,
            host: Host::open()?,
            rtnl: Rtnl::open()?,
            conntrack: Conntrack::open()?,
            walker: connections::Walker::start()?,
            records,
            topology: Topology::default(),
            asked_sources: BTreeMap::new(),
            unfiltered,
            stray_owners: BTreeMap::new(),
            routes: BTreeSet::new(),
            routes_changed: true,
            missing: feed::KINDS.into_iter().collect(),
            early: Vec::new(),
            in_force: false,
            commits: 0,
            collect_at: None,
            walk_at: None,
            walk_again_at: None,
            last_walk: Instant::now(),
            audit_at: Instant::now() + felix::AUDIT_EVERY,
            gather_at: Instant::now() + FIRST_GATHER,
            next_step: 0,
            look_at: Instant::now() + LOOK_EVERY,
            generation: None,
            problems: BTreeMap::new(),
            versions: BTreeMap::new(),
            denied: tells.denied,
            counted: report::Counted::default(),
            reports: tells.reports,
            auto_endpoints: tells.auto_endpoints,
            hosts: hosts::Hosts::default(),
            felix: BTreeMap::new(),
            kube_controllers: None,
            own_node: None,
            configuration_problems: BTreeMap::new(),
            audit_every: Some(felix::AUDIT_EVERY),
            must_install: false,
            failure: None,
            revision: 0,
            fares: BTreeMap::new(),
            config,
        };
        let prefix = &core.config.program.interface_prefix;
        core.hosts.known = links::read(&mut core.rtnl, prefix)?;
        core.take_links();
        core.note_api_server(api);
        Ok(core)
    }

    /// Works until every sender is gone. What is in force stays in force.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        loop {
            let wait = self
                .next_deadline()
                .saturating_duration_since(Instant::now());
            let mut batch = Vec::new();
            let mut chunk = None;
            tokio::select! {
                biased;
                count = inbox.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                }
                Some(entries) = self.walker.chunks.recv() => chunk = Some(entries),
                () = tokio::time::sleep(wait) => {}
            }
            if !batch.is_empty() {
                self.take(batch);
                // A stream of messages shall not keep connections from being judged.
                chunk = self.walker.chunks.try_recv().ok();
            }
            if let Some(entries) = chunk {
                self.judge_connections(&entries);
            }
            self.keep_house();
        }
    }

    fn take(&mut self, batch: Vec<Message>) {
        let mut dirty = false;
        let (mut attaching, mut detaching) = (Vec::new(), Vec::new());
        for message in batch {
            match message {
                Message::Upsert(object, problems) => {
                    self.upsert(*object, problems);
                    dirty = true;
                }
                Message::Remove(key) => {
                    self.remove(&key);
                    dirty = true;
                }
                Message::Listed(kind) => {
                    self.missing.remove(&kind);
                    dirty = true;
                }
                Message::Attach(..) | Message::Detach(..) if !self.in_force => {
                    self.early.push(message);
                }
                Message::Attach(attach, reply) => {
                    self.detach_all(std::mem::take(&mut detaching));
                    attaching.push((attach, reply));
                }
                Message::Detach(interface, reply) => {
                    self.attach_all(std::mem::take(&mut attaching));
                    detaching.push((interface, reply));
                }
                Message::Check(interface, reply) => {
                    let _ = reply.send(self.check(&interface).map_err(|e| format!("{e:#}")));
                }
                Message::Records(reply) => {
                    let _ = reply.send(self.records.all().cloned().collect());
                }
                Message::Status(reply) => {
                    let _ = reply.send(self.status());
                }
                Message::Verify(reply) => {
                    let _ = reply.send(self.snapshot().map_err(|e| format!("{e:#}")));
                }
                Message::Unknown(addresses, reply) => {
                    let _ = reply.send(self.unknown(addresses));
                }
                Message::Metrics(reply) => {
                    let _ = reply.send(self.metrics());
                }
                Message::Links(links) => {
                    self.hosts.known = links;
                    self.take_links();
                    // Warnings and automatic endpoints follow from links too.
                    dirty |= self.in_force;
                }
                Message::ApiServer(addresses) => dirty |= self.note_api_server(addresses),
                Message::Reach(answers) => self.note_reach(answers),
            }
        }
        if dirty && self.missing.is_empty() {
            self.bring_into_force(&[]);
        }
        self.detach_all(detaching);
        self.attach_all(attaching);
        if self.in_force && !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.take(early);
        }
    }

    fn upsert(&mut self, object: Object, problems: Vec<Problem>) {
        let key = object.key();
        self.note_topology(&object);
        self.note_configuration(&object);
        self.note_sources(&key, &object);
        self.note_host_object(&object);
        if report::is_policy(key.kind) {
            if problems.is_empty() {
                self.problems.remove(&key);
            } else {
                for problem in &problems {
                    report::log_problem(&key, problem);
                }
                self.problems.insert(key.clone(), problems);
            }
            let version = object.metadata().resource_version.clone();
            let number = version.as_deref().and_then(|version| version.parse().ok());
            self.revision = self.revision.max(number.unwrap_or(0));
            self.versions.insert(key, version.unwrap_or_default());
        }
        self.engine.upsert(&object);
    }

    fn remove(&mut self, key: &ObjectKey) {
        self.forget_topology(key);
        self.forget_configuration(key);
        self.asked_sources.remove(key);
        self.release(key);
        self.plan_retry(hosts::retry_after(key.kind));
        self.problems.remove(key);
        self.versions.remove(key);
        self.engine.remove(key);
    }

    /// What waits for its time.
    fn keep_house(&mut self) {
        let now = Instant::now();
        if self.collect_at.is_some_and(|at| at <= now) {
            self.collect();
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.walk_at) || due(self.walk_again_at) {
            self.walk_at = None;
            self.walk_again_at = self.walk_again_at.filter(|at| *at > now);
            self.start_walk();
            self.last_walk = Instant::now();
        }
        if self.look_at <= now {
            self.look_at = now + LOOK_EVERY;
            self.look_for_strangers();
        }
        if self.audit_at <= now {
            if self.in_force && self.audit_every.is_some() {
                self.audit();
            }
            let rest = Instant::now() + now.elapsed() * AUDIT_SHARE;
            self.audit_at = self.next_audit().max(rest);
        }
        if self.gather_at <= now {
            self.gather_at = now + GATHER_EVERY;
            gather_memory();
        }
        if due(self.hosts.retry_at) && self.in_force {
            self.bring_into_force(&[]);
        }
        if self.failure.is_some() && self.missing.is_empty() {
            std::thread::sleep(Duration::from_millis(100));
            self.bring_into_force(&[]);
        }
    }

    fn next_audit(&self) -> Instant {
        const NEVER: Duration = Duration::from_secs(24 * 3600);
        Instant::now() + self.audit_every.unwrap_or(NEVER)
    }

    fn next_deadline(&self) -> Instant {
        let retry = self
            .failure
            .as_ref()
            .map(|_| Instant::now() + Duration::from_secs(1));
        let walks = self.walk_at.into_iter().chain(self.walk_again_at);
        let times = walks.chain(self.collect_at).chain(retry);
        let times = times.chain(self.hosts.retry_at);
        times
            .chain([self.audit_at, self.look_at, self.gather_at])
            .min()
            .unwrap_or(self.look_at)
    }
}

/// The name of an endpoint in `NodeState`.
fn endpoint_id(key: &ObjectKey) -> EndpointId {
    ocicat_policy::endpoint_id(key)
}

/// Changes of large tables are quicker in large pages. On a thread of its own, for it may take a while.
fn gather_memory() {
    let gather = || match ocicat_kernel::memory::use_large_pages() {
        Ok(bytes) => tracing::debug!(bytes, "memory in large pages"),
        Err(error) => tracing::debug!(%error, "memory in large pages"),
    };
    let thread = std::thread::Builder::new().name("memory".to_owned());
    if let Err(error) = thread.spawn(gather) {
        tracing::debug!(%error, "memory in large pages");
    }
}
