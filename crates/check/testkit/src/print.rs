//! Objects as manifests.

mod manifest;
mod yaml;

use ocicat_api::Object;
use ocicat_oracle::World;

/// All objects of a world, one YAML document each, in the order of their keys.
#[must_use]
pub fn print_world(world: &World) -> String {
    let documents: Vec<String> = world.objects.values().map(print_object).collect();
    documents.join("---\n")
}

/// An object as YAML that decodes to an equal object, except that:
///
/// - of an unreadable part it has an unknown field or an impossible value in its place;
/// - of `metadata` it has the name, the namespace and the labels;
/// - what random worlds never hold (annotations, MAC addresses) is left out, and kinds they never
///   hold (Controllers, Services, IPAM blocks) have only their metadata.
///
/// # Panics
///
/// For a selector in a Kubernetes policy that no label selector is converted to.
#[must_use]
pub fn print_object(object: &Object) -> String {
    yaml::print(&manifest::of(object))
}

#[cfg(test)]
mod tests;
