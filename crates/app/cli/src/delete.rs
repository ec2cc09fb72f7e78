//! `ocicat delete`: deletes objects.

use std::process::ExitCode;

use ocicat_client::{Client, Error, Name, Resource};

use crate::args::DeleteArgs;
use crate::failure::Failure;
use crate::{apply, kinds, out};
use ocicat_input::paint;

pub async fn run(args: DeleteArgs) -> Result<ExitCode, Failure> {
    let named = if args.files.is_empty() {
        None
    } else {
        Some(from_files(&args)?)
    };
    let client = args.api.connect().await?;
    let targets = match named {
        Some(targets) => targets,
        None => from_words(&args, client.default_namespace())?,
    };
    let mut missing = false;
    for (resource, name) in &targets {
        missing |= !delete(&client, resource, name, args.ignore_not_found).await?;
    }
    Ok(if missing {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

async fn delete(
    client: &Client,
    resource: &Resource,
    name: &Name,
    ignore_missing: bool,
) -> Result<bool, Failure> {
    match client.delete(resource, name).await {
        Ok(()) => out::print(&format!(
            "{} {:?} deleted\n",
            resource.singular(),
            &*name.name
        )),
        Err(Error::NotFound { .. }) if ignore_missing => {}
        Err(error @ Error::NotFound { .. }) => {
            eprintln!("{} {error}", paint::error("error:"));
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}

/// What manifests name, in the reverse of the order in which it is applied.
fn from_files(args: &DeleteArgs) -> Result<Vec<(Resource, Name)>, Failure> {
    let sources = ocicat_input::read(&args.files)?;
    let mut objects = apply::decode(&sources, args.namespace.namespace.as_deref())?;
    objects.reverse();
    Ok(objects
        .into_iter()
        .map(|object| (object.resource, object.name))
        .collect())
}

fn from_words(args: &DeleteArgs, default: &str) -> Result<Vec<(Resource, Name)>, Failure> {
    // Clap requires a kind where there are no files.
    let (kind, name) = kinds::split(args.kind.as_deref().unwrap_or_default());
    let resource = kinds::read(kind)?;
    let namespace = args.namespace.namespace.as_deref().unwrap_or(default);
    let names: Vec<&str> = name
        .into_iter()
        .chain(args.names.iter().map(String::as_str))
        .collect();
    if names.is_empty() {
        return Err(Failure::Input(format!(
            "give the names of the {} to delete",
            resource.plural
        )));
    }
    Ok(names
        .into_iter()
        .map(|name| (resource, kinds::name(&resource, namespace, name)))
        .collect())
}
