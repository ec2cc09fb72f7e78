//! The smallest world that still shows a failure.

mod cluster;

use ocicat_api::core::HostInterface;
use ocicat_api::policy::{CalicoPolicy, KubeRule, NetworkPolicy, PolicyStage, Staged, Subject};
use ocicat_api::rule::{EntityRule, Rule};
use ocicat_api::{Metadata, Object};
use ocicat_oracle::World;
use ocicat_selector::Selector;

/// Drops objects, rules and parts of them one by one while `fails` says that the failure stays.
///
/// `fails` must be true of `world`. What comes back fails too, and nothing that this function
/// knows to drop can be dropped from it.
pub fn minimise(world: &World, mut fails: impl FnMut(&World) -> bool) -> World {
    let mut least = world.clone();
    loop {
        let before = least.clone();
        for key in before.objects.keys() {
            let mut smaller = least.clone();
            smaller.delete(key);
            if fails(&smaller) {
                least = smaller;
            }
        }
        for object in least.clone().objects.values() {
            let smaller = minimise_object(object, |object| {
                let mut smaller = least.clone();
                smaller.put(object.clone());
                fails(&smaller)
            });
            least.put(smaller);
        }
        if least == before {
            return least;
        }
    }
}

/// Drops parts of one object while `fails` says that the failure stays, as [`minimise`] does.
pub fn minimise_object(object: &Object, mut fails: impl FnMut(&Object) -> bool) -> Object {
    let mut least = object.clone();
    while let Some(smaller) = simpler(&least).into_iter().find(&mut fails) {
        least = smaller;
    }
    least
}

/// Objects that differ from this one in one respect, and say less.
fn simpler(object: &Object) -> Vec<Object> {
    match object {
        Object::Namespace(x) => metadata(x, |x| &mut x.metadata, Object::Namespace),
        Object::ServiceAccount(x) => metadata(x, |x| &mut x.metadata, Object::ServiceAccount),
        Object::Pod(pod) => {
            let mut all = metadata(pod, |x| &mut x.metadata, Object::Pod);
            all.extend(shorter(pod, |x| &mut x.addresses, Object::Pod));
            all.extend(shorter(pod, |x| &mut x.ports, Object::Pod));
            all
        }
        Object::WorkloadEndpoint(wep) => {
            let wrap = Object::WorkloadEndpoint;
            let mut all = metadata(wep, |x| &mut x.metadata, wrap);
            all.extend(shorter(wep, |x| &mut x.addresses, wrap));
            all.extend(shorter(wep, |x| &mut x.ports, wrap));
            all.extend(shorter(wep, |x| &mut x.profiles, wrap));
            all.extend(absent(wep, |x| &mut x.pod, wrap));
            all.extend(absent(wep, |x| &mut x.service_account, wrap));
            all
        }
        Object::Node(node) => {
            let mut all = metadata(node, |x| &mut x.metadata, Object::Node);
            all.extend(shorter(node, |x| &mut x.addresses, Object::Node));
            all
        }
        Object::NetworkSet(set) => {
            let mut all = metadata(set, |x| &mut x.metadata, Object::NetworkSet);
            all.extend(shorter(set, |x| &mut x.nets, Object::NetworkSet));
            all
        }
        Object::GlobalNetworkSet(set) => {
            let mut all = metadata(set, |x| &mut x.metadata, Object::GlobalNetworkSet);
            all.extend(shorter(set, |x| &mut x.nets, Object::GlobalNetworkSet));
            all
        }
        Object::Tier(tier) => absent(tier, |x| &mut x.order, Object::Tier),
        Object::CalicoNetworkPolicy(policy) => wrapped(calico(policy), Object::CalicoNetworkPolicy),
        Object::GlobalNetworkPolicy(policy) => wrapped(calico(policy), Object::GlobalNetworkPolicy),
        Object::NetworkPolicy(policy) => wrapped(kube(policy), Object::NetworkPolicy),
        Object::StagedNetworkPolicy(x) => staged(x, calico, Object::StagedNetworkPolicy),
        Object::StagedGlobalNetworkPolicy(x) => {
            staged(x, calico, Object::StagedGlobalNetworkPolicy)
        }
        Object::StagedKubernetesNetworkPolicy(x) => {
            staged(x, kube, Object::StagedKubernetesNetworkPolicy)
        }
        Object::ClusterNetworkPolicy(x) => {
            wrapped(cluster::simpler(x), Object::ClusterNetworkPolicy)
        }
        Object::HostEndpoint(host) => {
            let wrap = Object::HostEndpoint;
            let mut all = metadata(host, |x| &mut x.metadata, wrap);
            // Nothing else chooses the interface of one without a name for it.
            if host.interface != HostInterface::ByAddress || host.expected_ips.len() > 1 {
                all.extend(shorter(host, |x| &mut x.expected_ips, wrap));
            }
            all.extend(shorter(host, |x| &mut x.ports, wrap));
            all.extend(shorter(host, |x| &mut x.profiles, wrap));
            all
        }
        Object::EndpointSlice(slice) => {
            let mut all = shorter(slice, |x| &mut x.addresses, Object::EndpointSlice);
            all.extend(shorter(slice, |x| &mut x.ports, Object::EndpointSlice));
            all
        }
        Object::Service(service) => shorter(service, |x| &mut x.ports, Object::Service),
        Object::Profile(profile) => {
            let mut all = rules(profile, |x| &mut x.ingress, Object::Profile);
            all.extend(rules(profile, |x| &mut x.egress, Object::Profile));
            for label in profile.labels_to_apply.keys() {
                let mut smaller = profile.clone();
                smaller.labels_to_apply.remove(label);
                all.push(Object::Profile(smaller));
            }
            all
        }
        _ => Vec::new(),
    }
}

fn wrapped<T>(list: Vec<T>, wrap: fn(T) -> Object) -> Vec<Object> {
    list.into_iter().map(wrap).collect()
}

fn staged<P: Clone>(
    staged: &Staged<P>,
    simpler: fn(&P) -> Vec<P>,
    wrap: fn(Staged<P>) -> Object,
) -> Vec<Object> {
    let with = |policy| {
        wrap(Staged {
            action: staged.action,
            policy,
        })
    };
    simpler(&staged.policy).into_iter().map(with).collect()
}

fn calico(policy: &CalicoPolicy) -> Vec<CalicoPolicy> {
    let mut all = rules(policy, |x| &mut x.ingress, |x| x);
    all.extend(rules(policy, |x| &mut x.egress, |x| x));
    all.extend(absent(policy, |x| &mut x.order, |x| x));
    let mut edit = |edit: &dyn Fn(&mut CalicoPolicy)| {
        let mut smaller = policy.clone();
        edit(&mut smaller);
        if smaller != *policy {
            all.push(smaller);
        }
    };
    edit(&|x| x.stage = PolicyStage::Normal);
    if policy.types.ingress && policy.types.egress {
        edit(&|x| x.types.ingress = false);
        edit(&|x| x.types.egress = false);
    }
    edit(&|x| x.tier = "default".into());
    if let Subject::Selectors { selector, .. } = &policy.subject {
        edit(&|x| {
            if let Subject::Selectors {
                namespace_selector, ..
            } = &mut x.subject
            {
                *namespace_selector = None;
            }
        });
        edit(&|x| {
            if let Subject::Selectors {
                service_account_selector,
                ..
            } = &mut x.subject
            {
                *service_account_selector = None;
            }
        });
        for part in smaller_selectors(selector) {
            edit(&|x| {
                if let Subject::Selectors { selector, .. } = &mut x.subject {
                    selector.clone_from(&part);
                }
            });
        }
    }
    all
}

fn kube(policy: &NetworkPolicy) -> Vec<NetworkPolicy> {
    let mut all = shorter(policy, |x| &mut x.ingress, |x| x);
    all.extend(shorter(policy, |x| &mut x.egress, |x| x));
    for direction in 0..2 {
        let list = if direction == 0 {
            &policy.ingress
        } else {
            &policy.egress
        };
        for (index, rule) in list.iter().enumerate() {
            let mut edit = |edit: &dyn Fn(&mut KubeRule)| {
                let mut smaller = policy.clone();
                let list = if direction == 0 {
                    &mut smaller.ingress
                } else {
                    &mut smaller.egress
                };
                edit(&mut list[index]);
                if smaller != *policy {
                    all.push(smaller);
                }
            };
            edit(&|x| x.peers = None);
            edit(&|x| x.ports = None);
            for place in 0..rule.peers.as_ref().map_or(0, Vec::len) {
                edit(&|x| drop(x.peers.as_mut().map(|list| list.remove(place))));
            }
            for place in 0..rule.ports.as_ref().map_or(0, Vec::len) {
                edit(&|x| drop(x.ports.as_mut().map(|list| list.remove(place))));
            }
        }
    }
    for part in policy.pod_selector.iter().flat_map(smaller_selectors) {
        all.push(NetworkPolicy {
            pod_selector: Some(part),
            ..policy.clone()
        });
    }
    all
}

/// With one rule less, or one rule that asks for less.
fn rules<T: Clone, W>(
    owner: &T,
    list: impl Fn(&mut T) -> &mut Vec<Rule>,
    wrap: fn(T) -> W,
) -> Vec<W> {
    let mut all = shorter(owner, &list, wrap);
    let mut copy = owner.clone();
    for (index, rule) in list(&mut copy).clone().into_iter().enumerate() {
        for simpler in simpler_rules(&rule) {
            let mut smaller = owner.clone();
            list(&mut smaller)[index] = simpler;
            all.push(wrap(smaller));
        }
    }
    all
}

fn simpler_rules(rule: &Rule) -> Vec<Rule> {
    let mut all = Vec::new();
    let mut edit = |edit: &dyn Fn(&mut Rule)| {
        let mut simpler = rule.clone();
        edit(&mut simpler);
        if simpler != *rule {
            all.push(simpler);
        }
    };
    edit(&|x| x.ip_version = None);
    edit(&|x| x.not_protocol = None);
    edit(&|x| x.icmp = None);
    edit(&|x| x.not_icmp = None);
    edit(&|x| {
        x.http = None;
        x.source.domains.clear();
        x.destination.domains.clear();
        x.unreadable.clear();
    });
    let has_ports = |entity: &EntityRule| !entity.ports.is_empty() || !entity.not_ports.is_empty();
    if !has_ports(&rule.source) && !has_ports(&rule.destination) {
        // Ports need their protocol.
        edit(&|x| x.protocol = None);
    }
    for simpler in simpler_entities(&rule.source) {
        edit(&|x| x.source.clone_from(&simpler));
    }
    for simpler in simpler_entities(&rule.destination) {
        edit(&|x| x.destination.clone_from(&simpler));
    }
    all
}

fn simpler_entities(entity: &EntityRule) -> Vec<EntityRule> {
    let mut all = Vec::new();
    let mut edit = |edit: &dyn Fn(&mut EntityRule)| {
        let mut simpler = entity.clone();
        edit(&mut simpler);
        if simpler != *entity {
            all.push(simpler);
        }
    };
    // Names keep a rule from being read: they go with that.
    edit(&|x| {
        *x = EntityRule {
            domains: std::mem::take(&mut x.domains),
            ..EntityRule::default()
        }
    });
    edit(&|x| x.service = None);
    edit(&|x| x.selector = None);
    edit(&|x| x.not_selector = None);
    edit(&|x| x.namespace_selector = None);
    edit(&|x| x.service_accounts = None);
    for place in 0..entity.nets.len() {
        edit(&|x| _ = x.nets.remove(place));
    }
    for place in 0..entity.not_nets.len() {
        edit(&|x| _ = x.not_nets.remove(place));
    }
    for place in 0..entity.ports.len() {
        edit(&|x| drop(x.ports.remove(place)));
    }
    for place in 0..entity.not_ports.len() {
        edit(&|x| drop(x.not_ports.remove(place)));
    }
    for part in entity.selector.iter().flat_map(smaller_selectors) {
        edit(&|x| x.selector = Some(part.clone()));
    }
    for part in entity.not_selector.iter().flat_map(smaller_selectors) {
        edit(&|x| x.not_selector = Some(part.clone()));
    }
    for part in entity.namespace_selector.iter().flat_map(smaller_selectors) {
        edit(&|x| x.namespace_selector = Some(part.clone()));
    }
    all
}

/// Its parts, and `all()`.
fn smaller_selectors(selector: &Selector) -> Vec<Selector> {
    match selector {
        Selector::All => Vec::new(),
        Selector::Not(inner) => vec![Selector::All, (**inner).clone()],
        Selector::And(parts) | Selector::Or(parts) => [Selector::All]
            .into_iter()
            .chain(parts.iter().cloned())
            .collect(),
        _ => vec![Selector::All],
    }
}

fn metadata<T: Clone>(
    owner: &T,
    metadata: impl Fn(&mut T) -> &mut Metadata,
    wrap: fn(T) -> Object,
) -> Vec<Object> {
    let mut copy = owner.clone();
    let names: Vec<_> = self::metadata_labels(metadata(&mut copy));
    let without = |name| {
        let mut smaller = owner.clone();
        metadata(&mut smaller).labels.remove(&name);
        wrap(smaller)
    };
    names.into_iter().map(without).collect()
}

/// Those that can go: the decoder adds the name of a namespace again.
fn metadata_labels(metadata: &Metadata) -> Vec<std::sync::Arc<str>> {
    let names = metadata.labels.keys();
    names
        .filter(|name| &***name != "kubernetes.io/metadata.name")
        .cloned()
        .collect()
}

fn shorter<T: Clone, I, W>(
    owner: &T,
    list: impl Fn(&mut T) -> &mut Vec<I>,
    wrap: fn(T) -> W,
) -> Vec<W> {
    let length = list(&mut owner.clone()).len();
    let without = |place| {
        let mut smaller = owner.clone();
        list(&mut smaller).remove(place);
        wrap(smaller)
    };
    (0..length).map(without).collect()
}

fn absent<T: Clone, V, W>(
    owner: &T,
    field: impl Fn(&mut T) -> &mut Option<V>,
    wrap: fn(T) -> W,
) -> Vec<W> {
    let mut smaller = owner.clone();
    if field(&mut smaller).take().is_none() {
        return Vec::new();
    }
    vec![wrap(smaller)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Random, random_world};

    #[test]
    fn what_is_not_needed_goes() {
        let mut random = Random::new(11);
        let mut tried = 0;
        for _ in 0..30 {
            let world = random_world(&mut random);
            // Stands for a failure: some pod there, and some policy with a Pass rule.
            let fails = |world: &World| {
                let pod = world.objects.values().any(|x| matches!(x, Object::Pod(_)));
                let pass = world.objects.values().any(|object| match object {
                    Object::CalicoNetworkPolicy(policy) => policy
                        .ingress
                        .iter()
                        .any(|x| x.action == ocicat_api::rule::Action::Pass),
                    _ => false,
                });
                pod && pass
            };
            if !fails(&world) {
                continue;
            }
            tried += 1;
            let least = minimise(&world, fails);
            assert!(fails(&least));
            assert_eq!(least.objects.len(), 2);
            for object in least.objects.values() {
                if let Object::CalicoNetworkPolicy(policy) = object {
                    assert_eq!((policy.ingress.len(), policy.egress.len()), (1, 0));
                    assert_eq!(policy.ingress[0].source, EntityRule::default());
                }
            }
        }
        assert!(tried > 5, "{tried}");
    }
}
