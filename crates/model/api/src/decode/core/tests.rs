use std::net::IpAddr;

use super::super::tests::{problems, yaml};
use crate::{Object, Protocol};

#[test]
fn pods() {
    let decoded = yaml(
        "
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  namespace: shop
  annotations: {cni.projectcalico.org/podIPs: '10.0.0.9/32'}
  ownerReferences:
  - {kind: Other, name: x}
  - {kind: ReplicaSet, name: web, controller: true, apiVersion: apps/v1, uid: u}
spec:
  nodeName: n1
  serviceAccountName: web
  unknown: {}
  initContainers:
  - ports: [{containerPort: 1}]
  - {restartPolicy: Always, ports: [{containerPort: 15090, name: metrics}]}
  containers:
  - ports:
    - {containerPort: 80, name: http}
    - {containerPort: 53, protocol: UDP}
    - {containerPort: 70000}
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]",
    );
    assert_eq!(
        problems(&decoded),
        ["spec.containers[0].ports[2].containerPort: 70000: expected 1-65535"]
    );
    let Some(Object::Pod(pod)) = decoded.object else {
        panic!()
    };
    let owner = pod.metadata.owner.unwrap();
    assert_eq!((&*owner.kind, &*owner.name), ("ReplicaSet", "web"));
    assert_eq!(
        (pod.node.as_deref(), &*pod.service_account),
        (Some("n1"), "web")
    );
    let ports: Vec<_> = pod
        .ports
        .iter()
        .map(|p| (&*p.name, p.protocol, p.port))
        .collect();
    assert_eq!(
        ports,
        [
            ("metrics", Protocol::TCP, 15090),
            ("http", Protocol::TCP, 80),
            ("", Protocol::UDP, 53)
        ]
    );
    let addresses: Vec<IpAddr> = ["10.0.0.1", "fd00::1"].map(|a| a.parse().unwrap()).to_vec();
    assert_eq!(pod.addresses, addresses);
    assert!(!pod.finished && !pod.host_network);
}

#[test]
fn where_pods_have_their_addresses_from() {
    let addresses = |annotation: &str, status: &str| {
        let decoded = yaml(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, annotations: {{\
             cni.projectcalico.org/podIPs: '{annotation}'}}}}\nstatus: {status}\n"
        ));
        let Some(Object::Pod(pod)) = &decoded.object else {
            panic!()
        };
        let found: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
        (found.join(" "), pod.finished, problems(&decoded).len())
    };
    let noted = "10.0.0.9/32,fd00::9/128";
    assert_eq!(
        addresses(noted, "{podIP: 10.0.0.1}"),
        ("10.0.0.1".into(), false, 0)
    );
    assert_eq!(
        addresses(noted, "{podIP: ''}"),
        ("10.0.0.9 fd00::9".into(), false, 0)
    );
    assert_eq!(
        addresses(noted, "{phase: Failed}"),
        ("10.0.0.9 fd00::9".into(), true, 0)
    );
    assert_eq!(addresses("10.0.0.300", "{}"), (String::new(), false, 1));
    assert_eq!(addresses("", "{}"), (String::new(), false, 0));
}

#[test]
fn workload_endpoints() {
    let decoded = yaml(
        "
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: vm1, namespace: shop}
spec:
  node: n1
  orchestrator: openstack
  interfaceName: tap1
  mac: 02:00:00:00:00:0a
  ipNetworks: [10.0.0.7/32, 10.0.0.0/24, 'fd00::7/128']
  profiles: [kns.shop]
  serviceAccountName: vm
  ports: [{name: http, port: 80, protocol: TCP}, {name: x, port: 80}]",
    );
    let found = problems(&decoded);
    assert_eq!(
        found,
        [
            "spec.ipNetworks[1]: 10.0.0.0/24: expected one address, with /32",
            "spec.ports[1]: missing protocol: expected TCP, UDP or SCTP",
        ]
    );
    let Some(Object::WorkloadEndpoint(endpoint)) = decoded.object else {
        panic!()
    };
    assert_eq!(endpoint.mac, Some([2, 0, 0, 0, 0, 10]));
    assert_eq!(endpoint.addresses.len(), 2);
    assert_eq!(endpoint.ports.len(), 1);
    assert_eq!(endpoint.service_account.as_deref(), Some("vm"));
    assert_eq!(endpoint.pod, None);
    let decoded = yaml(
        "apiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\nmetadata: {name: a}\nspec: {mac: x}\n",
    );
    assert_eq!(problems(&decoded).len(), 3, "node, orchestrator, mac");
}

#[test]
fn nodes() {
    let addresses = |text: &str| {
        let decoded = yaml(text);
        assert_eq!(problems(&decoded), Vec::<String>::new());
        let Some(Object::Node(node)) = decoded.object else {
            panic!()
        };
        let found: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
        found.join(" ")
    };
    assert_eq!(
        addresses(
            "
apiVersion: v1
kind: Node
metadata: {name: n1, annotations: {projectcalico.org/IPv4Address: 10.0.0.1/24,
  projectcalico.org/IPv4VXLANTunnelAddr: 10.244.0.1}}
status: {addresses: [{type: Hostname, address: n1}, {type: InternalIP, address: 10.0.0.1}]}"
        ),
        "10.0.0.1 10.244.0.1"
    );
    assert_eq!(
        addresses(
            "
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n1}
spec: {bgp: {ipv4Address: 10.0.0.1/24, ipv6Address: 'fd00::1/64'}, ipv4VXLANTunnelAddr: 10.2.0.1,
  addresses: [{address: 10.0.0.1/24, type: InternalIP}]}"
        ),
        "10.0.0.1 fd00::1 10.2.0.1"
    );
}
