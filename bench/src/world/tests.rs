use std::collections::BTreeMap;

use ocicat_api::Object;
use ocicat_api::decode::decode_json;
use ocicat_api::policy::Subject;

use super::*;

fn small() -> Size {
    Size::default().divided(10)
}

fn objects(size: &Size) -> (Summary, Vec<Object>) {
    let mut bytes = Vec::new();
    let summary = write(size, &mut bytes).unwrap();
    let lines = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let objects = lines.map(|line| {
        let decoded = decode_json(line);
        assert!(
            decoded.problems.is_empty(),
            "{:?}: {}",
            decoded.problems,
            String::from_utf8_lossy(line)
        );
        decoded.object.unwrap()
    });
    (summary, objects.collect())
}

#[test]
fn the_world_is_as_large_as_promised() {
    let size = small();
    let (summary, objects) = objects(&size);
    assert_eq!(summary.objects, objects.len());
    assert_eq!(
        (summary.pods, summary.policies, summary.rules),
        (10_000, 1_000, 4_000)
    );
    assert_eq!(
        (summary.rules_with_nets, summary.rules_with_named_ports),
        (400, 400)
    );
    assert_eq!(summary.selectors, 500);
    let bytes_of_pod = summary.pod_bytes / summary.pods;
    assert!((550..750).contains(&bytes_of_pod), "{bytes_of_pod}");
    let pods = objects.iter().filter_map(|object| match object {
        Object::Pod(pod) => Some(pod),
        _ => None,
    });
    let mut sets: BTreeMap<_, usize> = BTreeMap::new();
    let mut local = 0;
    for pod in pods {
        *sets.entry(pod.metadata.labels.clone()).or_default() += 1;
        local += usize::from(pod.node.as_deref() == Some(NODE));
        assert_eq!(pod.addresses.len(), 2);
    }
    assert_eq!((sets.len(), local), (100, 10));
}

#[test]
fn every_local_workload_is_selected_by_fifty_policies() {
    let (_, objects) = objects(&small());
    let mut counted = 0;
    let namespaces: BTreeMap<_, _> = objects
        .iter()
        .filter_map(|object| match object {
            Object::Namespace(n) => Some((n.metadata.name.clone(), n.metadata.labels.clone())),
            _ => None,
        })
        .collect();
    for object in &objects {
        let Object::Pod(pod) = object else { continue };
        if pod.node.as_deref() != Some(NODE) {
            continue;
        }
        counted += 1;
        let namespace = pod.metadata.namespace.as_ref().unwrap();
        let selects = |policy: &&Object| match policy {
            Object::NetworkPolicy(policy) => {
                policy.metadata.namespace.as_ref() == Some(namespace)
                    && policy
                        .pod_selector
                        .as_ref()
                        .unwrap()
                        .matches(&pod.metadata.labels)
            }
            Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy) => {
                let Subject::Selectors {
                    selector,
                    namespace_selector,
                    ..
                } = &policy.subject
                else {
                    return false;
                };
                let of_namespace =
                    |selector: &ocicat_selector::Selector| selector.matches(&namespaces[namespace]);
                policy
                    .metadata
                    .namespace
                    .as_ref()
                    .is_none_or(|n| n == namespace)
                    && selector.matches(&pod.metadata.labels)
                    && namespace_selector.as_ref().is_none_or(of_namespace)
            }
            _ => false,
        };
        assert_eq!(
            objects.iter().filter(selects).count(),
            50,
            "{}",
            pod.metadata.name
        );
    }
    assert_eq!(counted, 10);
}

#[test]
fn the_seed_decides() {
    let text = |seed| {
        let mut bytes = Vec::new();
        write(
            &Size {
                seed,
                ..Size::default().divided(20)
            },
            &mut bytes,
        )
        .unwrap();
        bytes
    };
    assert!(text(1) == text(1));
    assert!(text(1) != text(2));
}
