//! A server for one test, and a small client of it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ocicat_apiserver::{Admission, AdmitAll, Config, Handle, Listen, serve};
use ocicat_store::{Options, Store};
use serde_json::Value;
use tokio::net::TcpStream;

pub const JSON: &str = "application/json";
pub const MERGE: &str = "application/merge-patch+json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const APPLY: &str = "application/apply-patch+yaml";
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

pub struct Server {
    pub handle: Handle,
    pub store: Store,
}

/// An answer: code, value of the body, warnings.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
    pub warnings: Vec<String>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Store::memory(Options::default()), Arc::new(AdmitAll)).await
    }

    pub async fn with(store: Store, admission: Arc<dyn Admission>) -> Self {
        let listen = vec![Listen::Tcp(([127, 0, 0, 1], 0).into())];
        let handle = serve(Config {
            listen,
            store: store.clone(),
            admission,
        })
        .await
        .unwrap();
        Self { handle, store }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.handle.addresses()[0])
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> hyper::Response<Incoming> {
        let stream = TcpStream::connect(self.handle.addresses()[0])
            .await
            .unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = hyper::Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "test");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        sender.send_request(request).await.unwrap()
    }

    pub async fn ask(&self, method: &str, path: &str, media_type: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        answer(
            self.send(method, path, &[("content-type", media_type)], &body)
                .await,
        )
        .await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, JSON, &Value::Null).await
    }

    pub async fn table(&self, path: &str) -> Answer {
        answer(self.send("GET", path, &[("accept", TABLE)], "").await).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, JSON, body).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask("PUT", path, JSON, body).await
    }

    pub async fn patch(&self, path: &str, media_type: &str, body: &Value) -> Answer {
        self.ask("PATCH", path, media_type, body).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, JSON, &Value::Null).await
    }

    pub async fn watch(&self, path: &str) -> Events {
        let response = self.send("GET", path, &[], "").await;
        assert_eq!(response.status(), 200);
        Events {
            body: response.into_body(),
            read: Vec::new(),
        }
    }
}

pub async fn answer(response: hyper::Response<Incoming>) -> Answer {
    let code = response.status().as_u16();
    let warnings = response
        .headers()
        .get_all("warning")
        .iter()
        .map(|value| value.to_str().unwrap().to_owned())
        .collect();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
    Answer {
        code,
        body,
        warnings,
    }
}

/// The events of a watch.
pub struct Events {
    body: Incoming,
    read: Vec<u8>,
}

impl Events {
    /// The next event as (type, object); `None` at the end of the response.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let mut event: Value = serde_json::from_slice(&line).unwrap();
                return Some((
                    event["type"].as_str().unwrap().to_owned(),
                    event["object"].take(),
                ));
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame())
                .await
                .expect("an event");
            self.read
                .extend_from_slice(&frame?.unwrap().into_data().unwrap());
        }
    }

    /// The next event as (type, name).
    pub async fn name(&mut self) -> (String, String) {
        let (kind, object) = self.next().await.expect("the watch goes on");
        (
            kind,
            object["metadata"]["name"].as_str().unwrap_or("").to_owned(),
        )
    }
}

pub fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}
