//! After any history the tables are those of a start from scratch.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ocicat_api::{Object, ObjectKey};
use ocicat_flow::Outcome;
use ocicat_node::{Change, ClassId, NodeDelta, NodeState, ServiceMatch, StackId};

use super::random::Dice;
use crate::{Budget, Engine, Locality};

const HISTORIES: u64 = 60;
const STEPS: usize = 25;

type World = BTreeMap<ObjectKey, Object>;

fn budget(seed: u64) -> Budget {
    // Every fourth history is short of room.
    match seed % 4 {
        3 => Budget {
            rows: 12,
            cells: 150,
            source_ranges: 8,
        },
        _ => Budget::default(),
    }
}

fn scratch(world: &World, budget: Budget) -> Engine {
    let mut engine = Engine::with_budget(Locality::Node("n1".into()), budget);
    world.values().for_each(|object| engine.upsert(object));
    engine.commit();
    engine
}

/// Every address that something in the world is about, and its neighbours.
fn samples(state: &NodeState) -> Vec<IpAddr> {
    let mut out = BTreeSet::new();
    for prefix in state.classes.keys() {
        out.extend([prefix.network(), prefix.broadcast()]);
        out.extend(prefix.hosts().take(2));
    }
    out.into_iter().collect()
}

/// A change must not refer to what is not there, nor remove what is in use.
fn check_references(state: &NodeState) {
    for row in state.rows.values() {
        let cells = row.cuts.iter().map(|cut| &cut.cells).chain([&row.cells]);
        for outcome in cells.flat_map(ocicat_node::Cells::outcomes) {
            assert!(state.outcomes.contains_key(&outcome));
        }
    }
    for stack in state.stacks.values() {
        for row in stack.rows.values().chain([&stack.default_row]) {
            assert!(state.rows.contains_key(row));
        }
    }
    for address in state
        .endpoints
        .values()
        .flat_map(|endpoint| &endpoint.addresses)
    {
        assert!(state.stacks.contains_key(&address.ingress));
        assert!(state.stacks.contains_key(&address.egress));
    }
    let hosts = state.host_endpoints.values();
    for stacks in hosts.flat_map(|host| host.stages.values()) {
        assert!(
            stacks
                .stacks()
                .all(|stack| state.stacks.contains_key(&stack))
        );
    }
}

fn apply_checked(state: &mut NodeState, delta: &NodeDelta) {
    for change in delta {
        if let Change::StackRow(stack, _, _) | Change::StackRows(stack, _) = change {
            assert!(state.stacks.contains_key(stack));
        }
        state.apply(std::slice::from_ref(change));
        check_references(state);
    }
}

/// All judgements that a set of samples asks for: of workloads, and of a few near addresses at the
/// stages of host endpoints.
fn judge(
    state: &NodeState,
    samples: &[IpAddr],
    services: &[ServiceMatch],
) -> Vec<(String, Outcome)> {
    let mut out = Vec::new();
    let mut ask = |what: &dyn std::fmt::Display, near: IpAddr, stack: StackId| {
        for far in samples.iter().filter(|far| far.is_ipv4() == near.is_ipv4()) {
            for service in services {
                let outcome = state.judge(stack, *far, service).expect("total");
                out.push((format!("{what} {near} {far} {service:?}"), outcome.clone()));
            }
        }
    };
    for (id, endpoint) in &state.endpoints {
        for local in &endpoint.addresses {
            ask(&format!("{id} ingress"), local.address, local.ingress);
            ask(&format!("{id} egress"), local.address, local.egress);
        }
    }
    for (id, host) in &state.host_endpoints {
        for (way, stacks) in &host.stages {
            for near in samples.iter().step_by(samples.len() / 6 + 1) {
                let class = state.class_of(*near).expect("every address has a class");
                ask(&format!("{id} {way:?}"), *near, stacks.of(class));
            }
        }
    }
    out
}

fn same_judgements(a: &NodeState, b: &NodeState, services: &[ServiceMatch], context: &str) {
    let samples = samples(a);
    assert_eq!(
        a.classes.keys().collect::<Vec<_>>(),
        b.classes.keys().collect::<Vec<_>>()
    );
    let (left, right) = (judge(a, &samples, services), judge(b, &samples, services));
    assert_eq!(left.len(), right.len(), "{context}");
    for ((what, left), (other, right)) in left.iter().zip(&right) {
        assert_eq!(what, other, "{context}");
        assert_eq!(left.to_string(), right.to_string(), "{context}: {what}");
    }
}

/// Classes are the same up to their numbers.
fn same_classes(a: &NodeState, b: &NodeState, context: &str) {
    let mut there: BTreeMap<ClassId, ClassId> = BTreeMap::new();
    let mut back: BTreeMap<ClassId, ClassId> = BTreeMap::new();
    for (prefix, class) in &a.classes {
        let other = b.classes[prefix];
        assert_eq!(
            *there.entry(*class).or_insert(other),
            other,
            "{context}: {prefix}"
        );
        assert_eq!(
            *back.entry(other).or_insert(*class),
            *class,
            "{context}: {prefix}"
        );
    }
}

/// A class that is told apart from the default must differ from it.
fn same_host_endpoints(a: &NodeState, b: &NodeState, context: &str) {
    let look = |state: &NodeState| -> Vec<String> {
        let hosts = state.host_endpoints.iter();
        hosts
            .flat_map(|(id, host)| {
                let stages = host.stages.iter().map(move |(way, stacks)| {
                    let count = stacks.stacks().collect::<BTreeSet<_>>().len();
                    assert!(
                        stacks
                            .by_near
                            .values()
                            .all(|stack| *stack != stacks.default)
                    );
                    format!("{id} {:?} {way:?} {count}", host.interfaces)
                });
                stages.collect::<Vec<_>>()
            })
            .collect()
    };
    assert_eq!(look(a), look(b), "{context}");
    let classes: BTreeSet<ClassId> = a.classes.values().copied().collect();
    let stages = a
        .host_endpoints
        .values()
        .flat_map(|host| host.stages.values());
    for class in stages.flat_map(|stacks| stacks.by_near.keys()) {
        assert!(classes.contains(class), "{context}: {class:?} is gone");
    }
}

fn change(world: &mut World, engine: &mut Engine, dice: &mut Dice) -> String {
    let object = dice.object();
    let key = object.key();
    let remove = world.contains_key(&key) && dice.once_in(3);
    let text = format!("{} {key:?}", if remove { "remove" } else { "upsert" });
    if remove {
        world.remove(&key);
        engine.remove(&key);
    } else {
        engine.upsert(&object);
        world.insert(key, object);
    }
    text
}

fn run(seed: u64) {
    let mut dice = Dice(seed);
    let mut world = World::new();
    let budget = budget(seed);
    let mut engine = Engine::with_budget(Locality::Node("n1".into()), budget);
    let mut state = NodeState::default();
    for _ in 0..dice.roll(60) {
        change(&mut world, &mut engine, &mut dice);
    }
    for step in 0..STEPS {
        let count = if dice.once_in(3) { 1 + dice.roll(6) } else { 1 };
        let texts: Vec<String> = (0..count)
            .map(|_| change(&mut world, &mut engine, &mut dice))
            .collect();
        let context = format!("seed {seed} step {step} {texts:?}");
        let commit = engine.commit();
        apply_checked(&mut state, &commit.delta);
        assert_eq!(state, engine.snapshot(), "{context}");
        let services: Vec<ServiceMatch> = (0..6).map(|_| dice.service()).collect();
        let fresh = scratch(&world, budget).snapshot();
        same_judgements(&state, &fresh, &services, &context);
        same_classes(&state, &fresh, &context);
        // Stacks that were kept apart for the sake of packets in flight may be equal now.
        assert!(state.stacks.len() >= fresh.stacks.len(), "{context}");
        assert!(state.stacks.len() <= 2 * fresh.stacks.len(), "{context}");
        same_host_endpoints(&state, &fresh, &context);
        assert!(engine.commit().delta.is_empty(), "{context}");
    }
    world.keys().for_each(|key| engine.remove(key));
    engine.commit();
    engine.assert_empty();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may be told its seed")]
fn incremental_is_from_scratch() {
    let first: u64 = match std::env::var("OCICAT_SEED") {
        Ok(seed) => seed.parse().expect("OCICAT_SEED is a number"),
        Err(_) => 0,
    };
    println!("seeds {first} to {}", first + HISTORIES - 1);
    (first..first + HISTORIES).for_each(run);
}
