//! Objects as the values that manifests hold.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_api::core::{EndpointPort, Pod, WorkloadEndpoint};
use ocicat_api::policy::{
    CalicoPolicy, KubePeer, KubePort, KubeRule, NetworkPolicy, PolicyStage, StagedAction, Subject,
    Types,
};
use ocicat_api::rule::{Action, EntityRule, HttpPath, Icmp, Rule, ServiceAccountMatch};
use ocicat_api::{Family, Metadata, Object, PortSpec, Protocol};
use ocicat_selector::Selector;
use serde_json::{Map, Value, json};

mod cluster;
mod host;
mod service;

/// The whole manifest.
pub fn of(object: &Object) -> Value {
    let kind = object.kind().info();
    let mut manifest = Map::new();
    manifest.insert("apiVersion".into(), kind.api_version().into());
    manifest.insert("kind".into(), kind.name.into());
    manifest.insert("metadata".into(), metadata(object.metadata()));
    match object {
        Object::Pod(pod) => {
            manifest.insert("spec".into(), pod_spec(pod));
            manifest.insert("status".into(), pod_status(pod));
        }
        Object::Node(node) => {
            let each = |address: &IpAddr| json!({"type": "InternalIP", "address": address});
            let addresses: Vec<Value> = node.addresses.iter().map(each).collect();
            manifest.insert("status".into(), json!({"addresses": addresses}));
        }
        Object::EndpointSlice(slice) => {
            for (name, value) in service::slice(slice) {
                manifest.insert(name.into(), value);
            }
        }
        other => {
            if let Some(spec) = spec(other) {
                manifest.insert("spec".into(), spec);
            }
        }
    }
    Value::Object(manifest)
}

fn metadata(metadata: &Metadata) -> Value {
    let mut value = json!({"name": metadata.name});
    if let Some(namespace) = &metadata.namespace {
        value["namespace"] = json!(namespace);
    }
    if !metadata.labels.is_empty() {
        value["labels"] = string_map(&metadata.labels);
    }
    value
}

fn string_map(map: &BTreeMap<Arc<str>, Arc<str>>) -> Value {
    map.iter()
        .map(|(name, value)| (name.to_string(), json!(value)))
        .collect()
}

fn spec(object: &Object) -> Option<Value> {
    Some(match object {
        Object::WorkloadEndpoint(wep) => workload_spec(wep),
        Object::NetworkSet(set) | Object::GlobalNetworkSet(set) => json!({"nets": nets(&set.nets)}),
        Object::IpPool(pool) => json!({
            "cidr": pool.cidr.to_string(),
            "blockSize": pool.block_size,
            "disabled": pool.disabled,
            "natOutgoing": pool.nat_outgoing,
        }),
        Object::Tier(tier) => {
            let mut spec = json!({"defaultAction": action(tier.default_action)});
            put_order(&mut spec, tier.order);
            spec
        }
        Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy) => {
            calico_spec(policy)
        }
        Object::NetworkPolicy(policy) => kube_spec(policy),
        Object::StagedNetworkPolicy(staged) | Object::StagedGlobalNetworkPolicy(staged) => {
            with_action(calico_spec(&staged.policy), staged.action)
        }
        Object::StagedKubernetesNetworkPolicy(staged) => {
            with_action(kube_spec(&staged.policy), staged.action)
        }
        Object::ClusterNetworkPolicy(policy) => cluster::spec(policy),
        Object::HostEndpoint(host) => host::spec(host),
        Object::FelixConfiguration(felix) => host::configuration(felix),
        Object::Service(service) => service::spec(service),
        Object::Profile(profile) => json!({
            "ingress": profile.ingress.iter().map(rule).collect::<Vec<_>>(),
            "egress": profile.egress.iter().map(rule).collect::<Vec<_>>(),
            "labelsToApply": string_map(&profile.labels_to_apply),
        }),
        _ => return None,
    })
}

fn with_action(mut spec: Value, action: StagedAction) -> Value {
    spec["stagedAction"] = json!(match action {
        StagedAction::Set => "Set",
        StagedAction::Delete => "Delete",
        StagedAction::Learn => "Learn",
        StagedAction::Ignore => "Ignore",
    });
    spec
}

fn pod_spec(pod: &Pod) -> Value {
    let mut container = json!({"name": "main"});
    if !pod.ports.is_empty() {
        let each = |port: &EndpointPort| {
            let mut value =
                json!({"containerPort": port.port, "protocol": port.protocol.to_string()});
            if !port.name.is_empty() {
                value["name"] = json!(port.name);
            }
            value
        };
        container["ports"] = pod.ports.iter().map(each).collect();
    }
    let mut spec = json!({"serviceAccountName": pod.service_account, "containers": [container]});
    if let Some(node) = &pod.node {
        spec["nodeName"] = json!(node);
    }
    if pod.host_network {
        spec["hostNetwork"] = json!(true);
    }
    spec
}

fn pod_status(pod: &Pod) -> Value {
    let addresses: Vec<Value> = pod.addresses.iter().map(|ip| json!({"ip": ip})).collect();
    let mut status = json!({"phase": if pod.finished { "Succeeded" } else { "Running" }});
    if !addresses.is_empty() {
        status["podIPs"] = json!(addresses);
    }
    status
}

fn workload_spec(wep: &WorkloadEndpoint) -> Value {
    let networks = wep
        .addresses
        .iter()
        .map(|address| IpNet::from(*address).to_string());
    let mut spec = json!({
        "node": wep.node,
        "orchestrator": wep.orchestrator,
        "endpoint": "eth0",
        "ipNetworks": networks.collect::<Vec<_>>(),
        "profiles": wep.profiles,
    });
    if let Some(pod) = &wep.pod {
        spec["pod"] = json!(pod);
    }
    if let Some(account) = &wep.service_account {
        spec["serviceAccountName"] = json!(account);
    }
    if let Some(interface) = &wep.interface {
        spec["interfaceName"] = json!(interface);
    }
    put_ports(&mut spec, &wep.ports);
    spec
}

fn put_ports(spec: &mut Value, ports: &[EndpointPort]) {
    let each = |port: &EndpointPort| {
        json!({
            "name": port.name,
            "protocol": port.protocol.to_string(),
            "port": port.port,
        })
    };
    if !ports.is_empty() {
        spec["ports"] = ports.iter().map(each).collect();
    }
}

fn calico_spec(policy: &CalicoPolicy) -> Value {
    let mut spec = json!({"tier": policy.tier, "types": types(policy.types)});
    put_order(&mut spec, policy.order);
    match &policy.subject {
        // No selector begins like this.
        Subject::Unreadable => spec["selector"] = json!("=="),
        Subject::Selectors {
            selector,
            namespace_selector,
            service_account_selector,
        } => {
            spec["selector"] = selector_text(selector);
            put_selector(&mut spec, "namespaceSelector", namespace_selector.as_ref());
            put_selector(
                &mut spec,
                "serviceAccountSelector",
                service_account_selector.as_ref(),
            );
        }
    }
    for (name, rules) in [("ingress", &policy.ingress), ("egress", &policy.egress)] {
        if !rules.is_empty() {
            spec[name] = rules.iter().map(rule).collect();
        }
    }
    if policy.stage != PolicyStage::Normal {
        spec["applyOnForward"] = json!(true);
    }
    match policy.stage {
        PolicyStage::Untracked => spec["doNotTrack"] = json!(true),
        PolicyStage::PreDnat => spec["preDNAT"] = json!(true),
        PolicyStage::Normal | PolicyStage::Forward => {}
    }
    spec
}

fn rule(rule: &Rule) -> Value {
    let mut value = json!({"action": action(rule.action)});
    if let Some(family) = rule.ip_version {
        value["ipVersion"] = json!(if family == Family::Ipv4 { 4 } else { 6 });
    }
    if let Some(named) = rule.protocol {
        value["protocol"] = protocol(named);
    }
    if let Some(named) = rule.not_protocol {
        value["notProtocol"] = protocol(named);
    }
    if let Some(asked) = rule.icmp {
        value["icmp"] = icmp(asked);
    }
    if let Some(asked) = rule.not_icmp {
        value["notICMP"] = icmp(asked);
    }
    for (name, side) in [("source", &rule.source), ("destination", &rule.destination)] {
        if *side != EntityRule::default() {
            value[name] = entity(side);
        }
    }
    if let Some(http) = &rule.http {
        let path = |path: &HttpPath| match path {
            HttpPath::Exact(path) => json!({"exact": path}),
            HttpPath::Prefix(path) => json!({"prefix": path}),
        };
        let paths: Vec<Value> = http.paths.iter().map(path).collect();
        value["http"] = json!({"methods": http.methods, "paths": paths});
    }
    if !rule.unreadable.is_empty() {
        value["unreadable"] = json!(true);
    }
    value
}

fn entity(entity: &EntityRule) -> Value {
    let mut value = json!({});
    for (name, list) in [("nets", &entity.nets), ("notNets", &entity.not_nets)] {
        if !list.is_empty() {
            value[name] = nets(list);
        }
    }
    put_selector(&mut value, "selector", entity.selector.as_ref());
    put_selector(&mut value, "notSelector", entity.not_selector.as_ref());
    put_selector(
        &mut value,
        "namespaceSelector",
        entity.namespace_selector.as_ref(),
    );
    if let Some(ServiceAccountMatch { names, selector }) = &entity.service_accounts {
        let mut accounts = json!({"names": names});
        put_selector(&mut accounts, "selector", selector.as_ref());
        value["serviceAccounts"] = accounts;
    }
    if let Some(service) = &entity.service {
        value["services"] = json!({"name": service.name, "namespace": service.namespace});
    }
    if !entity.domains.is_empty() {
        value["domains"] = json!(entity.domains);
    }
    for (name, list) in [("ports", &entity.ports), ("notPorts", &entity.not_ports)] {
        if !list.is_empty() {
            value[name] = list.iter().map(port).collect();
        }
    }
    value
}

fn kube_spec(policy: &NetworkPolicy) -> Value {
    let pods = match &policy.pod_selector {
        Some(selector) => label_selector(selector),
        // No operator is called so.
        None => json!({"matchExpressions": [{"key": "app", "operator": "Unreadable"}]}),
    };
    let mut spec = json!({"podSelector": pods, "policyTypes": types(policy.types)});
    for (name, peers, rules) in [
        ("ingress", "from", &policy.ingress),
        ("egress", "to", &policy.egress),
    ] {
        if !rules.is_empty() {
            spec[name] = rules.iter().map(|rule| kube_rule(rule, peers)).collect();
        }
    }
    spec
}

fn kube_rule(rule: &KubeRule, peers_name: &str) -> Value {
    let mut value = json!({});
    // A list of which nothing could be read had one entry at least.
    match rule.peers.as_deref() {
        None => {}
        Some([]) => value[peers_name] = json!([{"unreadable": true}]),
        Some(peers) => value[peers_name] = peers.iter().map(kube_peer).collect(),
    }
    match rule.ports.as_deref() {
        None => {}
        Some([]) => value["ports"] = json!([{"port": -1}]),
        Some(ports) => value["ports"] = ports.iter().map(kube_port).collect(),
    }
    value
}

fn kube_peer(peer: &KubePeer) -> Value {
    match peer {
        KubePeer::IpBlock { cidr, except } if except.is_empty() => {
            json!({"ipBlock": {"cidr": cidr.to_string()}})
        }
        KubePeer::IpBlock { cidr, except } => {
            json!({"ipBlock": {"cidr": cidr.to_string(), "except": nets(except)}})
        }
        KubePeer::Pods {
            namespace_selector,
            pod_selector,
        } => {
            let mut value = json!({});
            if let Some(selector) = namespace_selector {
                value["namespaceSelector"] = label_selector(selector);
            }
            if let Some(selector) = pod_selector {
                value["podSelector"] = label_selector(selector);
            }
            value
        }
    }
}

fn kube_port(wanted: &KubePort) -> Value {
    let mut value = json!({"protocol": wanted.protocol.to_string()});
    match &wanted.port {
        None => {}
        Some(PortSpec::Name(name)) => value["port"] = json!(name),
        Some(PortSpec::Range { first, last }) => {
            value["port"] = json!(first);
            if first != last {
                value["endPort"] = json!(last);
            }
        }
    }
    value
}

/// A selector of the shape that label selectors are converted to.
fn label_selector(selector: &Selector) -> Value {
    let parts = match selector {
        Selector::All => &[][..],
        Selector::And(parts) => parts,
        one => std::slice::from_ref(one),
    };
    let mut labels = Map::new();
    let mut expressions = Vec::new();
    let expression = |key: &Arc<str>, operator| json!({"key": key, "operator": operator});
    let with_values = |key, operator, values: &std::collections::BTreeSet<Arc<str>>| {
        let mut value = expression(key, operator);
        value["values"] = json!(values);
        value
    };
    for part in parts {
        match part {
            Selector::Equal(key, value) => {
                labels.insert(key.to_string(), json!(value));
            }
            Selector::In(key, values) => expressions.push(with_values(key, "In", values)),
            Selector::NotIn(key, values) => expressions.push(with_values(key, "NotIn", values)),
            Selector::Has(key) => expressions.push(expression(key, "Exists")),
            Selector::Not(inner) => match &**inner {
                Selector::Has(key) => expressions.push(expression(key, "DoesNotExist")),
                other => unreachable!("no label selector says !({other})"),
            },
            other => unreachable!("no label selector says {other}"),
        }
    }
    let mut value = json!({});
    if !labels.is_empty() {
        value["matchLabels"] = labels.into();
    }
    if !expressions.is_empty() {
        value["matchExpressions"] = expressions.into();
    }
    value
}

fn put_order(spec: &mut Value, order: Option<f64>) {
    if let Some(order) = order {
        // JSON has no negative zero that every reader keeps; it is equal to zero.
        spec["order"] = if order == 0.0 {
            json!(0.0)
        } else {
            json!(order)
        };
    }
}

fn put_selector(spec: &mut Value, name: &str, selector: Option<&Selector>) {
    if let Some(selector) = selector {
        spec[name] = selector_text(selector);
    }
}

fn selector_text(selector: &Selector) -> Value {
    json!(selector.to_string())
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "Allow",
        Action::Deny => "Deny",
        Action::Log => "Log",
        Action::Pass => "Pass",
    }
}

fn types(types: Types) -> Vec<&'static str> {
    let ingress = types.ingress.then_some("Ingress");
    ingress
        .into_iter()
        .chain(types.egress.then_some("Egress"))
        .collect()
}

fn protocol(protocol: Protocol) -> Value {
    let name = protocol.to_string();
    name.parse::<u8>()
        .map_or_else(|_| json!(name), |number| json!(number))
}

fn icmp(icmp: Icmp) -> Value {
    let mut value = json!({});
    if let Some(kind) = icmp.icmp_type {
        value["type"] = json!(kind);
    }
    if let Some(code) = icmp.code {
        value["code"] = json!(code);
    }
    value
}

fn port(port: &PortSpec) -> Value {
    match port {
        PortSpec::Range { first, last } if first == last => json!(first),
        other => json!(other.to_string()),
    }
}

fn nets(nets: &[IpNet]) -> Value {
    nets.iter().map(|net| json!(net.to_string())).collect()
}
