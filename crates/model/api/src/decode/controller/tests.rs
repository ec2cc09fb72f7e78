use super::super::tests::{problems, yaml};
use crate::{Kind, Object};

#[test]
fn controllers() {
    let replicas = |kind: &str, group: &str, spec: &str| {
        let decoded = yaml(&format!(
            "apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: c}}\nspec: {spec}\n"
        ));
        assert_eq!(problems(&decoded), Vec::<String>::new());
        let Some(Object::Controller(_, controller)) = decoded.object else {
            panic!()
        };
        controller.replicas
    };
    assert_eq!(replicas("Deployment", "apps", "{template: {}}"), 1);
    assert_eq!(
        replicas("StatefulSet", "apps", "{replicas: 3, template: {}}"),
        3
    );
    assert_eq!(
        replicas("Job", "batch", "{parallelism: 4, template: {}}"),
        4
    );
    assert_eq!(
        replicas(
            "Job",
            "batch",
            "{parallelism: 4, completions: 2, template: {}}"
        ),
        2
    );
    assert_eq!(replicas("Job", "batch", "{suspend: true, template: {}}"), 0);
    let decoded = yaml(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 100001
  template:
    metadata: {labels: {app: web}, annotations: {a: b}}
    spec: {serviceAccount: web, containers: [{ports: [{containerPort: 80}]}]}",
    );
    assert_eq!(
        problems(&decoded),
        ["spec.replicas: 100001: expected 0-100000"]
    );
    let Some(Object::Controller(Kind::Deployment, controller)) = decoded.object else {
        panic!()
    };
    assert_eq!(controller.template.metadata.labels.len(), 1);
    assert_eq!(&*controller.template.service_account, "web");
    assert_eq!(controller.template.ports[0].port, 80);
    let decoded = yaml("apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a}\n");
    assert_eq!(
        problems(&decoded),
        ["spec.template: missing: expected a pod template"]
    );
}
