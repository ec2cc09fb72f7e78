//! Smaller ClusterNetworkPolicies.

use ocicat_api::policy::{ClusterNetworkPolicy, ClusterPeer, ClusterRule, ClusterSubject};
use ocicat_selector::Selector;

use super::{shorter, smaller_selectors};

pub fn simpler(policy: &ClusterNetworkPolicy) -> Vec<ClusterNetworkPolicy> {
    let mut all = shorter(policy, |x| &mut x.ingress, |x| x);
    all.extend(shorter(policy, |x| &mut x.egress, |x| x));
    let subjects = match &policy.subject {
        ClusterSubject::Unreadable => Vec::new(),
        ClusterSubject::Namespaces(selector) => smaller_selectors(selector)
            .into_iter()
            .map(ClusterSubject::Namespaces)
            .collect(),
        ClusterSubject::Pods {
            namespace_selector,
            pod_selector,
        } => pairs(namespace_selector, pod_selector)
            .into_iter()
            .map(|(namespace_selector, pod_selector)| ClusterSubject::Pods {
                namespace_selector,
                pod_selector,
            })
            .collect(),
    };
    all.extend(subjects.into_iter().map(|subject| ClusterNetworkPolicy {
        subject,
        ..policy.clone()
    }));
    for (index, rule) in policy.ingress.iter().enumerate() {
        all.extend(simpler_rules(rule).into_iter().map(|rule| {
            let mut smaller = policy.clone();
            smaller.ingress[index] = rule;
            smaller
        }));
    }
    for (index, rule) in policy.egress.iter().enumerate() {
        all.extend(simpler_rules(rule).into_iter().map(|rule| {
            let mut smaller = policy.clone();
            smaller.egress[index] = rule;
            smaller
        }));
    }
    all
}

fn simpler_rules(rule: &ClusterRule) -> Vec<ClusterRule> {
    let mut all = Vec::new();
    let mut edit = |edit: &dyn Fn(&mut ClusterRule)| {
        let mut simpler = rule.clone();
        edit(&mut simpler);
        // A rule without peers cannot be read; one without that reason cannot be written.
        let is_rule = !simpler.peers.is_empty() || simpler.unreadable_peers;
        if simpler != *rule && is_rule {
            all.push(simpler);
        }
    };
    let domains = |peer: &ClusterPeer| matches!(peer, ClusterPeer::Domains(_));
    edit(&|x| {
        x.unreadable.clear();
        x.unreadable_peers = false;
        x.unreadable_protocols = false;
        x.peers.retain(|peer| !domains(peer));
        if x.protocols.as_ref().is_some_and(Vec::is_empty) {
            x.protocols = None;
        }
    });
    if !rule.unreadable_protocols {
        edit(&|x| x.protocols = None);
    }
    edit(&|x| x.name = "".into());
    let last = rule.protocols.as_ref().map_or(0, Vec::len);
    if last > 1 || rule.unreadable_protocols {
        for place in 0..last {
            edit(&|x| drop(x.protocols.as_mut().map(|list| list.remove(place))));
        }
    }
    for (place, peer) in rule.peers.iter().enumerate() {
        if !domains(peer) {
            edit(&|x| drop(x.peers.remove(place)));
        }
        for simpler in simpler_peers(peer) {
            edit(&|x| x.peers[place] = simpler.clone());
        }
    }
    all
}

fn simpler_peers(peer: &ClusterPeer) -> Vec<ClusterPeer> {
    match peer {
        ClusterPeer::Namespaces(selector) => smaller_selectors(selector)
            .into_iter()
            .map(ClusterPeer::Namespaces)
            .collect(),
        ClusterPeer::Nodes(selector) => smaller_selectors(selector)
            .into_iter()
            .map(ClusterPeer::Nodes)
            .collect(),
        ClusterPeer::Pods {
            namespace_selector,
            pod_selector,
        } => pairs(namespace_selector, pod_selector)
            .into_iter()
            .map(|(namespace_selector, pod_selector)| ClusterPeer::Pods {
                namespace_selector,
                pod_selector,
            })
            .collect(),
        ClusterPeer::Networks(nets) if nets.len() > 1 => {
            shorter(nets, |x| x, ClusterPeer::Networks)
        }
        ClusterPeer::Networks(_) | ClusterPeer::Domains(_) => Vec::new(),
    }
}

/// With one of the two smaller.
fn pairs(first: &Selector, second: &Selector) -> Vec<(Selector, Selector)> {
    let of_first = smaller_selectors(first)
        .into_iter()
        .map(|smaller| (smaller, second.clone()));
    let of_second = smaller_selectors(second)
        .into_iter()
        .map(|smaller| (first.clone(), smaller));
    of_first.chain(of_second).collect()
}
