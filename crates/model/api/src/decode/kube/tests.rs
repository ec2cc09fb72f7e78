use super::super::tests::{problems, yaml};
use super::*;
use crate::Object;
use crate::policy::StagedAction;

fn read(spec: &str) -> (NetworkPolicy, Vec<String>) {
    let decoded = yaml(&format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {{name: p, namespace: shop}}\nspec: {spec}\n"
    ));
    let found = problems(&decoded);
    let Some(Object::NetworkPolicy(policy)) = decoded.object else {
        panic!()
    };
    (policy, found)
}

fn ingress(rule: &str) -> (KubeRule, Vec<String>) {
    let (mut policy, found) = read(&format!("{{ingress: [{rule}]}}"));
    (policy.ingress.remove(0), found)
}

#[test]
fn a_whole_policy() {
    let (policy, found) = read(
        "
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    - namespaceSelector: {}
    - {podSelector: {}, namespaceSelector: {matchLabels: {a: b}}}
    ports:
    - {port: 80}
    - {port: dns, protocol: UDP}
    - {port: 8000, endPort: 8080, protocol: SCTP}
    - {protocol: TCP}
  egress:
  - {}",
    );
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(policy.pod_selector.unwrap().to_string(), "app == \"web\"");
    assert!(policy.types.ingress && policy.types.egress);
    let peers = policy.ingress[0].peers.as_deref().unwrap();
    assert!(matches!(&peers[0], KubePeer::IpBlock { except, .. } if except.len() == 1));
    assert!(matches!(
        &peers[1],
        KubePeer::Pods {
            namespace_selector: Some(ocicat_selector::Selector::All),
            pod_selector: None
        }
    ));
    let ports = policy.ingress[0].ports.as_deref().unwrap();
    assert_eq!(
        ports[0],
        KubePort {
            protocol: Protocol::TCP,
            port: Some(PortSpec::single(80))
        }
    );
    assert_eq!(ports[1].port, Some(PortSpec::Name("dns".into())));
    assert_eq!(
        ports[2].port,
        Some(PortSpec::Range {
            first: 8000,
            last: 8080
        })
    );
    assert_eq!(ports[3].port, None);
    assert_eq!(
        (&policy.egress[0].peers, &policy.egress[0].ports),
        (&None, &None)
    );
}

#[test]
fn types_by_default() {
    let types = |spec: &str| {
        let types = read(spec).0.types;
        (types.ingress, types.egress)
    };
    assert_eq!(types("{podSelector: {}}"), (true, false));
    assert_eq!(types("{egress: []}"), (true, false));
    assert_eq!(types("{egress: [{}]}"), (true, true));
    assert_eq!(types("{policyTypes: [Egress]}"), (false, true));
    assert_eq!(types("{policyTypes: [Egres]}"), (true, true));
    assert_eq!(types("{egres: [{}]}"), (true, true));
}

#[test]
fn a_policy_that_selects_nobody_knows_whom_closes_its_namespace() {
    assert_eq!(
        read("{}").0.pod_selector,
        Some(ocicat_selector::Selector::All)
    );
    for spec in [
        "{podSelector: {matchLabel: {}}}",
        "{podSelector: []}",
        "{podSelecter: {}}",
        "[]",
        "{podSelector: {matchExpressions: [{key: a, operator: Equals, values: [b]}]}}",
    ] {
        let (policy, found) = read(spec);
        assert_eq!(policy.pod_selector, None, "{spec}");
        assert!(!found.is_empty(), "{spec}");
    }
}

#[test]
fn empty_lists_mean_all() {
    let (rule, found) = ingress("{from: [], ports: []}");
    assert_eq!((rule.peers, rule.ports, found.len()), (None, None, 0));
    let (rule, _) = ingress("{from: null}");
    assert_eq!(rule.peers, None);
}

#[test]
fn what_cannot_be_read_never_widens() {
    for (rule, part) in [
        ("{from: [{}]}", "from[0]: an empty peer"),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}",
            "ipBlock.cidr: 10.0.0.0/33: prefix length",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.1}}]}",
            "expected a CIDR, with '/'",
        ),
        ("{from: [{ipBlock: {}}]}", "missing cidr"),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}",
            "except[0]: 11.0.0.0/16: expected a part of 10.0.0.0/8",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}",
            "and not all",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}",
            "expected ipBlock alone",
        ),
        (
            "{from: [{podSelector: {matchLabels: {a: 1}}}]}",
            "put it in quotes",
        ),
        (
            "{from: [{podSelector: {}, nodeSelector: {}}]}",
            "unknown field \"nodeSelector\"",
        ),
        (
            "{from: {podSelector: {}}}",
            "from: a mapping: expected a list",
        ),
        ("{to: [{podSelector: {}}]}", "to: unknown field \"to\""),
        ("{form: []}", "did you mean \"from\"?"),
        ("x", "expected a mapping"),
    ] {
        let (read, found) = ingress(rule);
        assert!(
            found.iter().any(|text| text.contains(part)),
            "{rule}: {found:?}"
        );
        assert_eq!(read.peers, Some(vec![]), "{rule}");
        assert!(!read.unreadable.is_empty());
    }
}

#[test]
fn ports_that_cannot_be_read_never_widen() {
    for (port, part) in [
        ("{port: 0}", "port: 0: expected 1-65535"),
        ("{port: 70000}", "expected 1-65535"),
        ("{port: '80'}", "expected a port 1-65535, or a port's name"),
        ("{port: HTTP}", "port's name"),
        (
            "{protocol: tcp}",
            "protocol: \"tcp\": expected TCP, UDP or SCTP",
        ),
        (
            "{port: 80, endPort: 79}",
            "endPort 79: expected at least port, 80",
        ),
        ("{endPort: 79}", "expected only beside a port"),
        ("{port: http, endPort: 79}", "expected only beside a port"),
        ("{ports: 80}", "unknown field"),
    ] {
        let (read, found) = ingress(&format!(
            "{{from: [{{podSelector: {{}}}}], ports: [{port}]}}"
        ));
        assert!(
            found.iter().any(|text| text.contains(part)),
            "{port}: {found:?}"
        );
        assert_eq!(read.ports, Some(vec![]), "{port}");
        assert_eq!(read.peers.map(|peers| peers.len()), Some(1));
    }
}

#[test]
fn all_mistakes_of_a_rule_are_said() {
    let (rule, found) = ingress(
        "{form: [], from: [{ipBlock: {cdr: x, cidr: 10.0.0.0/33}}, {podSelectr: {}, podSelector: []}],
          ports: [{prt: 1, port: 0, protocol: tcp}]}",
    );
    assert_eq!(found.len(), 8, "{found:?}");
    assert_eq!((rule.peers, rule.ports), (Some(vec![]), None));
}

#[test]
fn staged_policies() {
    let staged = |spec: &str| {
        let decoded = yaml(&format!(
            "apiVersion: projectcalico.org/v3\nkind: StagedKubernetesNetworkPolicy\n\
             metadata: {{name: p, namespace: shop}}\nspec: {spec}\n"
        ));
        let found = problems(&decoded);
        match decoded.object {
            Some(Object::StagedKubernetesNetworkPolicy(staged)) => (staged, found),
            other => panic!("{other:?}"),
        }
    };
    let (read, found) = staged("{podSelector: {}, ingress: [{}], stagedAction: Delete}");
    assert_eq!((read.action, found.len()), (StagedAction::Delete, 0));
    assert_eq!(read.policy.ingress.len(), 1);
    assert_eq!(staged("{}").0.action, StagedAction::Set);
    let (read, found) = staged("{stagedAction: set, podSelectr: {}}");
    assert_eq!(
        (read.action, read.policy.pod_selector),
        (StagedAction::Ignore, None)
    );
    assert_eq!(found.len(), 2, "{found:?}");
    let (_, found) = super::tests::read("{stagedAction: Set}");
    assert!(
        found[0].contains("stagedAction: unknown field"),
        "{found:?}"
    );
}

#[test]
fn the_rest_of_a_list_stays() {
    let (rule, _) = ingress("{from: [{}, {podSelector: {}}], ports: [{port: 0}, {port: 80}]}");
    assert_eq!(rule.peers.map(|peers| peers.len()), Some(1));
    assert_eq!(rule.ports.map(|ports| ports.len()), Some(1));
    assert_eq!(rule.unreadable.len(), 2);
    let (policy, found) = read("{ingress: {}, egress: [{}]}");
    assert_eq!(found.len(), 1);
    assert_eq!(policy.ingress[0].peers, Some(vec![]));
}
