//! `ocicat get`: shows objects.

mod age;
mod column;
mod print;

use ocicat_client::{Client, Event, Resource, Selection};
use serde_json::Value;

use crate::args::GetArgs;
use crate::failure::Failure;
use crate::kinds;
use ocicat_input::paint;
use print::Printer;

pub async fn run(args: GetArgs) -> Result<(), Failure> {
    let request = Request::read(&args)?;
    let client = args.api.connect().await?;
    let namespace = if args.all_namespaces {
        None
    } else {
        Some(
            args.namespace
                .namespace
                .unwrap_or_else(|| client.default_namespace().to_owned()),
        )
    };
    let printer = Printer {
        output: args.output,
        with_namespace: args.all_namespaces,
    };
    if args.watch {
        return watch(&client, &request, namespace, &printer).await;
    }
    let mut found = Vec::new();
    for resource in &request.resources {
        let objects = fetch(&client, resource, &request, namespace.as_deref()).await?;
        found.push((*resource, objects));
    }
    let place = namespace
        .as_deref()
        .map_or(String::new(), |x| format!(" in namespace {x}"));
    let single = request.names.len() == 1 && request.resources.len() == 1;
    let shape = if single {
        print::Shape::Single
    } else {
        print::Shape::List
    };
    print::all(&printer, &found, shape, &place);
    Ok(())
}

/// What is asked for.
struct Request {
    resources: Vec<Resource>,
    /// Empty: all.
    names: Vec<String>,
    labels: Option<String>,
}

impl Request {
    fn read(args: &GetArgs) -> Result<Self, Failure> {
        let mut names = args.names.clone();
        let mut resources = Vec::new();
        for word in args.kinds.split(',').filter(|word| !word.is_empty()) {
            let (kind, name) = kinds::split(word);
            resources.push(kinds::read(kind)?);
            names.extend(name.map(str::to_owned));
        }
        let input = |text: &str| Err(Failure::Input(text.into()));
        if resources.len() > 1 && !names.is_empty() {
            return input("names go with one kind only");
        }
        if !names.is_empty() && args.selector.is_some() {
            return input("give names or a selector, not both");
        }
        if !names.is_empty() && args.all_namespaces {
            return input("a name and all namespaces do not go together; give -n");
        }
        if args.watch && (resources.len() != 1 || names.len() > 1) {
            return input("one kind, or one object, can be watched");
        }
        Ok(Self {
            resources,
            names,
            labels: args.selector.clone(),
        })
    }

    fn selection(&self, namespace: Option<String>) -> Selection {
        let name = self
            .names
            .first()
            .map(|name| format!("metadata.name={name}"));
        Selection {
            namespace,
            labels: self.labels.clone(),
            fields: name,
        }
    }
}

async fn fetch(
    client: &Client,
    resource: &Resource,
    request: &Request,
    namespace: Option<&str>,
) -> Result<Vec<Value>, Failure> {
    if request.names.is_empty() {
        let selection = request.selection(namespace.map(str::to_owned));
        let list = client.list(resource, &selection).await?;
        let mut objects = Vec::with_capacity(list.items.len());
        for item in list.items {
            objects.push(object(&item)?);
        }
        return Ok(objects);
    }
    let mut objects = Vec::new();
    for name in &request.names {
        let name = kinds::name(resource, namespace.unwrap_or("default"), name);
        objects.push(client.get(resource, name).await?);
    }
    Ok(objects)
}

async fn watch(
    client: &Client,
    request: &Request,
    namespace: Option<String>,
    printer: &Printer,
) -> Result<(), Failure> {
    let resource = request.resources[0];
    // A first question that fails ends the command; later the watch mends itself.
    if request.names.is_empty() {
        let one = Selection {
            fields: Some("metadata.name=.".into()),
            ..Selection::all()
        };
        client.list(resource, &one).await.map(drop)?;
    } else {
        let name = &request.names[0];
        let name = kinds::name(&resource, namespace.as_deref().unwrap_or("default"), name);
        client.get(resource, name).await.map(drop)?;
    }
    let mut watch = client.watch(resource, request.selection(namespace));
    let mut rows = print::Stream::new(printer, resource);
    loop {
        match watch.next().await {
            Event::Upsert(bytes) => {
                rows.print(&object(&bytes)?, print::Change::Present);
            }
            Event::Deleted { last, .. } => {
                rows.print(&object(&last)?, print::Change::Deleted);
            }
            Event::Interrupted(error) => {
                eprintln!("{} {error}; trying again", paint::warning("warning:"));
            }
            Event::Restarted | Event::Synced => {}
        }
    }
}

fn object(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::Unasked(format!("the API answered with bad JSON: {error}")))
}
