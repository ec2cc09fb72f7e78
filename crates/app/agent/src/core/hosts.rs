//! Host endpoints: the host's links, and the agent's own connection to its API server, which no host
//! policy may cut.
//!
//! Before a change of host endpoints goes to the kernel, the new tables are asked about every address
//! of the API server. What would cut the connection off is suspended and reported, until the object
//! changes. As tables are not all that decides about packets, the connection is watched after each
//! such change too: if it fails for [`UNREACHABLE_LIMIT`], the newest change is suspended likewise; if
//! that does not help within [`TRIAL`], it was not the cause, and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ocicat_api::{Kind, Object, ObjectKey, Problem};
use ocicat_compile::HostLink;
use ocicat_flow::{Decider, Direction, Outcome, PolicyKind, PolicyRef, Verdict};
use ocicat_node::{HostInterfaces, Protocol, ServiceMatch, Stage};

use super::Core;
use crate::links::Links;

/// How long the API server may be silent after a host policy changed.
const UNREACHABLE_LIMIT: Duration = Duration::from_secs(10);
/// A silence that begins later than this after a change has another cause.
const SUSPICIOUS: Duration = Duration::from_secs(30);
/// How long a suspension may take to help.
const TRIAL: Duration = Duration::from_secs(20);
/// Source ports that stand for all that our connection may have.
const SOURCE_PORTS: [u16; 3] = [32_768, 45_000, 60_999];

/// What the core remembers of host endpoints.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    pub(super) known: Links,
    /// Those that may have host endpoints, by name.
    pub(super) links: Vec<HostLink>,
    /// Where the API server is, as far as it is reached over TCP.
    api: Vec<SocketAddr>,
    /// What is not enforced, and why.
    pub(super) suspended: BTreeMap<ObjectKey, Problem>,
    /// Host endpoints that are not on any interface.
    pub(super) astray: BTreeMap<ObjectKey, Problem>,
    /// Objects that came since the last commit and may change what hosts enforce.
    changed: BTreeSet<ObjectKey>,
    /// The newest commit that changed what this host enforces, and the objects that did.
    newest: Option<(Instant, BTreeSet<ObjectKey>)>,
    unreachable_since: Option<Instant>,
    /// What was suspended because the API server did not answer, and when.
    trial: Option<(Instant, BTreeSet<ObjectKey>)>,
}

/// Why our connection would be cut.
struct Cut {
    /// The policy or host endpoint to suspend.
    key: ObjectKey,
    reason: String,
}

impl Core {
    /// Takes the host's links as they are known, without those of workloads.
    pub(super) fn take_links(&mut self) {
        let config = self.compiler.config();
        let known = self.hosts.known.values();
        let ours = known.filter(|link| !config.is_workload(&link.name));
        let mut links: Vec<HostLink> = ours.cloned().collect();
        links.sort();
        self.hosts.links.clone_from(&links);
        self.compiler.set_links(links);
    }

    /// Where the API server is now. Returns whether it is known to be elsewhere than before.
    pub(super) fn note_api_server(&mut self, addresses: Vec<SocketAddr>) -> bool {
        let changed = self.hosts.api != addresses;
        self.hosts.api = addresses;
        changed && self.compiler.has_hosts()
    }

    /// An object came that may be suspended, or may change what hosts enforce.
    pub(super) fn note_host_object(&mut self, object: &Object) {
        let key = object.key();
        if !matches!(key.kind, Kind::GlobalNetworkPolicy | Kind::HostEndpoint) {
            return;
        }
        let version = object.metadata().resource_version.as_ref();
        if version.is_none() || self.versions.get(&key) != version {
            self.release(&key);
            self.hosts.changed.insert(key);
        }
    }

    /// A suspended object that changes, or goes, gets another chance.
    pub(super) fn release(&mut self, key: &ObjectKey) {
        if self.hosts.suspended.remove(key).is_some() {
            self.engine.resume(key);
        }
    }

    /// Suspends what would cut our connection. To be called when the compiler has taken a change and
    /// the kernel has not. Returns whether it suspended anything, so that the program must be
    /// installed as a whole.
    pub(super) fn keep_own_connection(&mut self) -> bool {
        let mut suspended = false;
        // Each round takes one object away, so there is an end.
        while let Some(Cut { key, reason }) = self.cut_off() {
            if self.hosts.suspended.contains_key(&key) {
                tracing::error!(object = %key, reason, "cannot keep the connection to the API server");
                break;
            }
            let message = format!(
                "not enforced on hosts: it would cut this host off from its API server ({reason}); \
                 change it to have it tried again"
            );
            self.suspend(key, message);
            suspended = true;
        }
        suspended
    }

    fn suspend(&mut self, key: ObjectKey, message: String) {
        tracing::error!(object = %key, "{message}");
        self.engine.suspend(&key);
        self.hosts
            .suspended
            .insert(key, Problem::error(String::new(), message));
        let commit = self.engine.commit();
        self.take_reports(&commit);
        let _ = self.compiler.update(&commit.delta, &[]);
        self.publish_outcomes(&commit.delta);
    }

    fn cut_off(&mut self) -> Option<Cut> {
        if !self.compiler.has_hosts() {
            return None;
        }
        let servers = self.hosts.api.clone();
        servers.into_iter().find_map(|server| {
            let path = match self.rtnl.path_to(server.ip()) {
                Ok(path) => path?,
                Err(error) => {
                    tracing::warn!(%error, "cannot tell the way to the API server");
                    return None;
                }
            };
            let link = &self.hosts.known.get(&path.interface)?.name;
            let own = path.source?;
            let cut = |port: &u16| self.cut_on(link, own, server, *port);
            SOURCE_PORTS.iter().find_map(cut)
        })
    }

    /// Whether a connection from `own` to `server` is cut on a link.
    fn cut_on(&self, link: &str, own: IpAddr, server: SocketAddr, port: u16) -> Option<Cut> {
        let far = server.ip();
        let there = ServiceMatch {
            protocol: Protocol::TCP,
            source_port: port,
            port: server.port(),
        };
        let back = ServiceMatch {
            source_port: server.port(),
            port,
            ..there
        };
        let ask = |stage, direction, service: &ServiceMatch| {
            // Answers are known by their ports where connections are not.
            let by_port = |is_reply| {
                let compiler = &self.compiler;
                compiler.is_failsafe(direction, far, service, is_reply)
            };
            if by_port(false) || (stage == Stage::Untracked && by_port(true)) {
                return None;
            }
            self.compiler
                .judge_stage(link, (stage, direction), (own, far), service)
        };
        let cut = |outcome: &Outcome, what: &str| Cut {
            key: self.decider_key(link, outcome),
            reason: format!("{what} {server}: {outcome}"),
        };
        let out = ask(Stage::Untracked, Direction::Egress, &there);
        let answer = ask(Stage::Untracked, Direction::Ingress, &back);
        let is = |outcome: Option<&Outcome>, verdict| outcome.is_some_and(|o| o.verdict == verdict);
        for (outcome, what) in [(out, "untracked, to"), (answer, "untracked, from")] {
            if let Some(outcome) = outcome.filter(|o| o.verdict == Verdict::Deny) {
                return Some(cut(outcome, what));
            }
        }
        let (free, answers_free) = (is(out, Verdict::Allow), is(answer, Verdict::Allow));
        if let (false, true, Some(outcome)) = (free, answers_free, answer) {
            // Tracked one way only, a connection makes no sense.
            return Some(cut(outcome, "answers untracked, from"));
        }
        if !free {
            let local = ask(Stage::Local, Direction::Egress, &there)?;
            return (local.verdict == Verdict::Deny).then(|| cut(local, "to"));
        }
        if answers_free {
            return None;
        }
        for stage in [Stage::PreDnat, Stage::Local] {
            let outcome = ask(stage, Direction::Ingress, &back)?;
            match outcome.verdict {
                Verdict::Deny => return Some(cut(outcome, "from")),
                Verdict::Allow => return None,
                Verdict::Next => {}
            }
        }
        None
    }

    /// What to suspend: the policy whose rule decided, or the host endpoint at whose end it was
    /// decided.
    fn decider_key(&self, link: &str, outcome: &Outcome) -> ObjectKey {
        let policy = match &outcome.decider {
            Decider::Rule(rule) | Decider::Undetermined(rule) => Some(&*rule.policy),
            Decider::Unreadable(policy) => Some(&**policy),
            _ => None,
        };
        let is_global = |policy: &&PolicyRef| policy.kind == PolicyKind::GlobalNetworkPolicy;
        if let Some(policy) = policy.filter(is_global) {
            return ObjectKey {
                kind: Kind::GlobalNetworkPolicy,
                namespace: None,
                name: policy.name.clone(),
            };
        }
        let endpoint = self.compiler.host_endpoint_of(link);
        endpoint_key(endpoint.map_or("", |id| id))
    }

    /// To be called after each commit of the kernel.
    pub(super) fn note_host_commit(&mut self, touched_hosts: bool) {
        let changed = std::mem::take(&mut self.hosts.changed);
        if touched_hosts && !changed.is_empty() {
            self.hosts.newest = Some((Instant::now(), changed));
        }
        self.hosts.astray = self.astray();
    }

    /// Host endpoints of this host that no interface has.
    fn astray(&self) -> BTreeMap<ObjectKey, Problem> {
        let (links, rest) = self.compiler.host_links();
        let is_link = |name: &str| self.hosts.links.iter().any(|link| link.name == name);
        let mut placed: BTreeSet<&str> = links
            .filter(|(name, _)| is_link(name))
            .map(|(_, id)| &**id)
            .collect();
        placed.extend(rest.map(|id| &**id));
        let astray = self
            .compiler
            .host_endpoints()
            .filter(|(id, _)| !placed.contains(&***id));
        astray
            .map(|(id, endpoint)| {
                let (field, wanted) = match &endpoint.interfaces {
                    HostInterfaces::Named(name) => {
                        ("spec.interfaceName", format!("{name}: no such interface"))
                    }
                    HostInterfaces::ByAddress(_) => {
                        let wanted = "no interface has one of these addresses";
                        ("spec.expectedIPs", wanted.to_owned())
                    }
                    HostInterfaces::All => ("spec.interfaceName", "*".to_owned()),
                };
                let message = format!("{wanted}, or another host endpoint has it: judges nothing");
                (endpoint_key(id), Problem::warning(field, message))
            })
            .collect()
    }

    /// Whether the API server answers. After too long a silence the newest change of host policy is
    /// suspended.
    pub(super) fn note_reach(&mut self, answers: bool) {
        let now = Instant::now();
        if answers {
            self.hosts.unreachable_since = None;
            self.hosts.trial = None;
            return;
        }
        let since = *self.hosts.unreachable_since.get_or_insert(now);
        if let Some((begun, keys)) = &self.hosts.trial {
            if now.duration_since(*begun) >= TRIAL {
                let keys = keys.clone();
                self.hosts.trial = None;
                tracing::warn!("the API server does not answer either way; host policy is back");
                keys.iter().for_each(|key| self.release(key));
                self.bring_into_force(&[]);
            }
            return;
        }
        if now.duration_since(since) < UNREACHABLE_LIMIT || !self.compiler.has_hosts() {
            return;
        }
        let Some((at, keys)) = self.hosts.newest.take() else {
            return;
        };
        if since + Duration::from_secs(5) < at || since > at + SUSPICIOUS {
            return;
        }
        for key in &keys {
            let seconds = UNREACHABLE_LIMIT.as_secs();
            let message = format!(
                "not enforced on hosts: after it came, the API server did not answer for {seconds} \
                 seconds; change it to have it tried again"
            );
            self.suspend(key.clone(), message);
        }
        self.hosts.trial = Some((now, keys));
        self.must_install = true;
        self.bring_into_force(&[]);
    }
}

/// The object of an endpoint `hep/NAME`.
pub(super) fn endpoint_key(id: &str) -> ObjectKey {
    ObjectKey {
        kind: Kind::HostEndpoint,
        namespace: None,
        name: id.strip_prefix("hep/").unwrap_or(id).into(),
    }
}
