//! What the tables do not say yet, taken out of random worlds. Ends empty.

use ocicat_api::rule::Rule;
use ocicat_api::{Kind, Object};
use ocicat_oracle::World;
use ocicat_testkit::Change;

/// Kinds that the engine does not know.
const KINDS: &[Kind] = &[];

/// Whether the engine knows `services`.
const SERVICES: bool = true;

/// Whether host endpoints change without mixtures.
pub const HOSTS_IN_FLIGHT: bool = true;

/// The world without what is gated.
pub fn open(world: World) -> World {
    World::new(world.objects.into_values().filter_map(object))
}

/// The change, or that the object goes.
pub fn change(change: Change) -> Change {
    match change {
        Change::Put(put) => {
            let key = put.key();
            object(put).map_or(Change::Delete(key), Change::Put)
        }
        delete @ Change::Delete(_) => delete,
    }
}

fn object(mut object: Object) -> Option<Object> {
    if KINDS.contains(&object.kind()) {
        return None;
    }
    let is_known = |rule: &Rule| {
        SERVICES || (rule.source.service.is_none() && rule.destination.service.is_none())
    };
    match &mut object {
        Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy) => {
            policy.ingress.retain(is_known);
            policy.egress.retain(is_known);
        }
        Object::Profile(profile) => {
            profile.ingress.retain(is_known);
            profile.egress.retain(is_known);
        }
        Object::StagedNetworkPolicy(staged) | Object::StagedGlobalNetworkPolicy(staged) => {
            staged.policy.ingress.retain(is_known);
            staged.policy.egress.retain(is_known);
        }
        _ => {}
    }
    Some(object)
}
