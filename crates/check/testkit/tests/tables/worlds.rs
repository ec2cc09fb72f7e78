//! One world, many packets.

use ocicat_api::rule::Action;
use ocicat_api::{Kind, Object, ObjectKey};
use ocicat_oracle::{Census, Decider, Direction, Judgement, Packet, PolicyKind, RuleName, World};
use ocicat_testkit::{Post, Random, Scenario, Targets, minimise, random_world};

use crate::Trials;
use crate::compare::{compare, disagreement};
use crate::engine::{Host, from_scratch, pending_from_scratch};
use crate::failure::{Failure, caught};
use crate::{gate, hosts};

const WORLDS: u64 = 200;
const PACKETS: usize = 1000;

#[test]
fn tables_say_what_the_oracle_says() {
    Trials::new("OCICAT_WORLDS", WORLDS).run(|seed| {
        let mut random = Random::new(seed);
        let world = gate::open(random_world(&mut random));
        let packets = packets(&world, &mut random);
        let host = Host::of_seed(seed);
        check(&world, host, &packets).map_err(|failure| told(&world, host, failure))
    });
}

/// Turns one rule that decides something the other way, and gives that world to the tables alone.
#[test]
fn a_rule_planted_wrong_is_noticed() {
    let planted = std::sync::atomic::AtomicUsize::new(0);
    Trials { seed: 1, count: 60 }.run(|seed| {
        let mut random = Random::new(seed);
        let world = gate::open(random_world(&mut random));
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

fn packets(world: &World, random: &mut Random) -> Vec<Packet> {
    let targets = Targets::of(world);
    (0..PACKETS).map(|_| targets.packet(random)).collect()
}

/// Compares tables and oracle.
fn check(world: &World, host: Host, packets: &[Packet]) -> Result<(), Failure> {
    caught(|| {
        let state = from_scratch(world, host);
        compare(&Census::new(world), host, &state, packets)?;
        // Half of them: most answers are those of the enforced world.
        let packets = &packets[..packets.len().div_ceil(2)];
        let state = pending_from_scratch(world, host);
        let pending = world.pending();
        compare(&Census::new(&pending), host, &state, packets).map_err(Failure::pending)
    })
}

/// The smallest world with such a failure, as a scenario file. What the oracle says is expected.
fn told(world: &World, host: Host, failure: Failure) -> String {
    let packets: Vec<Packet> = failure.packet.into_iter().collect();
    let again = |world: &World| {
        check(world, host, &packets)
            .err()
            .filter(|x| x.is_like(&failure))
    };
    let least = minimise(world, |world| again(world).is_some());
    // It may be another one now: another decider, another endpoint.
    let failure = again(&least).unwrap_or_else(|| failure.clone());
    let queries = failure.query(&least);
    let scenario = Scenario::of("Tables and oracle differ.", &least, queries);
    format!("{host:?}: {}\n\n{scenario}", failure.message)
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
