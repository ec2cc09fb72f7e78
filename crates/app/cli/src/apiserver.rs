//! `ocicat apiserver`: serves the API from an embedded store.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use ocicat_api::decode::{decode, written};
use ocicat_apiserver::{Admission, AdmitAll, Admitted, Cause, Config, FieldProblem, Listen, serve};
use ocicat_store::{Options, Store};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::ApiserverArgs;
use crate::failure::Failure;
use crate::out;

/// Serves until SIGINT or SIGTERM.
pub async fn run(args: ApiserverArgs) -> Result<(), Failure> {
    let listen = args
        .listen
        .iter()
        .map(|text| place(text))
        .collect::<Result<Vec<_>, _>>()?;
    let store = match args.data.as_str() {
        "memory" => Store::memory(Options::default()),
        path => Store::open(Path::new(path), Options::default())
            .map_err(|error| Failure::Unasked(format!("{path}: {error}")))?,
    };
    let admission: Arc<dyn Admission> = if args.no_validation {
        Arc::new(AdmitAll)
    } else {
        Arc::new(Validate)
    };
    let config = Config {
        listen,
        store: store.clone(),
        admission,
    };
    let server = serve(config).await.map_err(|error| match error {
        ocicat_apiserver::Error::Exposed(_) => Failure::Input(error.to_string()),
        other => Failure::Unasked(other.to_string()),
    })?;
    for address in server.addresses() {
        out::print(&format!("listening on http://{address}\n"));
    }
    for path in server.sockets() {
        out::print(&format!("listening on unix:{}\n", path.display()));
    }
    stopped()
        .await
        .map_err(|error| Failure::Unasked(format!("signals: {error}")))?;
    server.stop().await;
    store.close().await;
    Ok(())
}

/// Reads an address to listen on.
fn place(text: &str) -> Result<Listen, Failure> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Listen::Unix(path.into()));
    }
    let address: Result<SocketAddr, _> = text.strip_prefix("http://").unwrap_or(text).parse();
    address.map(Listen::Tcp).map_err(|_| {
        Failure::Input(format!(
            "--listen {text}: expected 127.0.0.1:PORT, [::1]:PORT or unix:/path"
        ))
    })
}

async fn stopped() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Admits what the decoder understands without errors, so that server and files agree.
struct Validate;

impl Admission for Validate {
    fn admit(&self, object: &Value) -> Result<Admitted, Vec<FieldProblem>> {
        let written = written(object);
        let mut problems = decode(object).problems;
        problems.extend(written.problems);
        let (errors, warnings): (Vec<_>, Vec<_>) = problems
            .into_iter()
            .partition(ocicat_api::Problem::is_error);
        if errors.is_empty() {
            let warnings = warnings.iter().map(ToString::to_string).collect();
            return Ok(Admitted {
                object: object.clone(),
                warnings,
                unknown_fields: (written.unknown_fields.into_iter())
                    .map(|problem| problem.field)
                    .collect(),
            });
        }
        let problem = |problem: ocicat_api::Problem| FieldProblem {
            field: problem.field,
            cause: Cause::Invalid,
            detail: problem.message,
        };
        Err(errors.into_iter().map(problem).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The server refuses, tells or ignores unknown fields as the client wishes.
    #[test]
    fn misspelt_fields_are_named_apart_from_errors() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "lables": {"app": "a"}},
            "spec": {"containers": [{"name": "a", "image": "a", "port": []}]},
        });
        let admitted = Validate.admit(&pod).unwrap();
        let expected = ["metadata.lables", "spec.containers[0].port"];
        assert_eq!(admitted.unknown_fields, expected);
        assert_eq!(admitted.object, pod);
    }

    #[test]
    fn names_of_ports_are_checked() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
            "spec": {"containers": [
                {"name": "a", "ports": [{"containerPort": 80, "name": "Http"}]},
            ]},
        });
        let problems = Validate.admit(&pod).unwrap_err();
        assert_eq!(problems[0].field, "spec.containers[0].ports[0].name");
    }
}
