//! Pods, WorkloadEndpoints and HostEndpoints as they were last given, and what they were before
//! this commit.

use std::net::IpAddr;
use std::sync::Arc;

use ocicat_api::core::{EndpointPort, HostEndpoint, HostInterface, Pod, WorkloadEndpoint};
use ocicat_api::{Kind, Metadata, ObjectKey};
use rustc_hash::FxHashMap;

use crate::identity::{Identities, IdentityKey, NamedPort, Role};
use crate::label::{Name, Names};
use crate::look;
use crate::slab::{EntryId, IdentityId, Slab, give_back};
use crate::source::Interner;

pub(crate) const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";
const ORCHESTRATOR_LABEL: &str = "projectcalico.org/orchestrator";
const ACCOUNT_LABEL: &str = "projectcalico.org/serviceaccount";
/// The orchestrator of pods.
const KUBERNETES: &str = "k8s";

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: ObjectKey,
    /// `None` for what is no endpoint: finished pods, and pods of the host's network.
    identity: Option<IdentityId>,
    pub(crate) node: Option<Name>,
    addresses: Box<[IpAddr]>,
    dirty: bool,
}

/// What an endpoint is to the rest: present only with an identity and at least one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) identity: IdentityId,
    pub(crate) addresses: Box<[IpAddr]>,
}

/// What an entry was when this commit began; holds its identity.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) entry: EntryId,
    pub(crate) presence: Option<Presence>,
}

#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    numbers: FxHashMap<ObjectKey, EntryId>,
    pub(crate) items: Slab<EntryId, Entry>,
    /// Addresses that replace those of the object.
    given: FxHashMap<ObjectKey, Box<[IpAddr]>>,
    /// The pod that a WorkloadEndpoint names.
    pod_of: FxHashMap<EntryId, ObjectKey>,
    followers: FxHashMap<ObjectKey, Vec<EntryId>>,
    /// Of HostEndpoints.
    interfaces: FxHashMap<EntryId, HostInterface>,
    dirty: Vec<Before>,
    gone: Vec<EntryId>,
    /// Room for what a pod looks like.
    look: Vec<u8>,
}

impl Endpoints {
    pub(crate) fn put_pod(&mut self, interner: &mut Interner, ids: &mut Identities, pod: &Pod) {
        let key = key_of(Kind::Pod, &pod.metadata);
        let identity =
            (!pod.host_network && !pod.finished).then(|| self.identity_of(interner, ids, pod));
        let node = pod.node.as_ref().map(|node| interner.names.acquire(node));
        self.put(interner, ids, key, identity, node, &pod.addresses);
    }

    /// The identity of a pod, which nearly always another pod has already.
    fn identity_of(
        &mut self,
        interner: &mut Interner,
        ids: &mut Identities,
        pod: &Pod,
    ) -> IdentityId {
        let mut text = std::mem::take(&mut self.look);
        look::write(pod, &mut text);
        let id = match ids.of_look(&text) {
            Some(id) => {
                ids.retain(id);
                id
            }
            None => {
                let namespace = look::namespace(pod);
                let account = &*pod.service_account;
                let profiles = [
                    format!("kns.{namespace}"),
                    format!("ksa.{namespace}.{account}"),
                ];
                let look = Look {
                    metadata: &pod.metadata,
                    namespace,
                    orchestrator: KUBERNETES,
                    account: Some(account),
                    ports: &pod.ports,
                };
                let key = look.identity(interner, profiles.iter().map(String::as_str));
                let id = ids.acquire(interner, key);
                ids.remember(id, &text);
                id
            }
        };
        self.look = text;
        id
    }

    pub(crate) fn put_workload_endpoint(
        &mut self,
        interner: &mut Interner,
        ids: &mut Identities,
        wep: &WorkloadEndpoint,
    ) {
        let key = key_of(Kind::WorkloadEndpoint, &wep.metadata);
        let namespace = key.namespace.as_deref().unwrap_or_default();
        let look = Look {
            metadata: &wep.metadata,
            namespace,
            orchestrator: &wep.orchestrator,
            account: wep.service_account.as_deref(),
            ports: &wep.ports,
        };
        let identity = look.identity(interner, wep.profiles.iter().map(AsRef::as_ref));
        let identity = Some(ids.acquire(interner, identity));
        let node = Some(interner.names.acquire(&wep.node));
        let pod = wep.pod.as_ref().map(|pod| ObjectKey {
            kind: Kind::Pod,
            namespace: key.namespace.clone(),
            name: pod.clone(),
        });
        // What it was before must be noted while it still follows its old pod.
        if let Some(&id) = self.numbers.get(&key) {
            self.touch(ids, id);
        }
        let id = self.put(interner, ids, key, identity, node, &wep.addresses);
        self.follow(id, pod);
    }

    pub(crate) fn put_host_endpoint(
        &mut self,
        interner: &mut Interner,
        ids: &mut Identities,
        hep: &HostEndpoint,
    ) {
        let key = ObjectKey {
            kind: Kind::HostEndpoint,
            namespace: None,
            name: hep.metadata.name.clone(),
        };
        let own = interner.label_set(&hep.metadata.labels, "");
        let names = &mut interner.names;
        let identity = IdentityKey {
            role: Role::HostEndpoint,
            namespace: None,
            own,
            account: None,
            profiles: hep
                .profiles
                .iter()
                .map(|name| names.acquire(name))
                .collect(),
            ports: named_ports(&hep.ports, names),
        };
        let identity = Some(ids.acquire(interner, identity));
        let node = Some(interner.names.acquire(&hep.node));
        if let Some(&id) = self.numbers.get(&key)
            && self.interfaces.get(&id) != Some(&hep.interface)
        {
            self.touch(ids, id);
        }
        let id = self.put(interner, ids, key, identity, node, &hep.expected_ips);
        self.interfaces.insert(id, hep.interface.clone());
    }

    /// The interface and the expected addresses of a HostEndpoint; `None` of anything else.
    pub(crate) fn host(&self, id: EntryId) -> Option<(&HostInterface, &[IpAddr])> {
        let addresses = &self.items.get(id)?.addresses;
        Some((self.interfaces.get(&id)?, addresses))
    }

    pub(crate) fn is_host(&self, id: EntryId) -> bool {
        let entry = self.items.get(id);
        entry.is_some_and(|entry| entry.key.kind == Kind::HostEndpoint)
    }

    fn put(
        &mut self,
        interner: &mut Interner,
        ids: &mut Identities,
        key: ObjectKey,
        identity: Option<IdentityId>,
        node: Option<Name>,
        addresses: &[IpAddr],
    ) -> EntryId {
        let id = match self.numbers.get(&key) {
            Some(&id) => id,
            None => {
                let namespace = identity.and_then(|identity| ids.items[identity].key.namespace);
                let key = with_shared_namespace(interner, key, namespace);
                self.touch_followers(ids, &key);
                let entry = Entry {
                    key: key.clone(),
                    identity: None,
                    node: None,
                    addresses: Box::default(),
                    dirty: true,
                };
                let id = self.items.insert(entry);
                self.dirty.push(Before {
                    entry: id,
                    presence: None,
                });
                self.numbers.insert(key, id);
                id
            }
        };
        let entry = &self.items[id];
        let same =
            entry.identity == identity && entry.node == node && *entry.addresses == *addresses;
        if !same {
            self.touch(ids, id);
        }
        let entry = &mut self.items[id];
        let old_identity = std::mem::replace(&mut entry.identity, identity);
        let old_node = std::mem::replace(&mut entry.node, node);
        if !same {
            entry.addresses = addresses.into();
        }
        old_identity
            .into_iter()
            .for_each(|identity| ids.release(identity));
        old_node
            .into_iter()
            .for_each(|node| interner.names.release(node));
        id
    }

    pub(crate) fn remove(
        &mut self,
        interner: &mut Interner,
        ids: &mut Identities,
        key: &ObjectKey,
    ) {
        let Some(&id) = self.numbers.get(key) else {
            return;
        };
        self.touch(ids, id);
        self.touch_followers(ids, key);
        self.follow(id, None);
        self.numbers.remove(key);
        self.interfaces.remove(&id);
        let entry = &mut self.items[id];
        entry.addresses = Box::default();
        entry
            .identity
            .take()
            .into_iter()
            .for_each(|identity| ids.release(identity));
        entry
            .node
            .take()
            .into_iter()
            .for_each(|node| interner.names.release(node));
        self.gone.push(id);
    }

    /// `None` returns to the addresses of the object.
    pub(crate) fn give_addresses(
        &mut self,
        ids: &mut Identities,
        key: &ObjectKey,
        addresses: Option<&[IpAddr]>,
    ) {
        if self.given.get(key).map(|given| &**given) == addresses {
            return;
        }
        if let Some(&id) = self.numbers.get(key) {
            self.touch(ids, id);
        }
        match addresses {
            Some(addresses) => self.given.insert(key.clone(), addresses.into()),
            None => self.given.remove(key),
        };
    }

    /// Notes that something outside about the entry changed.
    pub(crate) fn touch_key(&mut self, ids: &mut Identities, key: &ObjectKey) {
        if let Some(&id) = self.numbers.get(key) {
            self.touch(ids, id);
        }
    }

    pub(crate) fn find(&self, key: &ObjectKey) -> Option<EntryId> {
        self.numbers.get(key).copied()
    }

    /// The entry as the rest sees it now: its identity, and its addresses with repeats.
    pub(crate) fn present(&self, id: EntryId) -> Option<(IdentityId, &[IpAddr])> {
        let entry = self.items.get(id)?;
        let identity = entry.identity?;
        let shadowed = self
            .pod_of
            .get(&id)
            .is_some_and(|pod| self.numbers.contains_key(pod));
        let addresses = self.given.get(&entry.key).unwrap_or(&entry.addresses);
        (!shadowed && !addresses.is_empty()).then_some((identity, addresses))
    }

    /// Likewise, to keep.
    pub(crate) fn presence(&self, id: EntryId) -> Option<Presence> {
        let (identity, addresses) = self.present(id)?;
        let mut distinct: Vec<IpAddr> = Vec::with_capacity(addresses.len());
        for address in addresses {
            if !distinct.contains(address) {
                distinct.push(*address);
            }
        }
        Some(Presence {
            identity,
            addresses: distinct.into(),
        })
    }

    /// The identity of an entry that is present.
    pub(crate) fn identity(&self, id: EntryId) -> Option<IdentityId> {
        self.items.get(id)?.identity
    }

    /// Moves what was noted since the last call to `befores`.
    pub(crate) fn take_dirty(&mut self, befores: &mut Vec<Before>) {
        for before in &self.dirty {
            if let Some(entry) = self.items.get_mut(before.entry) {
                entry.dirty = false;
            }
        }
        befores.append(&mut self.dirty);
        give_back(&mut self.dirty);
    }

    /// Forgets the entries that were removed since the last call.
    pub(crate) fn collect(&mut self) {
        for id in self.gone.drain(..) {
            self.items.remove(id);
        }
    }

    fn touch(&mut self, ids: &mut Identities, id: EntryId) {
        if self.items[id].dirty {
            return;
        }
        let presence = self.presence(id);
        if let Some(presence) = &presence {
            ids.retain(presence.identity);
        }
        self.items[id].dirty = true;
        self.dirty.push(Before {
            entry: id,
            presence,
        });
    }

    fn touch_followers(&mut self, ids: &mut Identities, pod: &ObjectKey) {
        for id in self.followers.get(pod).cloned().unwrap_or_default() {
            self.touch(ids, id);
        }
    }

    fn follow(&mut self, id: EntryId, pod: Option<ObjectKey>) {
        if self.pod_of.get(&id) == pod.as_ref() {
            return;
        }
        if let Some(old) = self.pod_of.remove(&id)
            && let Some(list) = self.followers.get_mut(&old)
        {
            list.retain(|other| *other != id);
            if list.is_empty() {
                self.followers.remove(&old);
            }
        }
        if let Some(pod) = pod {
            self.followers.entry(pod.clone()).or_default().push(id);
            self.pod_of.insert(id, pod);
        }
    }
}

/// What an endpoint says about itself.
struct Look<'a> {
    metadata: &'a Metadata,
    namespace: &'a str,
    orchestrator: &'a str,
    account: Option<&'a str>,
    ports: &'a [EndpointPort],
}

impl Look<'_> {
    fn identity<'p>(
        &self,
        interner: &mut Interner,
        profiles: impl Iterator<Item = &'p str>,
    ) -> IdentityKey {
        let fixed = [
            (NAMESPACE_LABEL, self.namespace),
            (ORCHESTRATOR_LABEL, self.orchestrator),
            (ACCOUNT_LABEL, self.account.unwrap_or_default()),
        ];
        let fixed = &fixed[..2 + usize::from(self.account.is_some())];
        let own = interner.label_set_with(&self.metadata.labels, fixed);
        let names = &mut interner.names;
        let ports = named_ports(self.ports, names);
        let kube = self.orchestrator == KUBERNETES;
        IdentityKey {
            role: if kube {
                Role::KubeEndpoint
            } else {
                Role::Endpoint
            },
            namespace: Some(names.acquire(self.namespace)),
            own,
            account: self.account.map(|account| names.acquire(account)),
            profiles: profiles.map(|name| names.acquire(name)).collect(),
            ports,
        }
    }
}

/// Sorted.
fn named_ports(ports: &[EndpointPort], names: &mut Names) -> Box<[NamedPort]> {
    let named = ports.iter().filter(|port| !port.name.is_empty());
    let mut ports: Vec<NamedPort> = named
        .map(|p| (names.acquire(&p.name), p.protocol.0, p.port))
        .collect();
    ports.sort_unstable();
    ports.into()
}

fn key_of(kind: Kind, metadata: &Metadata) -> ObjectKey {
    let namespace: Arc<str> = metadata
        .namespace
        .clone()
        .unwrap_or_else(|| look::DEFAULT_NAMESPACE.into());
    ObjectKey {
        kind,
        namespace: Some(namespace),
        name: metadata.name.clone(),
    }
}

/// The same key, with a namespace that shares its text with all others. `known` is its name, if that
/// is known.
fn with_shared_namespace(
    interner: &mut Interner,
    mut key: ObjectKey,
    known: Option<Name>,
) -> ObjectKey {
    let names = &mut interner.names;
    match (&mut key.namespace, known) {
        (Some(namespace), Some(name)) => *namespace = names.text(name).clone(),
        (Some(namespace), None) => {
            let name = names.acquire(namespace);
            *namespace = names.text(name).clone();
            names.release(name);
        }
        (None, _) => {}
    }
    key
}
