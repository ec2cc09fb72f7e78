//! Random histories: small changes of one object each.

use std::fmt;

use ocicat_api::core::{EndpointSlice, HostEndpoint};
use ocicat_api::policy::{CalicoPolicy, NetworkPolicy};
use ocicat_api::rule::Action;
use ocicat_api::{Object, ObjectKey};
use ocicat_oracle::{Direction, World};

use crate::populate::{self, Species};
use crate::words::{ACCOUNTS, LABELS, NAMESPACES, TIERS, order, pool_address, random_net};
use crate::{Random, policy};

/// One change of a world.
#[allow(
    clippy::large_enum_variant,
    reason = "histories are short, and most changes put objects"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An object appears, or replaces that of its key.
    Put(Object),
    /// An object goes. It may be absent already.
    Delete(ObjectKey),
}

impl Change {
    /// Brings the world to what the change says.
    pub fn apply(&self, world: &mut World) {
        match self {
            Self::Put(object) => world.put(object.clone()),
            Self::Delete(key) => world.delete(key),
        }
    }

    /// The object that it is about.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Put(object) => object.key(),
            Self::Delete(key) => key.clone(),
        }
    }
}

/// `put Pod/shop/pod-1`, `delete Tier/alpha`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if matches!(self, Self::Put(_)) {
            "put"
        } else {
            "delete"
        };
        write!(f, "{word} {}", self.key())
    }
}

/// A change of this world: something appears, goes, or is edited in one respect. One in a few
/// repeats what is there or deletes what is not.
pub fn random_change(random: &mut Random, world: &World) -> Change {
    match random.below(100) {
        0..12 => Change::Put(Species::any(random)),
        12..22 => random_delete(random, world),
        22..28 => Change::Put(random_frame(random)),
        28..33 => Change::Put(random_twin(random, world)),
        _ if world.objects.is_empty() => Change::Put(Species::any(random)),
        _ => Change::Put(edited(random, world)),
    }
}

fn random_delete(random: &mut Random, world: &World) -> Change {
    let keys: Vec<&ObjectKey> = world.objects.keys().collect();
    if keys.is_empty() || random.chance(5) {
        return Change::Delete(Species::any(random).key());
    }
    Change::Delete(random.pick(&keys).clone())
}

/// Something staged for a policy of the world, if there is one.
fn random_twin(random: &mut Random, world: &World) -> Object {
    let objects: Vec<&Object> = world.objects.values().collect();
    let mut tries = objects.len();
    while tries > 0 {
        let twin = random.pick(&objects);
        if let Some(staged) = populate::staged_twin(random, twin) {
            return staged;
        }
        tries -= 1;
    }
    Species::any(random)
}

/// A namespace or a service account, whether it is there or not.
fn random_frame(random: &mut Random) -> Object {
    let name = random.pick(&NAMESPACES);
    if random.chance(60) {
        return populate::namespace(random, name);
    }
    let account = random.pick(&ACCOUNTS);
    populate::service_account(random, name, account)
}

fn edited(random: &mut Random, world: &World) -> Object {
    let objects: Vec<&Object> = world.objects.values().collect();
    let mut object = random.pick(&objects).clone();
    match &mut object {
        Object::Pod(pod) => edit_pod(random, pod),
        Object::WorkloadEndpoint(wep) => match random.below(3) {
            0 => relabel(random, &mut wep.metadata),
            1 => wep.addresses = vec![pool_address(random, 4)],
            _ => {
                if wep.profiles.pop().is_none() {
                    wep.profiles.push("open".into());
                }
            }
        },
        Object::NetworkSet(set) | Object::GlobalNetworkSet(set) => match random.below(3) {
            0 => relabel(random, &mut set.metadata),
            1 => drop(set.nets.pop()),
            _ => set.nets.push(random_net(random)),
        },
        Object::Tier(tier) => match random.chance(60) {
            true => tier.order = order(random),
            false if tier.default_action == Action::Deny => tier.default_action = Action::Pass,
            false => tier.default_action = Action::Deny,
        },
        Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy) => {
            edit_policy(random, policy);
        }
        Object::NetworkPolicy(policy) => edit_kube(random, policy),
        Object::StagedNetworkPolicy(staged) | Object::StagedGlobalNetworkPolicy(staged) => {
            match random.chance(30) {
                true => staged.action = populate::staged_action(random),
                false => edit_policy(random, &mut staged.policy),
            }
        }
        Object::StagedKubernetesNetworkPolicy(staged) => match random.chance(30) {
            true => staged.action = populate::staged_action(random),
            false => edit_kube(random, &mut staged.policy),
        },
        Object::ClusterNetworkPolicy(policy) => {
            let fresh = policy::cluster(random, &policy.metadata.name.clone());
            match random.below(5) {
                0 => policy.ingress = fresh.ingress,
                1 => policy.egress = fresh.egress,
                2 => policy.subject = fresh.subject,
                3 => policy.tier = fresh.tier,
                _ => policy.priority = fresh.priority,
            }
        }
        Object::HostEndpoint(host) => edit_host(random, host),
        Object::EndpointSlice(slice) => edit_slice(random, slice),
        Object::Profile(profile) => match random.chance(50) {
            true => {
                let rule = policy::rule(random, Direction::Ingress);
                profile.ingress.insert(0, rule);
            }
            false => drop(profile.egress.pop()),
        },
        Object::Namespace(_) => {
            return populate::namespace(random, &object.metadata().name.clone());
        }
        Object::Node(node) if random.chance(50) => {
            node.metadata.labels = policy::outer_labels(random);
        }
        Object::ServiceAccount(_) | Object::IpPool(_) | Object::Node(_) | Object::Service(_) => {
            // Their likes come and go as whole objects.
            return Species::any(random);
        }
        _ => {}
    }
    object
}

fn edit_pod(random: &mut Random, pod: &mut ocicat_api::core::Pod) {
    match random.below(6) {
        0 => relabel(random, &mut pod.metadata),
        1 => pod.addresses = vec![pool_address(random, 4), pool_address(random, 6)],
        2 => pod.finished = !pod.finished,
        3 => pod.service_account = random.pick(&ACCOUNTS).into(),
        4 => pod.host_network = !pod.host_network && random.chance(30),
        _ => {
            let fresh = populate::pod(random, "shop", "fresh");
            pod.ports = fresh.ports;
        }
    }
}

fn edit_kube(random: &mut Random, policy: &mut NetworkPolicy) {
    let space = policy.metadata.namespace.clone();
    let name = policy.metadata.name.clone();
    let fresh = policy::kube(random, space.as_deref().unwrap_or("default"), &name);
    match random.below(3) {
        0 => policy.ingress = fresh.ingress,
        1 => policy.egress = fresh.egress,
        _ => policy.pod_selector = fresh.pod_selector,
    }
}

fn edit_host(random: &mut Random, host: &mut HostEndpoint) {
    let fresh = populate::host::endpoint(random, &host.metadata.name);
    match random.below(6) {
        0 => relabel(random, &mut host.metadata),
        1 => {
            host.expected_ips = fresh.expected_ips;
            host.interface = fresh.interface;
        }
        2 => host.ports = fresh.ports,
        3 => host.node = fresh.node,
        4 => host.profiles.push("open".into()),
        _ => drop(host.profiles.pop()),
    }
}

fn edit_slice(random: &mut Random, slice: &mut EndpointSlice) {
    let space = slice.metadata.namespace.as_deref().unwrap_or("default");
    let fresh = populate::service::slice(random, space, &slice.metadata.name);
    match random.below(5) {
        // Slices of one family hold addresses of it.
        0 => slice.addresses = fresh.addresses,
        1 => drop(slice.addresses.pop()),
        2 => slice.ports = fresh.ports,
        3 => drop(slice.ports.pop()),
        _ => *slice = fresh,
    }
}

fn edit_policy(random: &mut Random, policy: &mut CalicoPolicy) {
    let space = policy.metadata.namespace.clone();
    let fresh = policy::calico(random, space.as_deref(), &policy.metadata.name.clone());
    match random.below(9) {
        8 => policy.stage = fresh.stage,
        0 => policy.order = fresh.order,
        1 => policy.subject = fresh.subject,
        2 => policy.types = fresh.types,
        3 => policy.tier = random.pick(&TIERS).into(),
        4 => {
            let place = random.between(0, policy.ingress.len());
            let rule = policy::rule(random, Direction::Ingress);
            policy.ingress.insert(place, rule);
        }
        5 => {
            let place = random.between(0, policy.egress.len());
            let rule = policy::rule(random, Direction::Egress);
            policy.egress.insert(place, rule);
        }
        6 if !policy.ingress.is_empty() => {
            let place = random.below(policy.ingress.len());
            policy.ingress[place] = policy::rule(random, Direction::Ingress);
        }
        _ if !policy.egress.is_empty() => {
            let place = random.below(policy.egress.len());
            policy.egress.remove(place);
        }
        _ => policy.ingress = fresh.ingress,
    }
    policy::keep_shape(policy);
}

/// One label gets another value, or goes.
fn relabel(random: &mut Random, metadata: &mut ocicat_api::Metadata) {
    let name = random.pick(&LABELS);
    let value = crate::words::labels(random, &[name], 70);
    metadata.labels.remove(name);
    metadata.labels.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_visits_every_kind_and_changes_something_mostly() {
        let mut random = Random::new(7);
        let mut world = populate::random_world(&mut random);
        let mut changed = 0;
        let mut kinds = std::collections::BTreeSet::new();
        for _ in 0..600 {
            let before = world.clone();
            let change = random_change(&mut random, &world);
            kinds.insert(change.key().kind);
            change.apply(&mut world);
            changed += usize::from(world != before);
        }
        assert!(changed > 400, "{changed} of 600 changed something");
        assert_eq!(kinds.len(), 20, "{kinds:?}");
        assert!(
            (15..300).contains(&world.objects.len()),
            "{}",
            world.objects.len()
        );
    }
}
