use super::*;

const SHOP: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  ingress:
  - action: Allow
    source:
      nets: [10.0.0.0/8, 10.0.0.0/33]
      selector: app ==
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
";

fn shown(loaded: &Loaded) -> Vec<String> {
    loaded.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn problems_say_file_place_object_and_field() {
    let loaded = World::load([
        ("shop.yaml", SHOP),
        ("bad.yaml", "a: [1\n"),
        ("more.yaml", SHOP),
    ]);
    let found = shown(&loaded);
    assert_eq!(
        found[0],
        "shop.yaml:12:26: NetworkPolicy shop/web: spec.ingress[0].source.nets[1]: 10.0.0.0/33: \
         prefix length is at most 32"
    );
    assert_eq!(
        found[1].lines().next().unwrap(),
        "shop.yaml:13:17: NetworkPolicy shop/web: spec.ingress[0].source.selector: column 7: \
         expected a string in quotes"
    );
    assert!(
        found[2].starts_with("bad.yaml:2:1: not YAML: "),
        "{}",
        found[2]
    );
    assert_eq!(
        found[3],
        "more.yaml:1:1: Namespace shop: defined before, at shop.yaml:1:1; this one is used"
    );
    assert!(loaded.has_errors());
    assert_eq!(
        loaded.skipped,
        BTreeMap::from([("ConfigMap (v1)".to_owned(), 2)])
    );
    let key = ObjectKey {
        kind: Kind::CalicoNetworkPolicy,
        namespace: Some("shop".into()),
        name: "web".into(),
    };
    let place = loaded
        .world
        .position_of(&key, "spec.ingress[0].action")
        .unwrap();
    assert_eq!(place.to_string(), "more.yaml:10:13");
    assert_eq!(
        loaded.world.position_of(&key, "").unwrap().to_string(),
        "more.yaml:5:1"
    );
}

#[test]
fn objects_without_a_name_are_described_as_far_as_possible() {
    let loaded = World::load([("a.yaml", "kind: Pod\n---\n[]\n---\nmetadata: {name: x}\n")]);
    let found = shown(&loaded);
    assert!(
        found[0].starts_with("a.yaml:1:1: Pod: apiVersion: missing"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("a.yaml:3:1: object: a list: expected a mapping"),
        "{found:?}"
    );
    assert!(
        found[2].starts_with("a.yaml:5:1: object x: apiVersion: missing"),
        "{found:?}"
    );
}

#[test]
fn namespaces_and_service_accounts_are_completed() {
    let text = "\
apiVersion: v1
kind: Pod
metadata: {name: a}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: shop}
spec: {serviceAccountName: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: c, namespace: shop}
spec: {template: {spec: {serviceAccountName: web}}}
---
apiVersion: v1
kind: Pod
metadata: {name: d, namespace: kube-system}
";
    let loaded = World::load([("a.yaml", text)]);
    assert_eq!(
        shown(&loaded),
        [
            "a.yaml:7:32: Pod shop/b: metadata.namespace: namespace shop is not defined; assumed \
             without labels",
            "a.yaml:8:28: Pod shop/b: spec.serviceAccountName: service account shop/web is not \
             defined; assumed without labels",
        ]
    );
    assert!(!loaded.has_errors());
    let world = &loaded.world;
    for name in ["default", "shop", "kube-system"] {
        let Some(Object::Namespace(namespace)) = world.get(Kind::Namespace, None, name) else {
            panic!("{name}")
        };
        assert_eq!(
            &*namespace.metadata.labels["kubernetes.io/metadata.name"],
            name
        );
        assert!(
            world
                .get(Kind::ServiceAccount, Some(name), "default")
                .is_some(),
            "{name}"
        );
    }
    assert!(
        world
            .get(Kind::ServiceAccount, Some("shop"), "web")
            .is_some()
    );
    assert!(world.get(Kind::Namespace, None, "kube-public").is_none());
}

#[test]
fn expanded_pods_stand_where_their_controller_stands() {
    let text = "\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: default}
spec: {replicas: 2, template: {}}
---
apiVersion: v1
kind: Pod
metadata:
  name: db-0
  ownerReferences: [{kind: StatefulSet, name: db, controller: true}]
";
    let mut world = World::load([("a.yaml", text)]).world;
    world.expand(&[]);
    for (name, place) in [("db-0", "a.yaml:6:1"), ("db-1", "a.yaml:1:1")] {
        let Some(Object::Pod(pod)) = world.get(Kind::Pod, Some("default"), name) else {
            panic!()
        };
        assert_eq!(&*pod.metadata.annotations["ocicat.io/owner"], "sts/db");
        let key = Object::Pod(pod.clone()).key();
        assert_eq!(world.position_of(&key, "").unwrap().to_string(), place);
    }
    let before = world.objects.clone();
    world.expand(&[]);
    assert_eq!(world.objects, before, "a second time adds nothing");
}

#[test]
fn reports_are_bounded() {
    let nets = vec!["x"; 1005].join(", ");
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {{name: s}}\n\
         spec: {{nets: [{nets}]}}\n"
    );
    let found = shown(&World::load([("a.yaml", text)]));
    assert_eq!(found.len(), 1001);
    assert_eq!(
        found[1000],
        "a.yaml:1:1: GlobalNetworkSet s: 5 more problems"
    );
}

#[test]
fn equal_priorities_are_said() {
    let policy = |name: &str, tier: &str| {
        format!(
            "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n\
             metadata: {{name: {name}}}\nspec:\n  tier: {tier}\n  priority: 5\n  subject: {{namespaces: {{}}}}\n"
        )
    };
    let text = format!(
        "{}---\n{}---\n{}",
        policy("b", "Admin"),
        policy("a", "Admin"),
        policy("c", "Baseline")
    );
    let loaded = World::load([("p.yaml", text)]);
    let said: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "p.yaml:6:13: ClusterNetworkPolicy b: spec.priority: 5 is the priority of a too; of equals the \
          first by name is judged first"
        ]
    );
    assert!(!loaded.has_errors());
}
