//! The families of cases that cyclonus generates, restated: targets, rules, peers, ports, actions,
//! conflicts, and the product of the first four.
//!
//! What is expected is worked out from the description of a case, and not by the oracle: see
//! `describe`. The cases are the same on every machine and in every run.

mod actions;
mod conflicts;
mod describe;
mod manifest;
mod story;

use describe::{Peer, Pick, Policy, Port, Rule, Spaces, Where};
use story::Story;

use crate::Scenario;

/// Which way a rule looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Ingress,
    Egress,
}

const WAYS: [Way; 2] = [Way::Ingress, Way::Egress];

/// All cases. The first line of a title says family and case:
/// `Restates cyclonus: ports, Ingress, UDP 81`.
///
/// # Panics
///
/// If a manifest made here does not decode, which a test would show.
#[must_use]
pub fn cyclonus() -> Vec<Scenario> {
    let families = [
        targets(),
        rules(),
        peers(),
        ports(),
        product(),
        actions::cases(),
        conflicts::cases(),
    ];
    families.into_iter().flatten().collect()
}

impl Way {
    /// A policy for `x/a` with these rules in this direction alone.
    fn policy(self, name: &str, rules: Vec<Rule>) -> Policy {
        let policy = Policy::new("x", name, Pick::Is("pod", "a"));
        self.with(policy, rules)
    }

    fn with(self, policy: Policy, rules: Vec<Rule>) -> Policy {
        match self {
            Self::Ingress => Policy {
                ingress: Some(rules),
                ..policy
            },
            Self::Egress => Policy {
                egress: Some(rules),
                ..policy
            },
        }
    }
}

/// One policy that allows little, for all targets.
fn targets() -> Vec<Scenario> {
    let selectors = [
        ("every pod", Pick::All),
        ("one label", Pick::Is("pod", "a")),
        ("an expression", Pick::In("pod", &["a", "b"])),
        ("all but one", Pick::NotIn("pod", &["a"])),
        ("nobody", Pick::Is("pod", "nobody")),
    ];
    let mut cases = Vec::new();
    for namespace in ["x", "y", "z"] {
        for (what, selector) in &selectors {
            let rule = || Rule {
                ports: vec![Port::number(80)],
                peers: vec![pods(Spaces::Of(Pick::In("ns", &["x", "y"])), Pick::All)],
            };
            let policy = Policy {
                ingress: Some(vec![rule()]),
                egress: Some(vec![rule()]),
                ..Policy::new(namespace, "target", selector.clone())
            };
            cases.push(single(&format!("targets, {what} of {namespace}"), policy));
        }
    }
    cases
}

fn rules() -> Vec<Scenario> {
    let lists: [(&str, Vec<Rule>); 4] = [
        ("none", vec![]),
        ("one of everything", vec![Rule::default()]),
        (
            "two",
            vec![
                Rule {
                    ports: vec![Port::number(80)],
                    peers: vec![],
                },
                Rule {
                    ports: vec![],
                    peers: vec![pods(Spaces::Own, Pick::Is("pod", "b"))],
                },
            ],
        ),
        (
            "one of everything and one",
            vec![
                Rule::default(),
                Rule {
                    ports: vec![Port::number(80)],
                    peers: vec![],
                },
            ],
        ),
    ];
    let of_way = |way: Way| {
        let case = move |(what, rules): (&str, Vec<Rule>)| {
            single(
                &format!("rules, {way:?}, {what}"),
                way.policy("rules", rules),
            )
        };
        lists.clone().into_iter().map(case)
    };
    WAYS.into_iter().flat_map(of_way).collect()
}

/// Each kind of peer by itself, and every two.
fn peers() -> Vec<Scenario> {
    let kinds = kinds_of_peers();
    let mut lists: Vec<(String, Vec<Peer>)> = vec![("none".to_owned(), vec![])];
    for (index, (what, one)) in kinds.iter().enumerate() {
        lists.push((what.clone(), one.clone()));
        for (other, two) in &kinds[..index] {
            let both = one.iter().chain(two).cloned().collect();
            lists.push((format!("{what} or {other}"), both));
        }
    }
    let of_way = |way: Way| {
        let case = move |(what, peers): &(String, Vec<Peer>)| {
            let rule = Rule {
                ports: vec![],
                peers: peers.clone(),
            };
            single(
                &format!("peers, {way:?}, {what}"),
                way.policy("peers", vec![rule]),
            )
        };
        lists.iter().map(case).collect::<Vec<_>>()
    };
    WAYS.into_iter().flat_map(of_way).collect()
}

/// Selectors of namespaces × selectors of pods, and blocks of addresses in both families.
fn kinds_of_peers() -> Vec<(String, Vec<Peer>)> {
    let spaces = [
        ("the own namespace", Spaces::Own),
        ("namespace y", Spaces::Of(Pick::Is("ns", "y"))),
        (
            "namespaces by expression",
            Spaces::Of(Pick::NotIn("ns", &["x"])),
        ),
        ("all namespaces", Spaces::Of(Pick::All)),
    ];
    let selectors = [
        ("all pods", Pick::All),
        ("pod c", Pick::Is("pod", "c")),
        ("pods by expression", Pick::In("pod", &["b", "c"])),
    ];
    let mut kinds = Vec::new();
    for (where_from, space) in &spaces {
        for (who, selector) in &selectors {
            let peer = pods(space.clone(), selector.clone());
            kinds.push((format!("{who} of {where_from}"), vec![peer]));
        }
    }
    let y = || {
        vec![
            Peer::block("10.0.2.0/24", &[]),
            Peer::block("fd00::2:0/112", &[]),
        ]
    };
    kinds.push(("a block".to_owned(), y()));
    kinds.push((
        "a block except one address".to_owned(),
        vec![
            Peer::block("10.0.0.0/16", &["10.0.2.2/32"]),
            Peer::block("fd00::/96", &["fd00::2:2/128"]),
        ],
    ));
    kinds
}

/// Each port entry by itself, and every two.
fn ports() -> Vec<Scenario> {
    let kinds = kinds_of_ports();
    let mut lists: Vec<Vec<Port>> = vec![vec![]];
    for (index, one) in kinds.iter().enumerate() {
        lists.push(vec![one.clone()]);
        let pairs = kinds[..index]
            .iter()
            .map(|two| vec![two.clone(), one.clone()]);
        lists.extend(pairs);
    }
    let of_way = |way: Way| {
        let case = move |ports: &Vec<Port>| {
            let rule = Rule {
                ports: ports.clone(),
                peers: vec![],
            };
            let what = names(ports);
            single(
                &format!("ports, {way:?}, {what}"),
                way.policy("ports", vec![rule]),
            )
        };
        lists.iter().map(case).collect::<Vec<_>>()
    };
    WAYS.into_iter().flat_map(of_way).collect()
}

/// No protocol, TCP, UDP, SCTP × no port, a number, a name, a range.
fn kinds_of_ports() -> Vec<Port> {
    let places = [
        Where::Any,
        Where::Number(81),
        Where::Named("serve-81-tcp"),
        Where::Named("serve-80-udp"),
        Where::Range(81, 90),
    ];
    let mut kinds = Vec::new();
    for protocol in [None, Some("TCP"), Some("UDP"), Some("SCTP")] {
        let of_protocol = places.iter().map(|place| Port {
            protocol,
            place: place.clone(),
        });
        kinds.extend(of_protocol);
    }
    kinds
}

/// Targets × directions × peers × ports.
fn product() -> Vec<Scenario> {
    let selectors = [
        ("every pod", Pick::All),
        ("pods by expression", Pick::In("pod", &["a", "b"])),
    ];
    let ports = [
        Port::number(80),
        Port::udp("serve-81-udp"),
        Port {
            protocol: Some("SCTP"),
            place: Where::Range(80, 81),
        },
    ];
    let mut cases = Vec::new();
    for (target, selector) in &selectors {
        for way in WAYS {
            for (who, peers) in kinds_of_peers() {
                for port in &ports {
                    let rule = Rule {
                        ports: vec![port.clone()],
                        peers: peers.clone(),
                    };
                    let policy = Policy::new("x", "product", selector.clone());
                    let policy = way.with(policy, vec![rule]);
                    let what = names(std::slice::from_ref(port));
                    cases.push(single(
                        &format!("product, {target}, {way:?}, {who}, {what}"),
                        policy,
                    ));
                }
            }
        }
    }
    cases
}

fn pods(spaces: Spaces, pods: Pick) -> Peer {
    Peer::Pods { spaces, pods }
}

fn names(ports: &[Port]) -> String {
    if ports.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = ports.iter().map(ToString::to_string).collect();
    names.join(" and ")
}

/// One policy, and all who are there.
fn single(title: &str, policy: Policy) -> Scenario {
    let mut story = Story::new(title);
    story.put_policy(policy);
    story.ask();
    story.done()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Step;

    #[test]
    fn cases_have_names_of_their_own_and_both_answers() {
        let cases = cyclonus();
        let names: BTreeSet<&str> = cases.iter().filter_map(Scenario::restates).collect();
        assert_eq!(names.len(), cases.len());
        let family = |case: &&str| {
            case.split([':', ','])
                .nth(1)
                .map(str::trim)
                .map(str::to_owned)
        };
        let families: BTreeSet<_> = names.iter().filter_map(family).collect();
        assert_eq!(families.len(), 7, "{families:?}");
        let allow = ocicat_oracle::Verdict::Allow.into();
        let (mut allowed, mut denied) = (0, 0);
        for step in cases.iter().flat_map(|case| &case.steps) {
            if let Step::Query(query) = step {
                *(if query.expected == allow {
                    &mut allowed
                } else {
                    &mut denied
                }) += 1;
            }
        }
        println!("{} cases, {allowed} allowed, {denied} denied", cases.len());
        assert!(allowed > 10_000 && denied > 10_000);
    }
}
