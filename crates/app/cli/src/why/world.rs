//! What is known of the cluster: from manifests, or from a running API.

use std::path::PathBuf;
use std::sync::Arc;

use ocicat_api::decode::decode_json;
use ocicat_api::world::World;
use ocicat_api::{Kind, Object};
use ocicat_client::{Client, Selection};

use crate::failure::Failure;
use ocicat_input::{paint, problems};

/// All objects, controllers' pods included.
pub struct Known {
    pub world: World,
    /// The namespace of names without one, unless `-n` says otherwise.
    pub namespace: String,
}

/// The annotation of a pod that names its controller: `deploy/web`.
pub use ocicat_api::expand::OWNER_ANNOTATION;

impl Known {
    /// From manifests, with the pods that their controllers would make and, where they name no pool,
    /// those that a lab would have. Prints every problem; any
    /// error is a failure.
    pub fn from_files(paths: &[PathBuf]) -> Result<Self, Failure> {
        let sources = ocicat_input::read(paths)?;
        let texts = sources.iter().map(|source| (&source.name, &source.text));
        let mut loaded = World::load(texts);
        problems::skipped(&loaded.skipped);
        Failure::of_manifests(problems::print(&sources, &loaded.problems))?;
        loaded.world.expand(&[]);
        loaded.world.assume_pools();
        Ok(Self {
            world: loaded.world,
            namespace: "default".into(),
        })
    }

    /// From a running API, as it is now. What it stores and we cannot read fails closed, as on a
    /// host, and is reported.
    pub async fn from_api(client: &Client) -> Result<Self, Failure> {
        let mut world = World::default();
        for info in Kind::table() {
            let list = match client.list(info.kind, &Selection::all()).await {
                Ok(list) => list,
                // A cluster need not have every kind.
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            for item in list.items {
                let decoded = decode_json(&item);
                for problem in decoded.problems.iter().filter(|problem| problem.is_error()) {
                    let name = decoded
                        .object
                        .as_ref()
                        .map(|object| object.key().to_string());
                    let name = name.unwrap_or_else(|| info.name.to_owned());
                    eprintln!("{} {name}: {problem}", paint::warning("warning:"));
                }
                if let Some(object) = decoded.object {
                    world.objects.insert(object.key(), object);
                }
            }
        }
        note_owners(&mut world);
        Ok(Self {
            world,
            namespace: client.default_namespace().to_owned(),
        })
    }
}

/// Writes into each pod whose it is. Pods that controllers have not made yet are not there yet.
fn note_owners(world: &mut World) {
    let owners = ocicat_api::expand::expand(&world.objects, &[]).owners;
    for (key, owner) in owners {
        if let Some(Object::Pod(pod)) = world.objects.get_mut(&key) {
            pod.metadata
                .annotations
                .insert(Arc::from(OWNER_ANNOTATION), owner);
        }
    }
}
