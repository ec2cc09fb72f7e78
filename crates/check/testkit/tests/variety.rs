//! Random worlds and packets reach every corner of the semantics, and often enough.

use std::collections::BTreeMap;

use ocicat_api::policy::{ClusterProtocol, ClusterRule, KubeRule};
use ocicat_api::rule::Rule;
use ocicat_api::{Object, PortSpec};
use ocicat_oracle::{
    Census, Decider, Direction, Judgement, Packet, PolicyKind, RuleName, Stage, Verdict, World,
};
use ocicat_testkit::{Random, Targets, random_world};

#[derive(Default)]
struct Seen {
    features: BTreeMap<String, usize>,
    judgements: usize,
}

impl Seen {
    fn add(&mut self, name: impl Into<String>) {
        *self.features.entry(name.into()).or_default() += 1;
    }

    fn judgement(&mut self, world: &World, judgement: &Judgement, packet: &Packet) {
        self.judgements += 1;
        for name in features(judgement) {
            self.add(name);
        }
        if let Decider::Rule(rule) | Decider::Undetermined(rule) = &judgement.decider {
            let is_known = matches!(judgement.decider, Decider::Rule(_));
            for name in asked(world, rule, packet) {
                let word = if is_known { "" } else { "undetermined " };
                self.add(format!("{word}{name}"));
            }
        }
    }

    fn expect(&self, wanted: &[&str]) {
        println!("of {}: {:#?}", self.judgements, self.features);
        for name in wanted {
            let times = self.features.get(*name).copied().unwrap_or(0);
            assert!(
                times >= 20,
                "{name}: {times} times in {} judgements",
                self.judgements
            );
        }
    }
}

#[test]
fn every_kind_of_judgement_happens() {
    let mut seen = Seen::default();
    try_packets(3, (800, 150), |world, census, packet| {
        let both = census.verdict(packet);
        for (_, judgement) in both.egress.iter().chain(&both.ingress) {
            seen.judgement(world, judgement, packet);
        }
        if census.is_unclaimed(packet.source) || census.is_unclaimed(packet.destination) {
            seen.add("unclaimed");
        }
    });
    seen.expect(&[
        "Allow",
        "Deny",
        "rule of a GlobalNetworkPolicy",
        "rule of a CalicoNetworkPolicy",
        "rule of a NetworkPolicy",
        "rule of a ClusterNetworkPolicy",
        "rule of a Profile",
        "rule of a later index",
        "undetermined rule",
        "undetermined rule of a profile",
        "undetermined rule of a ClusterNetworkPolicy",
        "end of tier default",
        "end of tier alpha",
        "end of tier gone",
        "unreadable CalicoNetworkPolicy",
        "unreadable NetworkPolicy",
        "missing profile",
        "end of profiles",
        "passed one",
        "passed more",
        "passed a profile",
        "logged one",
        "logged more",
        "unclaimed",
        "services of a source",
        "services of a destination",
        "undetermined services of a source",
        "undetermined services of a destination",
        "nodes",
        "networks",
        "destinationNamedPort",
        "named port",
        "namespaces of a cluster rule",
        "pods of a cluster rule",
        "unreadable part",
        "protocol of ICMP",
        "protocol of ICMPv6",
        "protocol of SCTP",
        "protocol of UDPLite",
        "protocol of another number",
        "type and code",
    ]);
    let of = |name: &str| seen.features.get(name).copied().unwrap_or(0);
    for name in ["Allow", "Deny"] {
        assert!(
            of(name) * 5 > seen.judgements,
            "{name}: {} of {}",
            of(name),
            seen.judgements
        );
    }
    for tier in ["kube-admin", "kube-baseline"] {
        assert_eq!(of(&format!("end of tier {tier}")), 0, "its default is Pass");
    }
}

#[test]
fn every_stage_of_a_host_endpoint_judges() {
    let mut seen = Seen::default();
    try_packets(4, (500, 40), |world, census, packet| {
        for host in &census.hosts {
            for stage in Stage::ALL {
                for direction in [Direction::Ingress, Direction::Egress] {
                    let judgement = census.judge_stage(host, stage, direction, packet);
                    let Some(judgement) = judgement else {
                        seen.add(format!("{stage:?} {direction}: absent"));
                        continue;
                    };
                    seen.judgement(world, &judgement, packet);
                    for name in features(&judgement) {
                        seen.add(format!("{stage:?} {direction}: {name}"));
                    }
                    let near = match direction {
                        Direction::Ingress => packet.destination,
                        Direction::Egress => packet.source,
                    };
                    if census.is_unclaimed(near)
                        && matches!(judgement.decider, Decider::Undetermined(_))
                    {
                        seen.add("undetermined with an unclaimed near address");
                    }
                }
            }
        }
        for address in [packet.source, packet.destination] {
            let hosts = census.hosts_at(address).count();
            if hosts > 1 {
                seen.add("an address of two host endpoints");
            }
            if hosts > 0 && census.endpoints_at(address).next().is_some() {
                seen.add("an address of a host endpoint and a workload");
            }
        }
    });
    let mut wanted = vec![
        "Untracked ingress: end of stage".to_owned(),
        "PreDnat ingress: end of stage".to_owned(),
        "Forward ingress: end of tier default".to_owned(),
        "Forward egress: end of profiles".to_owned(),
        "Local ingress: missing profile".to_owned(),
        "Local egress: rule of a Profile".to_owned(),
        "undetermined with an unclaimed near address".to_owned(),
        "an address of two host endpoints".to_owned(),
        "an address of a host endpoint and a workload".to_owned(),
        "PreDnat egress: absent".to_owned(),
    ];
    for post in [
        "Untracked ingress",
        "Untracked egress",
        "PreDnat ingress",
        "Forward ingress",
        "Forward egress",
    ] {
        for name in ["Allow", "Deny", "absent", "undetermined rule"] {
            wanted.push(format!("{post}: {name}"));
        }
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    seen.expect(&wanted);
    for post in ["PreDnat egress: Allow", "Local ingress: absent"] {
        assert_eq!(seen.features.get(post), None, "{post}");
    }
}

#[test]
fn what_is_staged_decides() {
    let mut seen = Seen::default();
    try_packets(5, (150, 60), |world, census, packet| {
        let pending = world.pending();
        let would = Census::new(&pending).verdict(packet);
        for (_, judgement) in would.egress.iter().chain(&would.ingress) {
            seen.judgement(&pending, judgement, packet);
        }
        match (census.verdict(packet).verdict, would.verdict) {
            (Verdict::Allow, Verdict::Deny) => seen.add("pending Deny"),
            (Verdict::Deny, Verdict::Allow) => seen.add("pending Allow"),
            _ => seen.add("the same"),
        }
    });
    seen.expect(&[
        "rule of a StagedNetworkPolicy",
        "rule of a StagedGlobalNetworkPolicy",
        "rule of a StagedKubernetesNetworkPolicy",
        "rule of a GlobalNetworkPolicy",
        "pending Allow",
        "pending Deny",
        "the same",
    ]);
}

/// `(worlds, packets)` of each.
fn try_packets(
    seed: u64,
    (worlds, packets): (usize, usize),
    mut look: impl FnMut(&World, &Census<'_>, &Packet),
) {
    let mut random = Random::new(seed);
    for _ in 0..worlds {
        let world = random_world(&mut random);
        let census = Census::new(&world);
        let targets = Targets::of(&world);
        for _ in 0..packets {
            look(&world, &census, &targets.packet(&mut random));
        }
    }
}

fn features(judgement: &Judgement) -> Vec<String> {
    let mut all = vec![format!("{:?}", judgement.verdict)];
    all.push(match &judgement.decider {
        Decider::Rule(rule) => format!("rule of a {:?}", rule.policy.kind),
        Decider::Undetermined(rule) => match rule.policy.kind {
            PolicyKind::Profile => "undetermined rule of a profile".to_owned(),
            PolicyKind::ClusterNetworkPolicy => {
                "undetermined rule of a ClusterNetworkPolicy".to_owned()
            }
            _ => "undetermined rule".to_owned(),
        },
        Decider::EndOfTier(tier) => format!("end of tier {tier}"),
        Decider::Unreadable(policy) => format!("unreadable {:?}", policy.kind),
        Decider::MissingProfile(_) => "missing profile".to_owned(),
        Decider::EndOfProfiles => "end of profiles".to_owned(),
        Decider::EndOfStage => "end of stage".to_owned(),
    });
    if matches!(&judgement.decider, Decider::Rule(rule) if rule.index > 1) {
        all.push("rule of a later index".to_owned());
    }
    for (word, rules) in [("passed", &judgement.passed), ("logged", &judgement.logged)] {
        match rules.len() {
            0 => {}
            1 => all.push(format!("{word} one")),
            _ => all.push(format!("{word} more")),
        }
        if rules
            .iter()
            .any(|rule| rule.policy.kind == PolicyKind::Profile)
        {
            all.push(format!("{word} a profile"));
        }
    }
    if judgement.verdict == Verdict::Allow {
        assert!(
            matches!(judgement.decider, Decider::Rule(_)),
            "only rules allow: {judgement}"
        );
    }
    all
}

/// What the rule that decided asks for, if an object has it.
fn asked(world: &World, name: &RuleName, packet: &Packet) -> Vec<String> {
    let is_rules = |object: &&Object| {
        let metadata = object.metadata();
        *metadata.name == *name.policy.name
            && metadata.namespace.as_deref() == name.policy.namespace.as_deref()
    };
    let mut all = Vec::new();
    for object in world.objects.values().filter(is_rules) {
        match (object, name.policy.kind) {
            (Object::CalicoNetworkPolicy(x), PolicyKind::CalicoNetworkPolicy)
            | (Object::GlobalNetworkPolicy(x), PolicyKind::GlobalNetworkPolicy) => {
                all.extend(asked_of(&x.ingress, &x.egress, name).map(|rule| calico(rule, packet)));
            }
            (Object::Profile(x), PolicyKind::Profile) => {
                all.extend(asked_of(&x.ingress, &x.egress, name).map(|rule| calico(rule, packet)));
            }
            (Object::NetworkPolicy(x), PolicyKind::NetworkPolicy) => {
                all.extend(asked_of(&x.ingress, &x.egress, name).map(kube));
            }
            (Object::ClusterNetworkPolicy(x), PolicyKind::ClusterNetworkPolicy) => {
                all.extend(asked_of(&x.ingress, &x.egress, name).map(cluster));
            }
            _ => {}
        }
    }
    all.into_iter().flatten().map(str::to_owned).collect()
}

fn asked_of<'r, R>(ingress: &'r [R], egress: &'r [R], name: &RuleName) -> Option<&'r R> {
    let rules = match name.direction {
        Direction::Ingress => ingress,
        Direction::Egress => egress,
    };
    rules.get(name.index)
}

fn calico(rule: &Rule, packet: &Packet) -> Vec<&'static str> {
    let mut all = Vec::new();
    if rule.source.service.is_some() {
        all.push("services of a source");
    }
    if rule.destination.service.is_some() {
        all.push("services of a destination");
    }
    if !rule.unreadable.is_empty() {
        all.push("unreadable part");
    }
    let is_name = |port: &PortSpec| matches!(port, PortSpec::Name(_));
    if rule
        .source
        .ports
        .iter()
        .chain(&rule.destination.ports)
        .any(is_name)
    {
        all.push("named port");
    }
    if rule.icmp.is_some_and(|icmp| icmp.code.is_some()) {
        all.push("type and code");
    }
    all.extend(rule.protocol.map(|_| match packet.protocol {
        1 => "protocol of ICMP",
        6 => "protocol of TCP",
        17 => "protocol of UDP",
        58 => "protocol of ICMPv6",
        132 => "protocol of SCTP",
        136 => "protocol of UDPLite",
        _ => "protocol of another number",
    }));
    all
}

fn kube(rule: &KubeRule) -> Vec<&'static str> {
    let is_name = |port: &PortSpec| matches!(port, PortSpec::Name(_));
    let mut ports = rule.ports.iter().flatten().filter_map(|x| x.port.as_ref());
    ports
        .any(is_name)
        .then_some("named port")
        .into_iter()
        .collect()
}

fn cluster(rule: &ClusterRule) -> Vec<&'static str> {
    use ocicat_api::policy::ClusterPeer;
    let mut all: Vec<&str> = (rule.peers.iter())
        .map(|peer| match peer {
            ClusterPeer::Namespaces(_) => "namespaces of a cluster rule",
            ClusterPeer::Pods { .. } => "pods of a cluster rule",
            ClusterPeer::Nodes(_) => "nodes",
            ClusterPeer::Networks(_) => "networks",
            ClusterPeer::Domains(_) => "domainNames",
        })
        .collect();
    let mut protocols = rule.protocols.iter().flatten();
    if protocols.any(|wanted| matches!(wanted, ClusterProtocol::Named(_))) {
        all.push("destinationNamedPort");
    }
    if !rule.unreadable.is_empty() {
        all.push("unreadable part");
    }
    all
}
