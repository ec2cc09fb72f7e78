//! What random worlds do not hold yet, because the engine does not know it.

use crate::populate::Species;

/// Kinds that random worlds leave out.
const KINDS: &[Species] = &[Species::ClusterNetworkPolicy];

/// Whether rules ask for services.
pub const SERVICES: bool = false;

pub fn is_shut(species: Species) -> bool {
    KINDS.contains(&species)
}
