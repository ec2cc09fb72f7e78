//! Policies: whom each selects, and its four rules.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use ocicat_testkit::Random;
use serde_json::{Map, Value, json};

use super::selectors::{self, Conjunction};
use super::{EACH_ALL, EACH_COMPONENT, EACH_LOCAL, EACH_NAMESPACE, Size, labels, pods};

const RULES: usize = 4;
const PORTS: [u16; 24] = [
    80, 443, 8080, 8081, 8443, 9090, 9093, 5432, 3306, 6379, 9092, 2379, 53, 123, 25, 587, 389,
    636, 8000, 8500, 9200, 27_017, 11_211, 50_051,
];
const PORT_NAMES: [&str; 3] = ["http", "metrics", "grpc"];

/// Where a policy stands and whom it selects.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// Every workload.
    All(usize),
    /// Every workload of a component.
    Component(usize, usize),
    /// Every workload of a namespace.
    Namespace(usize, usize),
    /// A workload of a namespace.
    Workload {
        namespace: usize,
        workload: usize,
        number: usize,
    },
    /// An app's component in the last quarter of the namespaces, where no workload is local.
    Elsewhere { label_set: usize, number: usize },
}

/// The places of all policies.
pub(super) fn places(size: &Size) -> Vec<Place> {
    let mut places: Vec<Place> = (0..EACH_ALL).map(Place::All).collect();
    for component in 0..labels::COMPONENTS.len() {
        places.extend((0..EACH_COMPONENT).map(|n| Place::Component(component, n)));
    }
    for namespace in 0..size.namespaces {
        places.extend((0..EACH_NAMESPACE).map(|n| Place::Namespace(namespace, n)));
    }
    for local in 0..size.locals {
        let (namespace, workload) = size.local(local);
        places.extend((0..EACH_LOCAL).map(|number| Place::Workload {
            namespace,
            workload,
            number,
        }));
    }
    let each = size.workloads_of_namespace();
    for number in 0..size.policies.saturating_sub(places.len()) {
        places.push(match number % 3 {
            0 => Place::Elsewhere {
                label_set: number % size.label_sets,
                number,
            },
            _ => {
                let others = size.namespaces - size.local_namespaces();
                let namespace = size.local_namespaces() + number % others;
                Place::Workload {
                    namespace,
                    workload: number / others % each,
                    number: EACH_LOCAL + number,
                }
            }
        });
    }
    places
}

/// What the rules hold so far.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) rules: usize,
    pub(super) with_nets: usize,
    pub(super) with_named_ports: usize,
    pub(super) selectors: BTreeSet<Conjunction>,
}

/// Makes policies; each is different.
pub(super) struct Policies {
    size: Size,
    random: Random,
    pool: Vec<Conjunction>,
    namespaces: Vec<Conjunction>,
    next: usize,
    next_namespaces: usize,
    counted: Counted,
}

/// The far side of a rule.
enum Far {
    Nets(Vec<IpNet>),
    Selected {
        namespaces: Option<Conjunction>,
        pods: Option<Conjunction>,
    },
}

struct Ports {
    protocol: &'static str,
    list: Vec<Value>,
}

impl Policies {
    pub(super) fn new(size: &Size, mut random: Random) -> Self {
        let namespaces = selectors::of_namespaces(size.selectors / 2);
        let pool = selectors::of_pods(size, size.selectors - namespaces.len(), &mut random);
        Self {
            size: *size,
            random,
            pool,
            namespaces,
            next: 0,
            next_namespaces: 0,
            counted: Counted::default(),
        }
    }

    pub(super) fn counted(&self) -> &Counted {
        &self.counted
    }

    pub(super) fn policy(&mut self, place: &Place) -> Value {
        match *place {
            Place::All(number) => {
                let all = selectors::everything();
                self.global(&format!("all-{number}"), "security", number, &all, None)
            }
            Place::Component(component, number) => {
                let name = format!("component-{}-{number}", labels::COMPONENTS[component]);
                let subject = self.note(selectors::of_component(component));
                self.global(&name, "platform", number, &subject, None)
            }
            Place::Namespace(namespace, number) => {
                let all = selectors::everything();
                self.namespaced(&format!("namespace-{number}"), namespace, number, &all)
            }
            Place::Workload {
                namespace,
                workload,
                number,
            } => {
                let label_set = self.size.label_set_of(namespace, workload);
                let subject = self.note(selectors::workload(label_set));
                self.namespaced(
                    &format!("workload-{workload}-{number}"),
                    namespace,
                    number,
                    &subject,
                )
            }
            Place::Elsewhere { label_set, number } => {
                let last = labels::ENVIRONMENTS[labels::ENVIRONMENTS.len() - 1];
                let scope = self.note(selectors::of_environment(last));
                let subject = self.note(selectors::workload(label_set));
                let name = format!("elsewhere-{number}");
                self.global(&name, "platform", number, &subject, Some(&scope))
            }
        }
    }

    fn global(
        &mut self,
        name: &str,
        tier: &str,
        order: usize,
        subject: &Conjunction,
        scope: Option<&Conjunction>,
    ) -> Value {
        let mut policy = json!({
            "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
            "metadata": {"name": name, "uid": format!("policy-{name}"), "resourceVersion": "7"},
            "spec": {"tier": tier, "order": order, "selector": subject.text()},
        });
        if let Some(scope) = scope {
            policy["spec"]["namespaceSelector"] = scope.text().into();
        }
        self.calico_rules(&mut policy, None, 2);
        policy
    }

    fn namespaced(
        &mut self,
        name: &str,
        namespace: usize,
        number: usize,
        subject: &Conjunction,
    ) -> Value {
        let ingress = match self.random.below(20) {
            0..10 => 2,
            10..17 => 4,
            _ => 0,
        };
        if number.is_multiple_of(2) {
            return self.kubernetes(name, namespace, subject, ingress);
        }
        let mut policy = json!({
            "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {
                "name": name, "namespace": labels::namespace_name(namespace),
                "uid": format!("policy-{namespace}-{name}"), "resourceVersion": "7",
            },
            "spec": {"order": 10 * number, "selector": subject.text()},
        });
        self.calico_rules(&mut policy, Some(namespace), ingress);
        policy
    }

    fn calico_rules(&mut self, policy: &mut Value, namespace: Option<usize>, ingress: usize) {
        let mut types = Vec::new();
        for (name, kind, count) in [
            ("ingress", "Ingress", ingress),
            ("egress", "Egress", RULES - ingress),
        ] {
            if count > 0 {
                types.push(kind);
                let rules: Vec<Value> = (0..count)
                    .map(|_| self.calico_rule(name, namespace))
                    .collect();
                policy["spec"][name] = rules.into();
            }
        }
        policy["spec"]["types"] = types.into();
    }

    fn calico_rule(&mut self, direction: &str, namespace: Option<usize>) -> Value {
        let (far, ports) = self.parts(namespace);
        let action = self
            .random
            .weighted(&[(80, "Allow"), (10, "Deny"), (5, "Pass"), (5, "Log")]);
        let mut rule = json!({"action": action, "protocol": ports.protocol});
        let mut entity = Map::new();
        match far {
            Far::Nets(nets) => {
                entity.insert("nets".to_owned(), json!(nets));
            }
            Far::Selected { namespaces, pods } => {
                for (name, selector) in [("namespaceSelector", namespaces), ("selector", pods)] {
                    entity.extend(selector.map(|s| (name.to_owned(), s.text().into())));
                }
            }
        }
        if direction == "ingress" {
            rule["source"] = entity.into();
            rule["destination"] = json!({"ports": ports.list});
        } else {
            entity.insert("ports".to_owned(), ports.list.into());
            rule["destination"] = entity.into();
        }
        rule
    }

    fn kubernetes(
        &mut self,
        name: &str,
        namespace: usize,
        subject: &Conjunction,
        ingress: usize,
    ) -> Value {
        let mut spec = json!({"podSelector": subject.label_selector()});
        let mut types = Vec::new();
        let directions = [
            ("ingress", "from", "Ingress", ingress),
            ("egress", "to", "Egress", RULES - ingress),
        ];
        for (field, peers, kind, count) in directions {
            if count > 0 {
                types.push(kind);
                let rules = (0..count).map(|_| {
                    let (peer, ports) = self.kubernetes_parts(namespace);
                    json!({peers: peer, "ports": ports})
                });
                spec[field] = rules.collect::<Vec<_>>().into();
            }
        }
        spec["policyTypes"] = types.into();
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {
                "name": name, "namespace": labels::namespace_name(namespace),
                "uid": format!("policy-{namespace}-{name}"), "resourceVersion": "7",
            },
            "spec": spec,
        })
    }

    fn kubernetes_parts(&mut self, namespace: usize) -> (Vec<Value>, Vec<Value>) {
        let (far, ports) = self.parts(Some(namespace));
        let peers = match far {
            Far::Nets(nets) => nets
                .iter()
                .map(|net| json!({"ipBlock": {"cidr": net}}))
                .collect(),
            Far::Selected { namespaces, pods } => {
                let mut peer = Map::new();
                for (name, selector) in [("namespaceSelector", namespaces), ("podSelector", pods)] {
                    peer.extend(selector.map(|s| (name.to_owned(), s.label_selector())));
                }
                vec![peer.into()]
            }
        };
        let ports = ports.list.into_iter().map(|port| {
            let range = port.as_str().and_then(|text| text.split_once(':'));
            let range =
                range.and_then(|(a, b)| Some((a.parse::<u16>().ok()?, b.parse::<u16>().ok()?)));
            match range {
                Some((first, last)) => {
                    json!({"protocol": ports.protocol, "port": first, "endPort": last})
                }
                None => json!({"protocol": ports.protocol, "port": port}),
            }
        });
        (peers, ports.collect())
    }

    /// A tenth of the rules have CIDRs, another tenth named ports.
    fn parts(&mut self, namespace: Option<usize>) -> (Far, Ports) {
        let number = self.counted.rules % 10;
        self.counted.rules += 1;
        if number == 3 {
            self.counted.with_nets += 1;
            return (Far::Nets(self.nets()), self.ports());
        }
        let far = self.selected(namespace);
        if number == 7 {
            self.counted.with_named_ports += 1;
            let name = self.random.pick(&PORT_NAMES);
            return (
                far,
                Ports {
                    protocol: "TCP",
                    list: vec![name.into()],
                },
            );
        }
        (far, self.ports())
    }

    /// In a namespaced policy nearly half of the rules look into their own namespace; the others name
    /// namespaces by label.
    fn selected(&mut self, namespace: Option<usize>) -> Far {
        let Some(namespace) = namespace else {
            return Far::Selected {
                namespaces: None,
                pods: Some(self.of_pool()),
            };
        };
        match self.random.below(20) {
            0..9 => {
                let workload = self.random.below(self.size.workloads_of_namespace());
                let label_set = self.size.label_set_of(namespace, workload);
                let pods = match self.random.below(3) {
                    0 => selectors::of_app(label_set),
                    1 => selectors::of_component(label_set),
                    _ => selectors::workload(label_set),
                };
                Far::Selected {
                    namespaces: None,
                    pods: Some(self.note(pods)),
                }
            }
            9..16 => {
                let namespaces = match self.random.below(3) {
                    0 => selectors::everything(),
                    _ => self.of_namespaces(),
                };
                Far::Selected {
                    namespaces: Some(namespaces),
                    pods: Some(self.of_pool()),
                }
            }
            _ => Far::Selected {
                namespaces: Some(self.of_namespaces()),
                pods: None,
            },
        }
    }

    fn of_pool(&mut self) -> Conjunction {
        self.next += 1;
        let selector = self.pool[self.next % self.pool.len()].clone();
        self.note(selector)
    }

    fn of_namespaces(&mut self) -> Conjunction {
        self.next_namespaces += 1;
        let selector = self.namespaces[self.next_namespaces % self.namespaces.len()].clone();
        self.note(selector)
    }

    fn note(&mut self, selector: Conjunction) -> Conjunction {
        self.counted.selectors.insert(selector.clone());
        selector
    }

    fn ports(&mut self) -> Ports {
        let protocol = self.random.weighted(&[(85, "TCP"), (15, "UDP")]);
        let random = &mut self.random;
        let ports: BTreeSet<u16> = random
            .several(1, 3, |r| r.pick(&PORTS))
            .into_iter()
            .collect();
        let mut list: Vec<Value> = ports.into_iter().map(Value::from).collect();
        if random.chance(10) {
            let first = 30_000 + 100 * random.below(20);
            list.push(format!("{first}:{}", first + random.pick(&[9, 99, 999])).into());
        }
        Ports { protocol, list }
    }

    /// One to three networks of one family, one in ten of them the pool of all pods.
    fn nets(&mut self) -> Vec<IpNet> {
        let random = &mut self.random;
        let six = random.chance(25);
        let pool = if six { pods::POOL6 } else { pods::POOL4 };
        let nets: BTreeSet<IpNet> = random
            .several(1, 3, |random| match random.below(10) {
                0 => pool.parse().expect("a network"),
                _ if six => {
                    let bits = (0x2001_0db8_u128 << 96) | (u128::from(random.bits()) << 32);
                    let length = random.pick(&[48, 56, 64]);
                    network(Ipv6Addr::from_bits(bits).into(), length)
                }
                _ => {
                    let bits = 0x1400_0000 | u32::try_from(random.below(1 << 26)).unwrap_or(0);
                    let length = random.pick(&[16, 20, 24, 24, 28, 32]);
                    network(Ipv4Addr::from_bits(bits).into(), length)
                }
            })
            .into_iter()
            .collect();
        nets.into_iter().collect()
    }
}

fn network(address: IpAddr, length: u8) -> IpNet {
    IpNet::new(address, length)
        .expect("no longer than the family's addresses")
        .trunc()
}
