//! Identities: all that rules can see of an owner of addresses. Pods of one deployment share one.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::expression::Need;
use crate::label::Name;
use crate::label::{label_bit, label_bits};
use crate::owner::Owner;
use crate::slab::{IdentityId, KindId, LabelSetId, QuestionId, Slab};
use crate::source::{Interner, Source, Sources};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Endpoint,
    /// An endpoint of orchestrator `k8s`.
    KubeEndpoint,
    NetworkSet,
    HostEndpoint,
}

/// A named port: name, protocol number, port number.
pub(crate) type NamedPort = (Name, u8, u16);

/// What an object says about itself. Holds its names and its label set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct IdentityKey {
    pub(crate) role: Role,
    pub(crate) namespace: Option<Name>,
    /// Labels before inheritance.
    pub(crate) own: LabelSetId,
    pub(crate) account: Option<Name>,
    pub(crate) profiles: Box<[Name]>,
    /// Sorted.
    pub(crate) ports: Box<[NamedPort]>,
}

/// An answer to a question about far addresses: 0 is yes, other numbers are ports.
pub(crate) type Answer = (QuestionId, u32);

#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) key: Arc<IdentityKey>,
    /// What the first pod of it looked like.
    look: Option<Arc<[u8]>>,
    count: u32,
    labels: LabelSetId,
    namespace_labels: LabelSetId,
    account_labels: Option<LabelSetId>,
    /// Sorted.
    pub(crate) answers: Vec<Answer>,
    /// The kinds of addresses that an owner of this identity has.
    pub(crate) kinds: Vec<KindId>,
}

#[derive(Debug, Default)]
pub(crate) struct Identities {
    numbers: FxHashMap<Arc<IdentityKey>, IdentityId>,
    /// By what pods look like: see [`crate::look`].
    looks: FxHashMap<Arc<[u8]>, IdentityId>,
    pub(crate) items: Slab<IdentityId, Identity>,
    /// By number, the bits of the labels of each.
    bits: Vec<u64>,
    dependents: FxHashMap<Source, Vec<IdentityId>>,
    fresh: Vec<IdentityId>,
    /// Without holders; they go at the end of the commit unless somebody takes hold again.
    idle: Vec<IdentityId>,
}

impl Identities {
    /// Takes over what the key holds.
    pub(crate) fn acquire(&mut self, interner: &mut Interner, key: IdentityKey) -> IdentityId {
        if let Some(&id) = self.numbers.get(&key) {
            self.items[id].count += 1;
            release_key(interner, &key);
            return id;
        }
        let key = Arc::new(key);
        let mut nothing = || interner.labels.acquire(&mut interner.names, Vec::new());
        let id = self.items.insert(Identity {
            key: key.clone(),
            look: None,
            count: 1,
            labels: nothing(),
            namespace_labels: nothing(),
            account_labels: None,
            answers: Vec::new(),
            kinds: Vec::new(),
        });
        for source in sources_of(&key) {
            self.dependents.entry(source).or_default().push(id);
        }
        self.numbers.insert(key, id);
        self.fresh.push(id);
        id
    }

    /// The identity of pods that look like that, if it is known.
    pub(crate) fn of_look(&self, look: &[u8]) -> Option<IdentityId> {
        self.looks.get(look).copied()
    }

    /// Keeps what a pod of the identity looks like, for the pods that look alike; one for each
    /// identity.
    pub(crate) fn remember(&mut self, id: IdentityId, look: &[u8]) {
        let place = &mut self.items[id].look;
        if place.is_none() {
            let look: Arc<[u8]> = look.into();
            *place = Some(look.clone());
            self.looks.insert(look, id);
        }
    }

    /// Whether any is new since they were last brought up to date.
    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Whether any is perhaps without holders.
    pub(crate) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    pub(crate) fn retain(&mut self, id: IdentityId) {
        self.items[id].count += 1;
    }

    pub(crate) fn release(&mut self, id: IdentityId) {
        let identity = &mut self.items[id];
        identity.count -= 1;
        if identity.count == 0 {
            self.idle.push(id);
        }
    }

    /// Brings the labels of new identities and of those that depend on what changed up to date,
    /// and returns those whose labels are now different, sorted, the new ones included.
    pub(crate) fn derive(
        &mut self,
        interner: &mut Interner,
        sources: &Sources,
        changed: &[Source],
    ) -> Vec<IdentityId> {
        let fresh: FxHashSet<IdentityId> = self.fresh.drain(..).collect();
        let mut affected: Vec<IdentityId> = fresh.iter().copied().collect();
        for source in changed {
            affected.extend(self.dependents.get(source).into_iter().flatten());
        }
        affected.sort_unstable();
        affected.dedup();
        affected.retain(|id| {
            let identity = &mut self.items[*id];
            let differs = derive_one(identity, interner, sources);
            let at = id.0 as usize;
            if self.bits.len() <= at {
                self.bits.resize(at + 1, 0);
            }
            self.bits[at] = label_bits(interner.labels.labels(identity.labels));
            differs || fresh.contains(id)
        });
        affected
    }

    /// `false`: it has none of the labels of which one is needed.
    pub(crate) fn may_have(&self, id: IdentityId, need: &Need) -> bool {
        let bits = self.bits.get(id.0 as usize).copied().unwrap_or(u64::MAX);
        match need {
            Need::OneOf(key, values) => {
                let mut values = values.iter();
                values.any(|value| bits & label_bit(*key, *value) != 0)
            }
            Need::Nothing | Need::Key(_) => true,
        }
    }

    pub(crate) fn owner<'a>(&'a self, interner: &'a Interner, id: IdentityId) -> Owner<'a> {
        let identity = &self.items[id];
        let key = &identity.key;
        let account_labels = identity.account_labels.map(|id| interner.labels.labels(id));
        Owner {
            labels: interner.labels.labels(identity.labels),
            namespace: key.namespace,
            namespace_labels: interner.labels.labels(identity.namespace_labels),
            account: key.account.zip(account_labels),
            kube: key.role == Role::KubeEndpoint,
        }
    }

    /// Forgets the identities that nobody holds. `forget` sees each before it goes.
    pub(crate) fn collect(
        &mut self,
        interner: &mut Interner,
        mut forget: impl FnMut(IdentityId, &Identity),
    ) {
        for id in std::mem::take(&mut self.idle) {
            let unused = self
                .items
                .get(id)
                .is_some_and(|identity| identity.count == 0);
            if !unused {
                continue;
            }
            let Some(identity) = self.items.remove(id) else {
                continue;
            };
            forget(id, &identity);
            self.numbers.remove(&identity.key);
            if let Some(look) = &identity.look {
                self.looks.remove(look);
            }
            for source in sources_of(&identity.key) {
                if let Some(list) = self.dependents.get_mut(&source) {
                    list.retain(|other| *other != id);
                    if list.is_empty() {
                        self.dependents.remove(&source);
                    }
                }
            }
            release_key(interner, &identity.key);
            interner.release_labels(identity.labels);
            interner.release_labels(identity.namespace_labels);
            if let Some(labels) = identity.account_labels {
                interner.release_labels(labels);
            }
        }
    }
}

/// What the identity takes labels from; each source once.
fn sources_of(key: &IdentityKey) -> Vec<Source> {
    let mut sources: Vec<Source> = key
        .profiles
        .iter()
        .map(|name| Source::Profile(*name))
        .collect();
    if let Some(namespace) = key.namespace {
        sources.push(Source::Namespace(namespace));
        sources.extend(
            key.account
                .map(|account| Source::Account(namespace, account)),
        );
    }
    sources.sort_unstable();
    sources.dedup();
    sources
}

fn release_key(interner: &mut Interner, key: &IdentityKey) {
    let names = key
        .namespace
        .iter()
        .chain(&key.account)
        .chain(&key.profiles);
    names
        .chain(key.ports.iter().map(|(name, ..)| name))
        .for_each(|n| interner.names.release(*n));
    interner.release_labels(key.own);
}

fn derive_one(identity: &mut Identity, interner: &mut Interner, sources: &Sources) -> bool {
    let key = identity.key.clone();
    let mut pairs = interner.labels.labels(key.own).to_vec();
    for profile in &key.profiles {
        let Some(inherited) = sources.inherited(&interner.names, *profile) else {
            continue;
        };
        for (label, value) in interner.labels.labels(inherited) {
            if pairs.iter().all(|(known, _)| known != label) {
                pairs.push((*label, *value));
            }
        }
    }
    for (label, value) in &pairs {
        interner.names.retain(*label);
        interner.names.retain(*value);
    }
    let labels = interner.labels.acquire(&mut interner.names, pairs);
    let namespace_labels = match key.namespace {
        Some(namespace) => sources.view(interner, Source::Namespace(namespace)),
        None => interner.labels.acquire(&mut interner.names, Vec::new()),
    };
    let account_labels = (key.namespace.zip(key.account))
        .map(|(namespace, account)| sources.view(interner, Source::Account(namespace, account)));
    let before = (
        identity.labels,
        identity.namespace_labels,
        identity.account_labels,
    );
    (
        identity.labels,
        identity.namespace_labels,
        identity.account_labels,
    ) = (labels, namespace_labels, account_labels);
    interner.release_labels(before.0);
    interner.release_labels(before.1);
    before
        .2
        .into_iter()
        .for_each(|id| interner.release_labels(id));
    before != (labels, namespace_labels, account_labels)
}
