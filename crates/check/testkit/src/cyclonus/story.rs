//! A case as it is told: who is there, what happens, and what is asked in between.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ocicat_api::{Kind, ObjectKey};
use ocicat_oracle::{Packet, Verdict};

use super::describe::{Cast, Labels, Pod, Policy, Sent, Side, is_allowed};
use super::manifest;
use crate::{Change, Query, Scenario, Step};

/// Both families.
const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];
const PROTOCOLS: [(&str, u8); 3] = [("TCP", 6), ("UDP", 17), ("SCTP", 132)];
/// Pods of which one is an end of every packet, so that a case is not larger than it says.
const FOCUS: [(&str, &str); 3] = [("x", "a"), ("y", "b"), ("z", "c")];

pub struct Story {
    cast: Cast,
    policies: BTreeMap<(String, String), Policy>,
    scenario: Scenario,
}

impl Story {
    /// Namespaces x, y and z with label `ns`, in each pods a, b and c with label `pod`.
    pub fn new(title: &str) -> Self {
        let mut story = Self {
            cast: Cast::default(),
            policies: BTreeMap::new(),
            scenario: Scenario {
                title: format!("Restates cyclonus: {title}"),
                steps: Vec::new(),
            },
        };
        for namespace in ["x", "y", "z"] {
            story.put_namespace(namespace, &[("ns", namespace)]);
            for pod in ["a", "b", "c"] {
                story.put_pod(namespace, pod, &[("pod", pod)]);
            }
        }
        story
    }

    pub fn put_namespace(&mut self, name: &str, labels: &[(&str, &str)]) {
        let labels = owned(labels);
        self.put(manifest::namespace(name, &labels));
        self.cast.namespaces.insert(name.to_owned(), labels);
    }

    /// With its pods.
    pub fn delete_namespace(&mut self, name: &str) {
        let gone = |pod: &&Pod| pod.namespace == name;
        let pods: Vec<Pod> = self.cast.pods.iter().filter(gone).cloned().collect();
        for pod in pods {
            self.delete_pod(name, &pod.name);
        }
        self.cast.namespaces.remove(name);
        self.delete(Kind::Namespace, None, name);
    }

    /// A new pod, or another set of labels. Its addresses follow from its names.
    pub fn put_pod(&mut self, namespace: &str, name: &str, labels: &[(&str, &str)]) {
        let number = |text: &str| text.bytes().fold(0, u8::wrapping_add);
        let (space, place) = (
            number(namespace).wrapping_sub(b'w'),
            number(name).wrapping_sub(b'`'),
        );
        let six = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, space.into(), place.into());
        let pod = Pod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: owned(labels),
            addresses: [[10, 0, space, place].into(), six.into()],
        };
        self.put(manifest::pod(&pod));
        let same = |other: &Pod| other.namespace == namespace && other.name == name;
        self.cast.pods.retain(|other| !same(other));
        self.cast.pods.push(pod);
    }

    pub fn delete_pod(&mut self, namespace: &str, name: &str) {
        let same = |other: &Pod| other.namespace == namespace && other.name == name;
        self.cast.pods.retain(|other| !same(other));
        self.delete(Kind::Pod, Some(namespace), name);
    }

    pub fn put_policy(&mut self, policy: Policy) {
        self.put(manifest::policy(&policy));
        let key = (policy.namespace.clone(), policy.name.clone());
        self.policies.insert(key, policy);
    }

    pub fn delete_policy(&mut self, namespace: &str, name: &str) {
        self.policies
            .remove(&(namespace.to_owned(), name.to_owned()));
        self.delete(Kind::NetworkPolicy, Some(namespace), name);
    }

    /// Asks in both families, of three protocols and two ports, from and to everybody.
    pub fn ask(&mut self) {
        for family in [0, 1] {
            let outside = Side {
                address: OUTSIDE[family],
                pod: None,
            };
            let pods = self.cast.pods.iter().map(|pod| Side {
                address: pod.addresses[family],
                pod: Some(pod),
            });
            let sides: Vec<Side<'_>> = pods.chain([outside]).collect();
            for source in &sides {
                for destination in &sides {
                    let is_pair = source.address != destination.address;
                    if is_pair && (in_focus(source) || in_focus(destination)) {
                        let queries = self.queries(*source, *destination);
                        self.scenario.steps.extend(queries.map(Step::Query));
                    }
                }
            }
        }
    }

    pub fn done(self) -> Scenario {
        self.scenario
    }

    fn queries<'s>(
        &'s self,
        source: Side<'s>,
        destination: Side<'s>,
    ) -> impl Iterator<Item = Query> + use<> {
        let mut queries = Vec::new();
        for (protocol, number) in PROTOCOLS {
            for port in [80, 81] {
                let sent = Sent { protocol, port };
                let policies = self.policies.values();
                let allowed = is_allowed(&self.cast, policies, source, destination, sent);
                let expected = if allowed {
                    Verdict::Allow
                } else {
                    Verdict::Deny
                };
                let (from, to) = (source.address, destination.address);
                let packet = Packet::with_ports(from, to, number, 40_000, port);
                queries.push(Query::of(&packet, expected, ""));
            }
        }
        queries.into_iter()
    }

    fn put(&mut self, object: ocicat_api::Object) {
        self.scenario.steps.push(Step::Change(Change::Put(object)));
    }

    fn delete(&mut self, kind: Kind, namespace: Option<&str>, name: &str) {
        let key = ObjectKey {
            kind,
            namespace: namespace.map(Into::into),
            name: name.into(),
        };
        self.scenario.steps.push(Step::Change(Change::Delete(key)));
    }
}

fn in_focus(side: &Side<'_>) -> bool {
    side.pod
        .is_some_and(|pod| FOCUS.contains(&(&pod.namespace, &pod.name)))
}

fn owned(labels: &[(&str, &str)]) -> Labels {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    labels.iter().map(own).collect()
}
