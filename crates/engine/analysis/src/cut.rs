//! The CIDRs that rules and sets name.

use std::collections::BTreeSet;

use ipnet::IpNet;
use ocicat_api::Object;
use ocicat_api::policy::{KubePeer, KubeRule};
use ocicat_api::rule::Rule;

/// Adds all CIDRs by which an object can tell addresses apart.
pub(crate) fn collect(object: &Object, cuts: &mut BTreeSet<IpNet>) {
    match object {
        Object::NetworkPolicy(policy) => {
            kube(&policy.ingress, cuts);
            kube(&policy.egress, cuts);
        }
        Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy) => {
            rules(&policy.ingress, cuts);
            rules(&policy.egress, cuts);
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
