//! A rule planted wrong on purpose, which must be noticed.

use ocicat_api::rule::Action;
use ocicat_api::{Kind, Object, ObjectKey};
use ocicat_oracle::{Census, Decider, Direction, Judgement, Packet, PolicyKind, RuleName, World};
use ocicat_testkit::{Post, Random, random_world};

use crate::compare::disagreement;
use crate::engine::{Host, from_scratch};
use crate::hosts;
use crate::trials::Trials;
use crate::worlds::packets;

/// Turns one rule that decides something the other way, and gives that world to the tables alone.
#[test]
fn a_rule_planted_wrong_is_noticed() {
    let planted = std::sync::atomic::AtomicUsize::new(0);
    Trials { seed: 1, count: 60 }.run(|seed| {
        let mut random = Random::new(seed);
        let world = random_world(&mut random);
        let packets = packets(&world, &mut random);
        let census = Census::new(&world);
        let Some((wrong, rule)) = plant(&census, &packets) else {
            return Ok(());
        };
        let state = from_scratch(&wrong, Host::Every);
        let ask = |packet: &Packet| disagreement(&census, Host::Every, &state, packet);
        let mut found = packets.iter().filter_map(ask);
        let noticed = found.any(|found| {
            let verdict = |judgement: Option<Judgement>| judgement.map(|x| x.verdict);
            found
                .tables
                .is_ok_and(|tables| verdict(tables) != verdict(found.oracle))
        });
        planted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if noticed {
            Ok(())
        } else {
            Err(format!("nobody noticed {rule}"))
        }
    });
    let planted = planted.into_inner();
    assert!(
        planted >= 30,
        "only {planted} worlds had a rule that decides"
    );
}

/// A world in which a rule that decides one of the packets decides the other way.
fn plant(census: &Census<'_>, packets: &[Packet]) -> Option<(World, RuleName)> {
    let judged = packets.iter().flat_map(|packet| {
        let both = census.verdict(packet);
        let of_workloads = both.egress.into_iter().chain(both.ingress);
        let of_hosts = census.hosts.iter().flat_map(|host| {
            let ask = |post: Post| census.judge_stage(host, post.stage, post.direction, packet);
            hosts::posts(host).filter_map(ask).collect::<Vec<_>>()
        });
        let of_hosts: Vec<Judgement> = of_hosts.collect();
        of_workloads.map(|(_, judgement)| judgement).chain(of_hosts)
    });
    let deciding = judged.filter_map(|judgement| match judgement.decider {
        Decider::Rule(rule) => Some(rule),
        _ => None,
    });
    for rule in deciding {
        let mut wrong = census.world.clone();
        let object = wrong.objects.get_mut(&key(&rule)?);
        // The profile of a namespace is no object; another rule may do.
        if let Some(action) = object.and_then(|object| action_of(object, &rule)) {
            *action = match action {
                Action::Allow => Action::Deny,
                _ => Action::Allow,
            };
            return Some((wrong, rule));
        }
    }
    None
}

fn key(rule: &RuleName) -> Option<ObjectKey> {
    let kind = match rule.policy.kind {
        PolicyKind::GlobalNetworkPolicy => Kind::GlobalNetworkPolicy,
        PolicyKind::CalicoNetworkPolicy => Kind::CalicoNetworkPolicy,
        PolicyKind::NetworkPolicy => Kind::NetworkPolicy,
        PolicyKind::Profile => Kind::Profile,
        PolicyKind::ClusterNetworkPolicy => Kind::ClusterNetworkPolicy,
        PolicyKind::StagedGlobalNetworkPolicy => Kind::StagedGlobalNetworkPolicy,
        PolicyKind::StagedNetworkPolicy => Kind::StagedNetworkPolicy,
        PolicyKind::StagedKubernetesNetworkPolicy => Kind::StagedKubernetesNetworkPolicy,
    };
    let namespace = rule.policy.namespace.as_deref().map(Into::into);
    Some(ObjectKey {
        kind,
        namespace,
        name: rule.policy.name.as_str().into(),
    })
}

/// The action of the rule, where it has one that can be turned.
fn action_of<'o>(object: &'o mut Object, rule: &RuleName) -> Option<&'o mut Action> {
    let is_ingress = rule.direction == Direction::Ingress;
    if let Object::ClusterNetworkPolicy(policy) = object {
        let rules = match is_ingress {
            true => &mut policy.ingress,
            false => &mut policy.egress,
        };
        return rules.get_mut(rule.index).map(|rule| &mut rule.action);
    }
    let (ingress, egress) = match object {
        Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy) => {
            (&mut policy.ingress, &mut policy.egress)
        }
        Object::Profile(profile) => (&mut profile.ingress, &mut profile.egress),
        _ => return None,
    };
    let rules = if is_ingress { ingress } else { egress };
    rules.get_mut(rule.index).map(|rule| &mut rule.action)
}
