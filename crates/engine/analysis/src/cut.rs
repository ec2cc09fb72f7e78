//! The CIDRs that rules and sets name.

use std::collections::BTreeSet;

use ipnet::IpNet;
use ocicat_api::Object;
use ocicat_api::policy::{CalicoPolicy, ClusterPeer, KubePeer, KubeRule, NetworkPolicy};
use ocicat_api::rule::Rule;

/// Adds all CIDRs by which an object can tell addresses apart.
pub(crate) fn collect(object: &Object, cuts: &mut BTreeSet<IpNet>) {
    match object {
        Object::NetworkPolicy(policy) => kube_policy(policy, cuts),
        Object::StagedKubernetesNetworkPolicy(staged) => kube_policy(&staged.policy, cuts),
        Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy) => {
            calico_policy(policy, cuts);
        }
        Object::StagedNetworkPolicy(staged) | Object::StagedGlobalNetworkPolicy(staged) => {
            calico_policy(&staged.policy, cuts);
        }
        Object::ClusterNetworkPolicy(policy) => {
            let rules = policy.ingress.iter().chain(&policy.egress);
            for peer in rules.flat_map(|rule| &rule.peers) {
                if let ClusterPeer::Networks(nets) = peer {
                    cuts.extend(nets);
                }
            }
        }
        Object::Profile(profile) => {
            rules(&profile.ingress, cuts);
            rules(&profile.egress, cuts);
        }
        Object::NetworkSet(set) | Object::GlobalNetworkSet(set) => cuts.extend(&set.nets),
        Object::IpPool(pool) => {
            cuts.insert(pool.cidr);
        }
        _ => {}
    }
}

fn kube_policy(policy: &NetworkPolicy, cuts: &mut BTreeSet<IpNet>) {
    kube(&policy.ingress, cuts);
    kube(&policy.egress, cuts);
}

fn calico_policy(policy: &CalicoPolicy, cuts: &mut BTreeSet<IpNet>) {
    rules(&policy.ingress, cuts);
    rules(&policy.egress, cuts);
}

fn rules(rules: &[Rule], cuts: &mut BTreeSet<IpNet>) {
    for rule in rules {
        for side in [&rule.source, &rule.destination] {
            cuts.extend(side.nets.iter().chain(&side.not_nets));
        }
    }
}

fn kube(rules: &[KubeRule], cuts: &mut BTreeSet<IpNet>) {
    for peer in rules.iter().flat_map(|rule| rule.peers.iter().flatten()) {
        if let KubePeer::IpBlock { cidr, except } = peer {
            cuts.insert(*cidr);
            cuts.extend(except);
        }
    }
}
