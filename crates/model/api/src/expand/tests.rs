use super::*;
use crate::world::World;

fn pods(text: &str, nodes: &[&str]) -> Vec<MadePod> {
    let loaded = World::load([("a.yaml", text)]);
    assert_eq!(loaded.problems, []);
    let nodes: Vec<Arc<str>> = nodes.iter().map(|name| Arc::from(*name)).collect();
    expand(&loaded.world.objects, &nodes).made
}

fn names(made: &[MadePod]) -> Vec<&str> {
    made.iter().map(|made| &*made.pod.metadata.name).collect()
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default, uid: d}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: web}, annotations: {a: b}}
    spec: {containers: [{ports: [{containerPort: 80}]}]}
";

#[test]
fn deployments() {
    let made = pods(DEPLOYMENT, &["n1"]);
    assert_eq!(made.len(), 2);
    let again = pods(DEPLOYMENT, &["n1"]);
    assert_eq!(made, again, "names are stable");
    assert_ne!(made[0].pod.metadata.name, made[1].pod.metadata.name);
    for MadePod { controller, pod } in &made {
        assert_eq!(controller.to_string(), "Deployment/default/web");
        let name = pod.metadata.name.strip_prefix("web-").unwrap();
        let (hash, rest) = name.split_once('-').unwrap();
        assert_eq!((hash.len(), rest.len()), (5, 5));
        assert!(name.bytes().all(|b| b == b'-' || ALPHABET.contains(&b)));
        assert_eq!(&*pod.metadata.labels["app"], "web");
        assert_eq!(&*pod.metadata.labels[TEMPLATE_HASH_LABEL], hash);
        assert_eq!(&*pod.metadata.annotations["a"], "b");
        assert_eq!(&*pod.metadata.annotations[OWNER_ANNOTATION], "deploy/web");
        assert_eq!(pod.metadata.uid, None);
        assert_eq!(pod.ports[0].port, 80);
        assert_eq!(pod.metadata.namespace.as_deref(), Some("default"));
    }
}

#[test]
fn stateful_sets_daemon_sets_replica_sets_and_jobs() {
    let controller = |kind: &str, group: &str, spec: &str| {
        format!(
            "apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: x, namespace: default}}\n\
             spec: {{{spec}, template: {{}}}}\n"
        )
    };
    let made = pods(&controller("StatefulSet", "apps", "replicas: 3"), &[]);
    assert_eq!(names(&made), ["x-0", "x-1", "x-2"]);
    assert_eq!(
        &*made[1].pod.metadata.labels["statefulset.kubernetes.io/pod-name"],
        "x-1"
    );

    let text = controller("DaemonSet", "apps", "selector: {}");
    let made = pods(&text, &["n1", "n2"]);
    let nodes: Vec<_> = made.iter().map(|made| made.pod.node.as_deref()).collect();
    assert_eq!(nodes, [Some("n1"), Some("n2")]);
    let of_nodes = format!("{text}---\napiVersion: v1\nkind: Node\nmetadata: {{name: n3}}\n");
    assert_eq!(pods(&of_nodes, &[])[0].pod.node.as_deref(), Some("n3"));
    let nowhere = pods(&text, &[]);
    assert_eq!((nowhere.len(), nowhere[0].pod.node.as_deref()), (1, None));

    let made = pods(&controller("ReplicaSet", "apps", "replicas: 1"), &[]);
    assert_eq!(names(&made)[0].len(), "x-12345".len());
    assert_eq!(&*made[0].pod.metadata.annotations[OWNER_ANNOTATION], "rs/x");

    let made = pods(&controller("Job", "batch", "parallelism: 2"), &[]);
    assert_eq!(made.len(), 2);
    assert_eq!(&*made[0].pod.metadata.labels["job-name"], "x");
    assert_eq!(
        &*made[0].pod.metadata.annotations[OWNER_ANNOTATION],
        "job/x"
    );
    assert_eq!(
        pods(&controller("ReplicaSet", "apps", "replicas: 0"), &[]),
        []
    );
}

const REPLICA_SET: &str = "
---
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: web-abcde
  namespace: default
  ownerReferences: [{kind: Deployment, name: web, controller: true}]
spec: {replicas: 2, template: {metadata: {labels: {app: web, pod-template-hash: abcde}}}}
";

const POD: &str = "
---
apiVersion: v1
kind: Pod
metadata:
  name: web-abcde-11111
  namespace: default
  labels: {app: web, pod-template-hash: abcde}
  ownerReferences: [{kind: ReplicaSet, name: web-abcde, controller: true}]
";

#[test]
fn what_a_dump_holds_is_not_doubled() {
    // A Deployment and its ReplicaSet are one; new pods look like those that are there.
    let made = pods(&format!("{DEPLOYMENT}{REPLICA_SET}"), &[]);
    assert_eq!(made.len(), 2);
    assert!(made[0].pod.metadata.name.starts_with("web-abcde-"));
    assert_eq!(&*made[0].pod.metadata.labels[TEMPLATE_HASH_LABEL], "abcde");
    // Pods that are there count, through the ReplicaSet or by its name alone.
    assert_eq!(
        pods(&format!("{DEPLOYMENT}{REPLICA_SET}{POD}"), &[]).len(),
        1
    );
    assert_eq!(pods(&format!("{DEPLOYMENT}{POD}"), &[]).len(), 1);
    // A ReplicaSet alone makes its own.
    assert_eq!(pods(&format!("{REPLICA_SET}{POD}"), &[]).len(), 1);
    // A pod alone makes none.
    assert_eq!(pods(POD, &[]), []);
    // A pod that has finished does not count.
    let finished = format!("{DEPLOYMENT}{POD}status: {{phase: Failed}}\n");
    assert_eq!(pods(&finished, &[]).len(), 2);
    let loaded = World::load([("a.yaml", format!("{DEPLOYMENT}{REPLICA_SET}{POD}"))]);
    let owners = expand(&loaded.world.objects, &[]).owners;
    let found: Vec<_> = owners
        .iter()
        .map(|(key, owner)| (key.to_string(), &**owner))
        .collect();
    assert_eq!(
        found,
        [("Pod/default/web-abcde-11111".to_owned(), "deploy/web")]
    );
}

#[test]
fn stateful_and_daemon_pods_that_are_there_are_kept() {
    let text = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: default}
spec: {replicas: 3, template: {}}
---
apiVersion: v1
kind: Pod
metadata: {name: db-1, ownerReferences: [{kind: StatefulSet, name: db, controller: true}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: default}
spec: {template: {}}
---
apiVersion: v1
kind: Pod
metadata: {name: agent-x, ownerReferences: [{kind: DaemonSet, name: agent, controller: true}]}
spec: {nodeName: n2}
";
    let made = pods(text, &["n1", "n2", "n3"]);
    let sets: Vec<&str> = names(&made)
        .into_iter()
        .filter(|name| name.starts_with("db-"))
        .collect();
    assert_eq!(sets, ["db-0", "db-2"]);
    let nodes: Vec<_> = made
        .iter()
        .filter_map(|made| made.pod.node.as_deref())
        .collect();
    assert_eq!(nodes, ["n1", "n3"]);
}

#[test]
fn long_names_are_cut() {
    let text = DEPLOYMENT.replace("name: web,", &format!("name: {},", "a".repeat(200)));
    let made = pods(&text, &[]);
    assert!(made.iter().all(|made| made.pod.metadata.name.len() <= 63));
    assert_ne!(made[0].pod.metadata.name, made[1].pod.metadata.name);
}
