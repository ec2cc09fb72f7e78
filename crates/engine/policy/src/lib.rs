//! Resources to address classes and decision tables, incrementally.
//!
//! ```text
//!   upsert, remove ──► endpoints, sets, pools, nodes ──► kinds ──► classes ──┐
//!                      namespaces, accounts, profiles      ▲                 ├──► rows ──► delta
//!                      policies, tiers ──► blocks ──► questions ── stacks ───┘
//! ```
//!
//! *Questions* are what the rules of policies that select a local endpoint ask of far addresses.
//! Addresses with equal answers to all of them are one *class*. A *stack* is what judges a local
//! address in one direction; its table gives each class a *row*, and a row answers for every
//! protocol and port. Every answer is an [`Outcome`](ocicat_flow::Outcome): verdict, the rule
//! that decided, and the Pass and Log rules met on the way.
//!
//! After any history of changes the result is the same as if the last objects had been given at
//! once, except for the numbers of classes, rows, outcomes and stacks.
//!
//! Host endpoints of the host are judged in stages; the near address chooses the stack there
//! ([`ocicat_node::StageStacks`]). Staged policies are judged by in a second engine, fed by
//! [`Staging`].
//!
//! What it will not do: no kernel, no routes, no I/O, no clock; no names of domains, no HTTP. It
//! trusts the decoder of `ocicat-api` to have checked the objects; what the decoder could not read
//! fails closed here.
//!
//! ```
//! use ocicat_policy::{Engine, Locality};
//!
//! let mut engine = Engine::new(Locality::Node("node-1".into()));
//! // engine.upsert(object) for everything that was listed, then:
//! let commit = engine.commit();
//! // Even an empty world knows the two prefixes that hold all addresses.
//! let class = engine.class_of("192.0.2.1".parse().unwrap());
//! assert!(class.is_some());
//!
//! let mut state = ocicat_node::NodeState::default();
//! state.apply(&commit.delta);
//! assert_eq!(state, engine.snapshot());
//! assert!(engine.commit().delta.is_empty());
//! ```
//!
//! Objects may be given in any order, and one by one or all at once: nothing is calculated before
//! [`Engine::commit`]. Giving the same object twice changes nothing.
//!
//! The work of a commit is in proportion to what changes: a pod of a known kind costs one look-up and
//! one change for each address. How a kernel is brought from one state to the next, so that no packet
//! meets a mixture, is for who programs it.
//!
//! Limits: [`Budget`] bounds the table of each stack; a stack beyond it is closed and its policies
//! are reported. Memory is bounded by the objects given; nothing is kept of objects that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ocicat_api::policy::Profile;
use ocicat_api::{Family, Kind, Object, ObjectKey};
use ocicat_node::{EndpointId, EndpointPolicy, StackId};

mod applied;
mod block;
mod class;
mod commit;
mod cover;
mod delta;
mod endpoint;
mod entries;
mod explain;
mod expression;
mod group;
mod host;
mod identity;
mod interval;
mod label;
mod list;
mod local;
mod look;
mod net;
mod outcome;
mod owner;
mod paint;
mod policy;
mod question;
mod region;
mod remote;
mod row;
mod rule;
mod slab;
mod slot;
mod source;
mod space;
mod stack;
mod staging;
mod status;
mod table;
mod work;

pub use delta::{Commit, endpoint_id};
pub use explain::{ClassInfo, Explanation, ProfileStanding, Size, TierPolicies};
pub use local::{Locality, Place};
pub use row::Budget;
pub use staging::{Pending, Staging};
pub use status::PolicyReport;

use slab::{EntryId, PolicyId, StackIndex};

/// All objects, and everything that follows from them for one host.
#[derive(Debug)]
pub struct Engine {
    budget: Budget,
    /// Staged policies count.
    pending: bool,
    interner: source::Interner,
    sources: source::Sources,
    identities: identity::Identities,
    endpoints: endpoint::Endpoints,
    nets: net::Nets,
    lists: list::Lists,
    policies: policy::Policies,
    locals: local::Locals,
    hosts: host::Hosts,
    blocks: block::Blocks,
    questions: question::Questions,
    space: space::Space,
    classes: class::Classes,
    stacks: stack::Stacks,
    outcomes: outcome::Outcomes,
    rows: outcome::Rows,
    told_endpoints: BTreeMap<EndpointId, Arc<EndpointPolicy>>,
    /// Something else than pods and WorkloadEndpoints changed since the last commit.
    stirred: bool,
    // What the phases of one commit leave for later ones.
    befores: Vec<endpoint::Before>,
    dirty_policies: Vec<PolicyId>,
    reported: BTreeSet<PolicyId>,
    touched_endpoints: BTreeSet<EntryId>,
    touched_tables: Vec<StackIndex>,
    gone_stacks: Vec<StackId>,
    /// Room for tables to be made in.
    scratch: Vec<bool>,
}

impl Engine {
    /// An engine without objects, with the default budget.
    #[must_use]
    pub fn new(locality: Locality) -> Self {
        Self::with_budget(locality, Budget::default())
    }

    /// An engine without objects. A stack that exceeds the budget is closed as a whole
    /// ([`Decider::OverBudget`](ocicat_flow::Decider::OverBudget)) and its policies are reported.
    #[must_use]
    pub fn with_budget(locality: Locality, budget: Budget) -> Self {
        let mut engine = Self {
            budget,
            pending: false,
            interner: source::Interner::default(),
            sources: source::Sources::default(),
            identities: identity::Identities::default(),
            endpoints: endpoint::Endpoints::default(),
            nets: net::Nets::default(),
            lists: list::Lists::default(),
            policies: policy::Policies::default(),
            locals: local::Locals::new(locality),
            hosts: host::Hosts::default(),
            blocks: block::Blocks::default(),
            questions: question::Questions::default(),
            space: space::Space::default(),
            classes: class::Classes::default(),
            stacks: stack::Stacks::default(),
            outcomes: outcome::Outcomes::default(),
            rows: outcome::Rows::default(),
            told_endpoints: BTreeMap::new(),
            stirred: true,
            befores: Vec::new(),
            dirty_policies: Vec::new(),
            reported: BTreeSet::new(),
            touched_endpoints: BTreeSet::new(),
            touched_tables: Vec::new(),
            gone_stacks: Vec::new(),
            scratch: Vec::new(),
        };
        for family in [Family::Ipv4, Family::Ipv6] {
            engine
                .space
                .hold_region(&mut engine.identities, rule::whole(family));
        }
        engine.put_profile(Profile::DEFAULT_ALLOW, None);
        engine
    }

    /// An engine for the pending world, given what [`Staging`] makes of the objects: it judges by
    /// staged policies, which it ignores otherwise.
    #[must_use]
    pub fn pending(mut self) -> Self {
        self.pending = true;
        self
    }

    /// Adds an object or replaces the one of the same key. Kinds that have nothing to do with
    /// policy are ignored.
    pub fn upsert(&mut self, object: &Object) {
        let interner = &mut self.interner;
        if let Object::Pod(x) = object {
            return self.endpoints.put_pod(interner, &mut self.identities, x);
        }
        let key = object.key();
        self.stirred |= key.kind != Kind::WorkloadEndpoint;
        match object {
            Object::Namespace(x) => {
                self.sources
                    .put_namespace(interner, &key.name, Some(&x.metadata.labels));
            }
            Object::ServiceAccount(x) => {
                let namespace = key.namespace.as_deref().unwrap_or("default");
                let name = (namespace, &*key.name);
                self.sources
                    .put_account(interner, name, Some(&x.metadata.labels));
            }
            Object::Profile(x) => self.put_profile(&key.name, Some(x)),
            Object::WorkloadEndpoint(x) => {
                self.endpoints
                    .put_workload_endpoint(interner, &mut self.identities, x);
            }
            Object::HostEndpoint(x) => {
                self.endpoints
                    .put_host_endpoint(interner, &mut self.identities, x);
            }
            Object::NetworkPolicy(x) => self.policies.put_kube(interner, key.kind, x),
            Object::CalicoNetworkPolicy(x) | Object::GlobalNetworkPolicy(x) => {
                self.policies.put_calico(interner, key.kind, x);
            }
            Object::Tier(x) => {
                let content = (x.order, x.default_action);
                self.policies.put_tier(interner, &key.name, Some(content));
            }
            Object::NetworkSet(x) | Object::GlobalNetworkSet(x) => {
                self.nets
                    .put_set(interner, &mut self.identities, &key, Some(x));
            }
            Object::Node(x) => {
                self.nets.put_node(&key, Some(x));
                self.lists.put_node(interner, &key, Some(x));
            }
            Object::EndpointSlice(x) => self.lists.put_slice(interner, &key, Some(x)),
            Object::ClusterNetworkPolicy(x) => self.policies.put_cluster(interner, x),
            Object::IpPool(x) => self.nets.put_pool(&key, Some(x)),
            Object::StagedNetworkPolicy(x) | Object::StagedGlobalNetworkPolicy(x) => {
                if self.pending {
                    self.policies.put_calico(interner, key.kind, &x.policy);
                }
            }
            Object::StagedKubernetesNetworkPolicy(x) => {
                if self.pending {
                    self.policies.put_kube(interner, key.kind, &x.policy);
                }
            }
            Object::Pod(_)
            | Object::FelixConfiguration(_)
            | Object::KubeControllersConfiguration(_)
            | Object::Service(_)
            | Object::Controller(..)
            | Object::IpamBlock(_) => {}
        }
    }

    /// Removes an object. One that is not there is no error.
    pub fn remove(&mut self, key: &ObjectKey) {
        let interner = &mut self.interner;
        self.stirred |= !matches!(key.kind, Kind::Pod | Kind::WorkloadEndpoint);
        match key.kind {
            Kind::Namespace => self.sources.put_namespace(interner, &key.name, None),
            Kind::ServiceAccount => {
                let namespace = key.namespace.as_deref().unwrap_or("default");
                self.sources
                    .put_account(interner, (namespace, &key.name), None);
            }
            Kind::Profile => self.put_profile(&key.name, None),
            Kind::Pod | Kind::WorkloadEndpoint | Kind::HostEndpoint => {
                self.endpoints.remove(interner, &mut self.identities, key);
            }
            Kind::NetworkPolicy
            | Kind::CalicoNetworkPolicy
            | Kind::GlobalNetworkPolicy
            | Kind::ClusterNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy => {
                self.policies.remove(key);
            }
            Kind::Tier => self.policies.put_tier(interner, &key.name, None),
            Kind::NetworkSet | Kind::GlobalNetworkSet => {
                self.nets.put_set(interner, &mut self.identities, key, None);
            }
            Kind::Node => {
                self.nets.put_node(key, None);
                self.lists.put_node(interner, key, None);
            }
            Kind::EndpointSlice => self.lists.put_slice(interner, key, None),
            Kind::IpPool => self.nets.put_pool(key, None),
            Kind::FelixConfiguration
            | Kind::KubeControllersConfiguration
            | Kind::Service
            | Kind::Deployment
            | Kind::StatefulSet
            | Kind::DaemonSet
            | Kind::ReplicaSet
            | Kind::Job
            | Kind::IpamBlock => {}
        }
    }

    /// Gives a Pod or WorkloadEndpoint addresses in place of those of its object, which need not
    /// have any, or exist, yet. A finished or host-network pod stays without.
    pub fn set_addresses(&mut self, key: &ObjectKey, addresses: &[IpAddr]) {
        self.endpoints
            .give_addresses(&mut self.identities, key, Some(addresses));
    }

    /// Returns to the addresses of the object.
    pub fn clear_addresses(&mut self, key: &ObjectKey) {
        self.endpoints
            .give_addresses(&mut self.identities, key, None);
    }

    /// Decides for one endpoint whether it is judged here, whatever its node is.
    pub fn set_local(&mut self, key: &ObjectKey, place: Place) {
        self.stirred = true;
        self.locals.set_place(key, place);
        self.endpoints.touch_key(&mut self.identities, key);
    }

    /// Leaves a GlobalNetworkPolicy or HostEndpoint out where hosts are judged, until
    /// [`Engine::resume`]: the policy selects no host endpoint, while workloads keep it; the host
    /// endpoint judges nothing, while selectors of rules still know its addresses. It need not
    /// exist yet. Keys of other kinds change nothing.
    pub fn suspend(&mut self, key: &ObjectKey) {
        if matches!(key.kind, Kind::GlobalNetworkPolicy | Kind::HostEndpoint)
            && self.hosts.suspend(key)
        {
            self.touch(key);
        }
    }

    /// Takes back [`Engine::suspend`].
    pub fn resume(&mut self, key: &ObjectKey) {
        if self.hosts.resume(key) {
            self.touch(key);
        }
    }

    fn touch(&mut self, key: &ObjectKey) {
        self.stirred = true;
        match key.kind {
            Kind::HostEndpoint => self.endpoints.touch_key(&mut self.identities, key),
            _ => self.policies.touch(key),
        }
    }

    fn put_profile(&mut self, name: &str, profile: Option<&Profile>) {
        let always = (name == Profile::DEFAULT_ALLOW).then(Profile::default_allow);
        let profile = profile.or(always.as_ref());
        let labels = profile.map(|profile| &profile.labels_to_apply);
        self.sources.put_profile(&mut self.interner, name, labels);
        let key = self.interner.names.acquire(name);
        self.policies.put_profile(&mut self.interner, key, profile);
        self.sources.mark_profile(&mut self.interner, name);
        self.interner.names.release(key);
    }
}

#[cfg(test)]
mod tests;
