//! Kinds as people type them.

use ocicat_api::Kind;
use ocicat_client::{Name, Resource};

use crate::failure::Failure;

/// Reads a kind: `pods`, `netpol`, `tiers.projectcalico.org`, `policystatus`.
pub fn read(text: &str) -> Result<Resource, Failure> {
    if matches!(
        text.to_ascii_lowercase().as_str(),
        "policystatus" | "policystatuses"
    ) {
        return Ok(Resource::POLICY_STATUS);
    }
    Kind::parse(text).map(Resource::from).ok_or_else(|| {
        let known: Vec<&str> = Kind::table().iter().map(|info| info.plural).collect();
        Failure::Input(format!(
            "unknown kind {text:?}; expected one of {}",
            unique(&known)
        ))
    })
}

/// Splits `KIND/NAME` where it is written so.
pub fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((kind, name)) => (kind, Some(name)),
        None => (text, None),
    }
}

/// The name of an object of a kind, in a namespace if the kind has them.
pub fn name(resource: &Resource, namespace: &str, name: &str) -> Name {
    if resource.namespaced {
        Name::namespaced(namespace, name)
    } else {
        Name::cluster(name)
    }
}

fn unique(names: &[&str]) -> String {
    let mut names: Vec<&str> = names.to_vec();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}
