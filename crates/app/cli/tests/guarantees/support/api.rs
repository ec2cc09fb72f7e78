//! Requests to the API server over its socket, one connection each.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// A client that panics at every refusal.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// As `--api` takes it.
    pub fn endpoint(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    pub fn create(&self, object: &Value) {
        let body = Some(("application/json", object));
        self.ask("POST", &collection(object), body);
    }

    pub fn merge(&self, object: &Value, patch: &Value) {
        let body = Some(("application/merge-patch+json", patch));
        self.ask("PATCH", &place(object), body);
    }

    pub fn delete(&self, object: &Value) {
        self.ask("DELETE", &place(object), None);
    }

    /// The items of the collection at `path`.
    pub fn list(&self, path: &str) -> Vec<Value> {
        self.ask("GET", path, None)["items"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    fn ask(&self, method: &str, path: &str, body: Option<(&str, &Value)>) -> Value {
        let (status, answer) = self.exchange(method, path, body).unwrap();
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status}: {answer}"
        );
        answer
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> std::io::Result<(u16, Value)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (kind, text) = match body {
            Some((kind, value)) => (kind, value.to_string()),
            None => ("application/json", String::new()),
        };
        let length = text.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: ocicat\r\nConnection: close\r\n\
             Accept: application/json\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(text.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status, serde_json::from_str(body).unwrap_or(json!(body))))
    }
}

/// An object of Calico's or Kubernetes' with this `spec`.
pub fn object(
    version: &str,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    spec: Value,
) -> Value {
    let mut object = json!({
        "apiVersion": version, "kind": kind, "metadata": { "name": name }, "spec": spec,
    });
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

/// A NetworkPolicy of Calico's.
pub fn policy(namespace: &str, name: &str, spec: Value) -> Value {
    object(
        "projectcalico.org/v3",
        "NetworkPolicy",
        Some(namespace),
        name,
        spec,
    )
}

/// A GlobalNetworkPolicy.
pub fn global_policy(name: &str, spec: Value) -> Value {
    object(
        "projectcalico.org/v3",
        "GlobalNetworkPolicy",
        None,
        name,
        spec,
    )
}

fn collection(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&object["apiVersion"]);
    let root = if version.contains('/') {
        "/apis"
    } else {
        "/api"
    };
    let kind = text(&object["kind"]).to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/{version}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{version}/{plural}"),
    }
}

fn place(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    format!("{}/{name}", collection(object))
}
