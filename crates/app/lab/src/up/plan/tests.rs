use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::manifests;

fn folder() -> Folder {
    Folder::of(&"t".parse().unwrap())
}

fn plan(text: &str, hosts: usize) -> Plan {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let file =
        std::env::temp_dir().join(format!("ocicat-plan-{}-{count}.yaml", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let loaded = manifests::load(std::slice::from_ref(&file));
    std::fs::remove_file(&file).unwrap();
    make(&folder(), loaded.unwrap(), hosts).unwrap()
}

fn names(plan: &Plan) -> Vec<String> {
    plan.workloads
        .iter()
        .map(|x| format!("{} on {}", x.workload.full_name(), x.workload.host))
        .collect()
}

#[test]
fn the_shop_is_planned_without_a_word_of_complaint() {
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples/shop");
    let plan = make(&folder(), manifests::load(&[shop]).unwrap(), 3).unwrap();
    assert_eq!(plan.notes, Vec::<String>::new());
    assert_eq!(plan.workloads.len(), 20);
    let hosts: Vec<(&str, bool)> = plan
        .hosts
        .iter()
        .map(|host| (host.name.as_str(), host.outside))
        .collect();
    let expected = [
        ("host-1", false),
        ("host-2", false),
        ("host-3", false),
        ("office", true),
    ];
    assert_eq!(hosts, expected);
    let collectors: BTreeSet<&str> = plan
        .workloads
        .iter()
        .filter(|x| x.workload.owner.as_deref() == Some("ds/log-collector"))
        .map(|x| x.workload.host.as_str())
        .collect();
    assert_eq!(
        collectors.len(),
        3,
        "one on each host of the cluster, none outside"
    );
}

#[test]
fn a_pod_is_made_from_its_controllers_template() {
    let plan = plan(
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: nginx, image: nginx:1, ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}]
",
        2,
    );
    assert_eq!(plan.workloads.len(), 2);
    let web = &plan.workloads[1];
    assert_eq!(web.workload.ports, [53, 80]);
    assert_eq!(web.workload.owner.as_deref(), Some("deploy/web"));
    assert_eq!(web.entry.value["spec"]["containers"][0]["image"], "nginx:1");
    assert_eq!(web.entry.value["spec"]["nodeName"], "host-2");
    assert_eq!(web.containers, [("nginx".to_owned(), "nginx:1".to_owned())]);
    let kinds: Vec<Kind> = plan.objects.iter().map(|entry| entry.kind).collect();
    assert!(kinds.contains(&Kind::Namespace), "assumed: {kinds:?}");
    assert_eq!(
        kinds.iter().filter(|kind| **kind == Kind::IpPool).count(),
        2
    );
}

#[test]
fn pods_of_a_dumped_cluster_keep_their_hosts_and_addresses() {
    let plan = plan(
        "apiVersion: v1
kind: Pod
metadata: {name: a, uid: x, resourceVersion: '7', annotations: {cni.projectcalico.org/podIPs: '10.9.0.9/32'}}
spec: {nodeName: node-a, containers: []}
status: {phase: Running, podIP: 10.9.0.9, podIPs: [{ip: 10.9.0.9}]}
---
apiVersion: v1
kind: Pod
metadata: {name: done}
spec: {containers: []}
status: {phase: Succeeded, podIP: 10.9.0.8}
---
apiVersion: v1
kind: Pod
metadata: {name: of-the-host}
spec: {nodeName: node-b, hostNetwork: true, containers: []}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: node--a-k8s-a-eth0, namespace: default}
spec: {node: node-z, orchestrator: k8s, pod: a, endpoint: eth0, ipNetworks: [10.9.0.9/32]}
",
        1,
    );
    assert_eq!(names(&plan), ["default/a on node-a"]);
    let left_out = [
        "skipped, in the network of their host: 1 × Pod (default/of-the-host)",
        "skipped, that have finished: 1 × Pod (default/done)",
    ];
    assert_eq!(plan.notes, left_out);
    let pod = &plan.workloads[0].entry.value;
    assert_eq!(
        pod["metadata"]["annotations"],
        json!({ Pod::WANTED_ADDRESSES: r#"["10.9.0.9"]"# })
    );
    assert!(pod["metadata"].get("resourceVersion").is_none() && pod.get("status").is_none());
    let hosts: Vec<&str> = plan.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(hosts, ["host-1", "node-a"]);
    let done = plan
        .objects
        .iter()
        .find(|x| x.value["metadata"]["name"] == "done")
        .unwrap();
    assert_eq!(done.status.as_ref().unwrap()["phase"], "Succeeded");
    assert!(
        plan.objects
            .iter()
            .any(|x| x.kind == Kind::WorkloadEndpoint)
    );
}
