//! What the engine tells people who ask it, against the oracle.

use ocicat_api::rule::Action;
use ocicat_oracle::{
    Census, Direction, Endpoint, Packet, ProfileStanding, Standing, TierStanding, Verdict,
};
use ocicat_policy::Engine;

use crate::compare::{far_and_near, judgement, policy_name, service, to_direction};
use crate::engine::Host;

/// Who owns the ends of packets, what judges endpoints, and what comes of it.
pub fn read(
    census: &Census<'_>,
    host: Host,
    engine: &Engine,
    packets: &[Packet],
) -> Result<(), String> {
    for endpoint in &census.endpoints {
        let is_here = host.has(census.world, &endpoint.key);
        for direction in [Direction::Ingress, Direction::Egress] {
            let told = standing(engine, endpoint, direction);
            let expected = is_here.then(|| census.standing(endpoint, direction));
            // Without an address there is nothing to judge.
            if told != expected && !endpoint.addresses.is_empty() {
                let key = &endpoint.key;
                return Err(format!(
                    "{direction} of {key}: told {told:?}, expected {expected:?}"
                ));
            }
        }
    }
    packets
        .iter()
        .try_for_each(|packet| read_packet(census, host, engine, packet))
}

fn read_packet(
    census: &Census<'_>,
    host: Host,
    engine: &Engine,
    packet: &Packet,
) -> Result<(), String> {
    for direction in [Direction::Ingress, Direction::Egress] {
        let (far, near) = far_and_near(packet, direction);
        if engine.is_unclaimed(near) != census.is_unclaimed(near) {
            return Err(format!(
                "{near} is unclaimed: told {}",
                engine.is_unclaimed(near)
            ));
        }
        let endpoints: Vec<_> = census.endpoints_at(near).map(|e| e.key.clone()).collect();
        // The census lists host endpoints apart.
        let mut told = engine.endpoints_of(near);
        told.retain(|key| key.kind != ocicat_api::Kind::HostEndpoint);
        if told != endpoints {
            return Err(format!(
                "endpoints of {near}: told {told:?}, expected {endpoints:?}"
            ));
        }
        let holds = |set: &&ocicat_oracle::Set| set.nets.iter().any(|net| net.contains(&near));
        let sets: Vec<_> = census
            .sets
            .iter()
            .filter(holds)
            .map(|set| set.key.clone())
            .collect();
        if engine.sets_of(near) != sets {
            let told = engine.sets_of(near);
            return Err(format!("sets of {near}: told {told:?}, expected {sets:?}"));
        }
        for endpoint in census.endpoints_at(near) {
            if !host.has(census.world, &endpoint.key) {
                continue;
            }
            let asked = (near, far);
            let told = engine.judge(
                &endpoint.key,
                to_direction(direction),
                asked,
                &service(packet),
            );
            let told = told.as_deref().map(judgement);
            let expected = census.judge(endpoint, direction, packet);
            if told != Some(Ok(expected)) {
                return Err(format!(
                    "{direction} of {}: {packet}: told {told:?}",
                    endpoint.key
                ));
            }
        }
    }
    Ok(())
}

fn standing(engine: &Engine, endpoint: &Endpoint, direction: Direction) -> Option<Standing> {
    let told = engine.explain(&endpoint.key, to_direction(direction))?;
    let tiers = told.tiers.iter().map(|tier| TierStanding {
        name: tier.tier.to_string(),
        end: (tier.default_action == Action::Deny).then_some(Verdict::Deny),
        policies: tier
            .policies
            .iter()
            .map(|policy| policy_name(policy))
            .collect(),
    });
    let profiles = told.profiles.iter().map(|profile| ProfileStanding {
        name: profile.name.to_string(),
        exists: profile.exists,
    });
    Some(Standing {
        tiers: tiers.collect(),
        profiles: profiles.collect(),
    })
}
