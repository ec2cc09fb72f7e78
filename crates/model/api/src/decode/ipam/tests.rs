use super::super::tests::{problems, yaml};
use crate::Object;

#[test]
fn pools() {
    let pool = |spec: &str| {
        let decoded = yaml(&format!(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: p}}\nspec: {spec}\n"
        ));
        let found = problems(&decoded).join("; ");
        match decoded.object {
            Some(Object::IpPool(pool)) => (Some((pool.cidr.to_string(), pool.block_size)), found),
            _ => (None, found),
        }
    };
    let read = |text: &str, size| Some((text.to_owned(), size));
    assert_eq!(
        pool("{cidr: 10.0.0.0/16}"),
        (read("10.0.0.0/16", 26), String::new())
    );
    assert_eq!(
        pool("{cidr: 'fd00::/64', blockSize: 124}"),
        (read("fd00::/64", 124), String::new())
    );
    for (spec, part) in [
        ("{}", "missing: expected a CIDR"),
        (
            "{cidr: 10.0.0.1/16}",
            "expected 10.0.0.0/16, without host bits",
        ),
        ("{cidr: 10.0.0.0/28}", "expected at least one block of /26"),
        ("{cidr: 10.0.0.0/8, blockSize: 19}", "19: expected 20-32"),
        ("{cidr: 169.254.3.0/24}", "no link-local"),
        (
            "{cidr: 10.0.0.0/8, ipipMode: Sometimes}",
            "expected Never or Always or CrossSubnet",
        ),
        (
            "{cidr: 10.0.0.0/8, natOutgoin: true}",
            "did you mean \"natOutgoing\"?",
        ),
        (
            "{cidr: 10.0.0.0/8, nodeSelector: 'x'}",
            "spec.nodeSelector: column 2",
        ),
    ] {
        assert!(pool(spec).1.contains(part), "{spec}: {}", pool(spec).1);
    }
}

#[test]
fn blocks() {
    let decoded = yaml(
        "
apiVersion: projectcalico.org/v3
kind: IPAMBlock
metadata: {name: 10-0-0-0-26}
spec:
  cidr: 10.0.0.0/26
  affinity: host:n1
  allocations: [null, 0, 1, 0, 9]
  attributes: [{handle_id: a}, {}]",
    );
    assert_eq!(problems(&decoded).len(), 1);
    let Some(Object::IpamBlock(block)) = decoded.object else {
        panic!()
    };
    assert_eq!(block.node.as_deref(), Some("n1"));
    let found: Vec<_> = block
        .allocations
        .iter()
        .map(|(n, handle)| (*n, &**handle))
        .collect();
    assert_eq!(found, [(1, "a"), (2, ""), (3, "a")]);
    // An owner that cannot be read does not shift the others.
    let decoded = yaml(
        "
apiVersion: projectcalico.org/v3
kind: IPAMBlock
metadata: {name: 10-0-0-0-26}
spec: {cidr: 10.0.0.0/26, allocations: [0, 1], attributes: [{handle_id: 5}, {handle_id: b}]}",
    );
    assert_eq!(problems(&decoded).len(), 1);
    let Some(Object::IpamBlock(block)) = decoded.object else {
        panic!()
    };
    assert_eq!(
        (&*block.allocations[&0], &*block.allocations[&1]),
        ("", "b")
    );
}
