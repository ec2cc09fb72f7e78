//! `ocicat apply`: creates or changes objects from manifests.
//!
//! All manifests are read and checked before the first object is sent, so that bad input changes
//! nothing.

use std::collections::BTreeMap;

use ocicat_api::world::FileProblem;
use ocicat_api::{Severity, document};
use ocicat_client::{Applied, Error, Mode, Name, Resource};
use serde_json::Value;

use crate::args::ApplyArgs;
use crate::failure::Failure;
use crate::out;
use ocicat_input::{Source, paint, problems};

/// An object of a manifest, ready to be sent.
pub struct Manifest {
    pub resource: Resource,
    pub name: Name,
    pub value: Value,
}

pub async fn run(args: ApplyArgs) -> Result<(), Failure> {
    let sources = ocicat_input::read(&args.files)?;
    let client = args.api.connect().await?;
    let namespace = args.namespace.namespace.as_deref();
    let default = namespace.unwrap_or(client.default_namespace());
    let manifests = decode(&sources, Some(default))?;
    if manifests.is_empty() {
        return Err(Failure::Input("no objects in the manifests".into()));
    }
    let (mode, suffix) = if args.dry_run {
        (Mode::DryRun, " (dry run)")
    } else {
        (Mode::Write, "")
    };
    let mut failure = None;
    for Manifest {
        resource,
        name,
        value,
    } in &manifests
    {
        let word = match client.apply(resource, value, mode).await {
            Ok(Applied::Created) => "created",
            Ok(Applied::Configured) => "configured",
            Ok(Applied::Unchanged) => "unchanged",
            // Without a server the others fare no better.
            Err(error @ Error::Unreachable { .. }) => return Err(error.into()),
            // In a dry run the namespace has not been created either.
            Err(Error::NotFound { .. }) if args.dry_run && creates(&manifests, name) => "created",
            Err(error) => {
                eprintln!("{} {}", paint::error("error:"), refusal(resource, &error));
                failure = Some(worse(failure, error));
                continue;
            }
        };
        out::print(&format!(
            "{}/{} {word}{suffix}\n",
            resource.singular(),
            name.name
        ));
    }
    failure.map_or(Ok(()), |failure| Err(failure.silent()))
}

/// Reads all objects in the order in which they are applied. Prints every problem; any error is a
/// failure. Objects without namespace get the one given.
pub fn decode(sources: &[Source], namespace: Option<&str>) -> Result<Vec<Manifest>, Failure> {
    let mut problems = Vec::new();
    let mut unused = BTreeMap::new();
    let mut manifests = Vec::new();
    for source in sources {
        let documents = match document::parse(&source.text) {
            Ok(documents) => documents,
            Err(error) => {
                problems.push(unreadable(source, error));
                continue;
            }
        };
        for document in documents {
            let decoded = ocicat_api::decode::decode_written(&document.value);
            let object = describe(&document.value);
            for problem in decoded.problems {
                problems.push(FileProblem {
                    file: source.name.as_str().into(),
                    position: document.position_of(&problem.field),
                    object: object.clone(),
                    field: problem.field,
                    message: problem.message,
                    severity: problem.severity,
                });
            }
            if let Some(kind) = decoded.unused {
                *unused.entry(kind).or_insert(0_usize) += 1;
            }
            manifests.extend(manifest(document.value, namespace.unwrap_or("default")));
        }
    }
    problems::skipped(&unused);
    Failure::of_manifests(problems::print(sources, &problems))?;
    manifests.sort_by_key(|manifest| rank(&manifest.resource));
    Ok(manifests)
}

fn unreadable(source: &Source, error: document::SyntaxError) -> FileProblem {
    FileProblem {
        file: source.name.as_str().into(),
        position: error.position,
        object: String::new(),
        field: String::new(),
        message: error.message,
        severity: Severity::Error,
    }
}

/// `NetworkPolicy shop/web`, as far as the value says it.
fn describe(value: &Value) -> String {
    let kind = value["kind"].as_str().unwrap_or("object");
    Name::of(value).map_or(kind.to_owned(), |name| format!("{kind} {name}"))
}

/// `None` for kinds that we have no use for.
fn manifest(mut value: Value, namespace: &str) -> Option<Manifest> {
    let resource = Resource::of(&value)?;
    let mut name = Name::of(&value)?;
    if !resource.namespaced {
        name.namespace = None;
    } else if name.namespace.is_none() {
        name.namespace = Some(namespace.into());
        value["metadata"]["namespace"] = namespace.into();
    }
    Some(Manifest {
        resource,
        name,
        value,
    })
}

/// What others refer to comes first; policy comes before the workloads that it governs.
fn rank(resource: &Resource) -> u8 {
    match resource.kind {
        "Namespace" => 0,
        "Tier" => 1,
        "IPPool" => 2,
        "Node" | "ServiceAccount" | "Profile" => 3,
        "NetworkSet" | "GlobalNetworkSet" => 4,
        "NetworkPolicy" | "GlobalNetworkPolicy" => 5,
        "Service" => 6,
        _ => 7,
    }
}

fn creates(manifests: &[Manifest], name: &Name) -> bool {
    let namespaces = manifests
        .iter()
        .filter(|manifest| manifest.resource.kind == "Namespace");
    namespaces
        .into_iter()
        .any(|manifest| Some(&manifest.name.name) == name.namespace.as_ref())
}

/// A 404 for an object that is being created means its namespace.
fn refusal(resource: &Resource, error: &Error) -> String {
    match error {
        Error::NotFound { what } if resource.namespaced => {
            format!("{what}: not found; does its namespace exist?")
        }
        Error::NotFound { what } => {
            format!("{what}: the API does not serve {}", resource.api_version())
        }
        error => error.to_string(),
    }
}

/// Of two failures, the one with the higher exit code.
fn worse(failure: Option<Failure>, error: Error) -> Failure {
    let new = Failure::from(error);
    match failure {
        Some(old) if old.code() >= new.code() => old,
        _ => new,
    }
}
