//! ClusterNetworkPolicies.

use ocicat_api::PortSpec;
use ocicat_api::policy::{
    ClusterNetworkPolicy, ClusterPeer, ClusterProtocol, ClusterRule, ClusterSubject, ClusterTier,
};
use ocicat_api::rule::Action;
use ocicat_selector::Selector;
use serde_json::{Value, json};

use super::{label_selector, nets};

pub fn spec(policy: &ClusterNetworkPolicy) -> Value {
    let subject = match &policy.subject {
        ClusterSubject::Namespaces(selector) => json!({"namespaces": label_selector(selector)}),
        ClusterSubject::Pods {
            namespace_selector,
            pod_selector,
        } => pods(namespace_selector, pod_selector),
        ClusterSubject::Unreadable => json!({"unreadable": {}}),
    };
    let mut spec = json!({
        "tier": match policy.tier {
            ClusterTier::Admin => "Admin",
            ClusterTier::Baseline => "Baseline",
        },
        "priority": policy.priority,
        "subject": subject,
    });
    for (name, peers, rules) in [
        ("ingress", "from", &policy.ingress),
        ("egress", "to", &policy.egress),
    ] {
        if !rules.is_empty() {
            spec[name] = rules.iter().map(|x| rule(x, peers)).collect();
        }
    }
    spec
}

fn rule(rule: &ClusterRule, peers_name: &str) -> Value {
    let mut value = json!({"action": match rule.action {
        Action::Allow => "Accept",
        Action::Deny => "Deny",
        Action::Pass => "Pass",
        Action::Log => unreachable!("no rule of the kind logs"),
    }});
    if !rule.name.is_empty() {
        value["name"] = json!(rule.name);
    }
    let unreadable = || json!({"unreadable": {}});
    let mut peers: Vec<Value> = rule.peers.iter().map(peer).collect();
    if rule.unreadable_peers {
        peers.push(unreadable());
    }
    value[peers_name] = json!(peers);
    if let Some(list) = &rule.protocols {
        let mut protocols: Vec<Value> = list.iter().map(protocol).collect();
        if rule.unreadable_protocols {
            protocols.push(unreadable());
        }
        value["protocols"] = json!(protocols);
    }
    value
}

fn peer(peer: &ClusterPeer) -> Value {
    match peer {
        ClusterPeer::Namespaces(selector) => json!({"namespaces": label_selector(selector)}),
        ClusterPeer::Pods {
            namespace_selector,
            pod_selector,
        } => pods(namespace_selector, pod_selector),
        ClusterPeer::Nodes(selector) => json!({"nodes": label_selector(selector)}),
        ClusterPeer::Networks(list) => json!({"networks": nets(list)}),
        ClusterPeer::Domains(names) => json!({"domainNames": names}),
    }
}

fn pods(namespaces: &Selector, pods: &Selector) -> Value {
    json!({"pods": {
        "namespaceSelector": label_selector(namespaces),
        "podSelector": label_selector(pods),
    }})
}

fn protocol(wanted: &ClusterProtocol) -> Value {
    match wanted {
        ClusterProtocol::Named(name) => json!({"destinationNamedPort": name}),
        ClusterProtocol::Ports(protocol, port) => {
            let port = match port {
                None => json!({}),
                Some(PortSpec::Range { first, last }) if first == last => {
                    json!({"destinationPort": {"number": first}})
                }
                Some(PortSpec::Range { first, last }) => {
                    json!({"destinationPort": {"range": {"start": first, "end": last}}})
                }
                Some(PortSpec::Name(name)) => unreachable!("{name}: names have their own field"),
            };
            let name = protocol.to_string().to_ascii_lowercase();
            json!({ name: port })
        }
    }
}
