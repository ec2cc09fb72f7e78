//! Random worlds and packets reach every corner of the semantics, and often enough.

use std::collections::BTreeMap;

use ocicat_oracle::{Census, Decider, Judgement, PolicyKind, Verdict};
use ocicat_testkit::{Random, Targets, random_world};

const WORLDS: usize = 200;
const PACKETS: usize = 200;

#[test]
fn every_kind_of_judgement_happens() {
    let mut random = Random::new(3);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut judgements = 0;
    for _ in 0..WORLDS {
        let world = random_world(&mut random);
        let census = Census::new(&world);
        let targets = Targets::of(&world);
        for _ in 0..PACKETS {
            let packet = targets.packet(&mut random);
            let both = census.verdict(&packet);
            for (_, judgement) in both.egress.iter().chain(&both.ingress) {
                judgements += 1;
                for name in features(judgement) {
                    *seen.entry(name).or_default() += 1;
                }
            }
            if census.is_unclaimed(packet.source) || census.is_unclaimed(packet.destination) {
                *seen.entry("unclaimed".to_owned()).or_default() += 1;
            }
        }
    }
    let wanted = [
        "Allow",
        "Deny",
        "rule of a GlobalNetworkPolicy",
        "rule of a CalicoNetworkPolicy",
        "rule of a NetworkPolicy",
        "rule of a Profile",
        "rule of a later index",
        "undetermined rule",
        "undetermined rule of a profile",
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
    ];
    println!("of {judgements}: {seen:#?}");
    for name in wanted {
        let times = seen.get(name).copied().unwrap_or(0);
        assert!(
            times >= 20,
            "{name}: {times} times in {judgements} judgements"
        );
    }
    for name in ["Allow", "Deny"] {
        assert!(
            seen[name] * 5 > judgements,
            "{name}: {} of {judgements}",
            seen[name]
        );
    }
    assert!(
        !seen.contains_key("end of tier kube-admin"),
        "its default action is Pass"
    );
}

fn features(judgement: &Judgement) -> Vec<String> {
    let mut all = vec![format!("{:?}", judgement.verdict)];
    all.push(match &judgement.decider {
        Decider::Rule(rule) => format!("rule of a {:?}", rule.policy.kind),
        Decider::Undetermined(rule) if rule.policy.kind == PolicyKind::Profile => {
            "undetermined rule of a profile".to_owned()
        }
        Decider::Undetermined(_) => "undetermined rule".to_owned(),
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
