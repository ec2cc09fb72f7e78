//! One world, many packets.

use ocicat_oracle::{Census, Packet, World};
use ocicat_testkit::{Random, Scenario, Targets, minimise, random_world};

use crate::compare::compare;
use crate::engine::{Host, from_scratch, pending_from_scratch};
use crate::failure::{Failure, caught};

const PACKETS: usize = 1000;

/// One world.
pub fn try_world(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let world = random_world(&mut random);
    let packets = packets(&world, &mut random);
    let host = Host::of_seed(seed);
    check(&world, host, &packets).map_err(|failure| told(&world, host, failure))
}

pub fn packets(world: &World, random: &mut Random) -> Vec<Packet> {
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
