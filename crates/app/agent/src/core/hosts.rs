//! Host endpoints: the host's links, and the agent's own connection to its API server, which no host
//! policy may cut.
//!
//! Before a change of host endpoints goes to the kernel, the new tables are asked about every address
//! of the API server. What would cut the connection off is suspended and reported. As kinds of objects
//! come in any order, what it lacks may come later: it is tried again when anything else changes that
//! may mend it. As tables are not all that decides about packets, the connection is watched after each
//! such change too: if it fails for [`UNREACHABLE_LIMIT`], the newest change is suspended until it
//! changes; if that does not help within [`TRIAL`], it was not the cause, and comes back.

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
/// A change of what rarely mends a host policy, as that of a pod, is followed by a trial this much later.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// A trial installs the whole program: it is followed by a rest of so many times its duration.
const RETRY_REST: u32 = 20;
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
    pub(super) suspended: BTreeMap<ObjectKey, Suspension>,
    /// When to try again what is suspended because of the tables.
    pub(super) retry_at: Option<Instant>,
    /// No trial begins before this.
    rest_until: Option<Instant>,
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

/// Why an object is not enforced on hosts.
#[derive(Debug, PartialEq)]
pub(super) struct Suspension {
    pub(super) problem: Problem,
    cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The tables would have cut our connection.
    Tables,
    /// The API server fell silent.
    Silence,
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
        if self.hosts.links != links {
            self.plan_retry(Duration::ZERO);
        }
        self.hosts.links.clone_from(&links);
        self.compiler.set_links(links);
    }

    /// Where the API server is now. Returns whether it is known to be elsewhere than before.
    pub(super) fn note_api_server(&mut self, addresses: Vec<SocketAddr>) -> bool {
        let changed = self.hosts.api != addresses;
        self.hosts.api = addresses;
        if changed {
            self.plan_retry(Duration::ZERO);
        }
        changed && self.compiler.has_hosts()
    }

    /// An object came that may be suspended, or may change what hosts enforce.
    pub(super) fn note_host_object(&mut self, object: &Object) {
        let key = object.key();
        self.plan_retry(retry_after(key.kind));
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

    /// Something has changed that may mend what is suspended.
    pub(super) fn plan_retry(&mut self, after: Duration) {
        if !self.is_suspended_by(Cause::Tables) {
            return;
        }
        let at = Instant::now() + after;
        let at = self.hosts.rest_until.map_or(at, |rest| rest.max(at));
        let planned = self.hosts.retry_at.map_or(at, |planned| planned.min(at));
        self.hosts.retry_at = Some(planned);
    }

    fn is_suspended_by(&self, cause: Cause) -> bool {
        let mut suspended = self.hosts.suspended.values();
        suspended.any(|suspension| suspension.cause == cause)
    }

    /// Gives another chance to what the tables would have cut us off with, if it is time. To be
    /// called before a calculation, of which [`Core::keep_own_connection`] judges the result. Returns
    /// what was suspended: the program must be installed as a whole if there was anything.
    pub(super) fn retry_suspended(&mut self) -> BTreeMap<ObjectKey, Suspension> {
        let now = Instant::now();
        if self.hosts.retry_at.is_none_or(|at| at > now) {
            return BTreeMap::new();
        }
        self.hosts.retry_at = None;
        let all = std::mem::take(&mut self.hosts.suspended);
        let (tried, rest) = all
            .into_iter()
            .partition(|(_, suspension)| suspension.cause == Cause::Tables);
        self.hosts.suspended = rest;
        let tried: BTreeMap<ObjectKey, Suspension> = tried;
        tried.keys().for_each(|key| self.engine.resume(key));
        tried
    }

    /// To be called after a commit that tried `tried` and took from `start`.
    pub(super) fn rest_from_trial(
        &mut self,
        tried: &BTreeMap<ObjectKey, Suspension>,
        start: Instant,
    ) {
        if !tried.is_empty() {
            let now = Instant::now();
            self.hosts.rest_until = Some(now + now.duration_since(start) * RETRY_REST);
        }
    }

    /// Suspends what would cut our connection. `before` was suspended until now. To be called when the compiler has taken a change and
    /// the kernel has not. Returns whether it suspended anything, so that the program must be
    /// installed as a whole.
    pub(super) fn keep_own_connection(&mut self, before: &BTreeMap<ObjectKey, Suspension>) -> bool {
        let mut suspended = false;
        // Each round takes one object away, so there is an end.
        while let Some(Cut { key, reason }) = self.cut_off() {
            if self.hosts.suspended.contains_key(&key) {
                tracing::error!(object = %key, reason, "cannot keep the connection to the API server");
                break;
            }
            let message = format!(
                "not enforced on hosts: it would cut this host off from its API server ({reason}); \
                 it is tried again when it, or what else judges the host, changes"
            );
            let suspension = Suspension {
                problem: Problem::error(String::new(), message),
                cause: Cause::Tables,
            };
            if before.get(&key) != Some(&suspension) {
                tracing::error!(object = %key, "{}", suspension.problem.message);
            }
            self.suspend(key, suspension);
            suspended = true;
        }
        for key in before.keys() {
            if !self.hosts.suspended.contains_key(key) {
                tracing::info!(object = %key, "enforced on hosts again");
                self.hosts.changed.insert(key.clone());
            }
        }
        suspended
    }

    fn suspend(&mut self, key: ObjectKey, suspension: Suspension) {
        self.engine.suspend(&key);
        self.hosts.suspended.insert(key, suspension);
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
            tracing::error!(object = %key, "{message}");
            let suspension = Suspension {
                problem: Problem::error(String::new(), message),
                cause: Cause::Silence,
            };
            self.suspend(key.clone(), suspension);
        }
        self.hosts.trial = Some((now, keys));
        self.must_install = true;
        self.bring_into_force(&[]);
    }
}

/// How long after a change of an object of this kind a trial begins.
pub(super) fn retry_after(kind: Kind) -> Duration {
    match kind {
        Kind::Pod | Kind::WorkloadEndpoint | Kind::EndpointSlice | Kind::IpamBlock => RETRY_AFTER,
        _ => Duration::ZERO,
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
