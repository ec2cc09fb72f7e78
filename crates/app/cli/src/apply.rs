//! `ocicat apply`: creates or changes objects from manifests.
//!
//! ```text
//!   manifests ──decode──► objects ──dry run of each──► all can be stored ──► stored
//!                 │                       │
//!                 └───────────────────────┴──► problems with file, line and column; nothing is stored
//! ```

use std::collections::BTreeMap;

use ocicat_api::document::Document;
use ocicat_api::world::FileProblem;
use ocicat_api::{Kind, Severity, document};
use ocicat_client::{Applied, Client, Error, Mode, Name, Resource};
use ocicat_input::{Source, problems};
use serde_json::Value;

use crate::args::ApplyArgs;
use crate::failure::Failure;
use crate::out;

/// An object of a manifest, ready to be sent.
pub struct Manifest {
    pub resource: Resource,
    pub name: Name,
    pub document: Document,
    /// The file in which it stands.
    file: String,
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
    let mut refused = Refused::default();
    let mut checked = Vec::with_capacity(manifests.len());
    for manifest in &manifests {
        let value = &manifest.document.value;
        match client.apply(manifest.resource, value, Mode::DryRun).await {
            Ok(applied) => checked.push(applied),
            // The namespace has not been created either.
            Err(Error::NotFound { .. }) if creates(&manifests, &manifest.name) => {
                checked.push(Applied::Created);
            }
            Err(error) => refused.add(&client, manifest, error).await?,
        }
    }
    refused.report(&sources)?;
    if args.dry_run {
        for (manifest, applied) in manifests.iter().zip(checked) {
            manifest.say(applied, " (dry run)");
        }
        return Ok(());
    }
    for manifest in &manifests {
        let value = &manifest.document.value;
        match client.apply(manifest.resource, value, Mode::Write).await {
            Ok(applied) => manifest.say(applied, ""),
            Err(error) => refused.add(&client, manifest, error).await?,
        }
    }
    refused.report(&sources)
}

/// What the server does not take.
#[derive(Default)]
struct Refused {
    problems: Vec<FileProblem>,
    /// The highest exit code of them.
    code: u8,
}

impl Refused {
    /// # Errors
    /// If nobody answers: then the other objects fare no better.
    async fn add(
        &mut self,
        client: &Client,
        manifest: &Manifest,
        error: Error,
    ) -> Result<(), Failure> {
        let mut put = |field: &str, message: String| {
            self.problems.push(FileProblem {
                file: manifest.file.as_str().into(),
                position: manifest.document.position_of(field),
                object: describe(&manifest.document.value),
                field: field.to_owned(),
                message,
                severity: Severity::Error,
            });
        };
        let Manifest { resource, name, .. } = manifest;
        let code = match error {
            Error::Unreachable { .. } => return Err(error.into()),
            Error::Invalid { ref causes, .. } if !causes.is_empty() => {
                for cause in causes {
                    put(&cause.field, cause.message.clone());
                }
                2
            }
            // A 404 for an object that is being created means its namespace, or its kind.
            Error::NotFound { .. } => {
                match &name.namespace {
                    Some(namespace) if is_absent(client, namespace).await => put(
                        "metadata.namespace",
                        format!(
                            "{namespace:?}: expected a namespace that is there, or in the manifests"
                        ),
                    ),
                    _ => {
                        let version = resource.api_version();
                        put(
                            "apiVersion",
                            format!("the API does not serve {} of {version}", resource.kind),
                        );
                    }
                }
                2
            }
            error => {
                put("", error.to_string());
                Failure::from(error).code()
            }
        };
        self.code = self.code.max(code);
        Ok(())
    }

    fn report(&self, sources: &[Source]) -> Result<(), Failure> {
        match problems::print(sources, &self.problems) {
            0 => Ok(()),
            _ => Err(Failure::Said(self.code)),
        }
    }
}

async fn is_absent(client: &Client, namespace: &str) -> bool {
    let found = client.get(Kind::Namespace, Name::cluster(namespace)).await;
    found.is_err_and(|error| error.is_not_found())
}

impl Manifest {
    fn say(&self, applied: Applied, suffix: &str) {
        let word = match applied {
            Applied::Created => "created",
            Applied::Configured => "configured",
            Applied::Unchanged => "unchanged",
        };
        let name = &self.name.name;
        out::print(&format!(
            "{}/{name} {word}{suffix}\n",
            self.resource.singular()
        ));
    }
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
            let namespace = namespace.unwrap_or("default");
            manifests.extend(manifest(document, namespace, &source.name));
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
fn manifest(mut document: Document, namespace: &str, file: &str) -> Option<Manifest> {
    let resource = Resource::of(&document.value)?;
    let mut name = Name::of(&document.value)?;
    if !resource.namespaced {
        name.namespace = None;
    } else if name.namespace.is_none() {
        name.namespace = Some(namespace.into());
        document.value["metadata"]["namespace"] = namespace.into();
    }
    Some(Manifest {
        resource,
        name,
        document,
        file: file.into(),
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
