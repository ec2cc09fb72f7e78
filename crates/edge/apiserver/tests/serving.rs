//! Listening, admission, discovery.

#[path = "common/server.rs"]
mod common;

use std::sync::Arc;

use common::{JSON, Server};
use ocicat_apiserver::{
    Admission, AdmitAll, Admitted, Cause, Config, Error, FieldProblem, Listen, serve,
};
use ocicat_store::{Options, Store};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const TIERS: &str = "/apis/projectcalico.org/v3/tiers";

fn config(listen: Vec<Listen>) -> Config {
    Config {
        listen,
        store: Store::memory(Options::default()),
        admission: Arc::new(AdmitAll),
    }
}

#[tokio::test]
async fn only_protected_places_are_served() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[2001:db8::1]:80"] {
        let refused = serve(config(vec![Listen::Tcp(address.parse().unwrap())]))
            .await
            .err();
        assert!(
            matches!(refused, Some(Error::Exposed(_))),
            "{address}: {refused:?}"
        );
    }
    assert!(matches!(
        serve(config(Vec::new())).await.err(),
        Some(Error::Nowhere)
    ));
}

#[tokio::test]
async fn several_places_at_once() {
    let path = std::env::temp_dir().join(format!("ocicat-apiserver-{}.sock", std::process::id()));
    // What a killed server leaves behind does not hinder the next one.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let v4 = Listen::Tcp("127.0.0.1:0".parse().unwrap());
    let v6 = Listen::Tcp("[::1]:0".parse().unwrap());
    let server = serve(config(vec![v4, v6, Listen::Unix(path.clone())]))
        .await
        .unwrap();
    assert_eq!(server.addresses().len(), 2);
    for address in server.addresses() {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut stream).await.ends_with("ok"));
    }
    let mut stream = UnixStream::connect(&path).await.unwrap();
    assert!(ask(&mut stream).await.ends_with("ok"));
    let second = serve(config(vec![Listen::Unix(path.clone())])).await.err();
    assert!(matches!(second, Some(Error::Bind { .. })), "{second:?}");
    server.stop().await;
    assert!(!path.exists());
}

async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> String {
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let server = Server::start().await;
    for (headers, code) in [
        (&[("host", "127.0.0.1:80")][..], 200),
        (&[("host", "[::1]:80")], 200),
        (
            &[
                ("host", "localhost:8001"),
                ("origin", "http://localhost:8001"),
            ],
            200,
        ),
        (&[("host", "evil.example:80")], 403),
        (&[("host", "192.0.2.1")], 403),
        (
            &[
                ("host", "localhost:8001"),
                ("origin", "http://evil.example"),
            ],
            403,
        ),
        (&[("host", "localhost"), ("origin", "null")], 403),
    ] {
        let answer = common::answer(server.send("GET", TIERS, headers, "").await).await;
        assert_eq!(answer.code, code, "{headers:?}");
    }
}

/// Knows `spec.order`, which is a number, and gives tiers a default action.
struct Tiers;

impl Admission for Tiers {
    fn admit(&self, object: &Value) -> Result<Admitted, Vec<FieldProblem>> {
        let mut object = object.clone();
        if object["kind"] != "Tier" {
            return AdmitAll.admit(&object);
        }
        if object["spec"]["order"].is_string() {
            let (field, detail) = (
                "spec.order".to_owned(),
                "\"first\": expected a number".to_owned(),
            );
            return Err(vec![FieldProblem {
                field,
                cause: Cause::Invalid,
                detail,
            }]);
        }
        object["spec"]["defaultAction"] = "Deny".into();
        let unknown_fields = object["spec"]
            .get("ordre")
            .map(|_| "spec.ordre".to_owned())
            .into_iter()
            .collect();
        Ok(Admitted {
            object,
            warnings: vec!["tiers \"are\" serious".to_owned()],
            unknown_fields,
        })
    }
}

#[tokio::test]
async fn admission_refuses_defaults_and_warns() {
    let server = Server::with(Store::memory(Options::default()), Arc::new(Tiers)).await;
    let made = server
        .post(TIERS, &json!({ "metadata": { "name": "a" }, "spec": {} }))
        .await;
    assert_eq!(made.body["spec"]["defaultAction"], "Deny");
    assert_eq!(made.warnings, ["299 - \"tiers \\\"are\\\" serious\""]);

    let wrong = json!({ "metadata": { "name": "b" }, "spec": { "order": "first" } });
    let refused = server.post(TIERS, &wrong).await;
    assert_eq!(refused.code, 422);
    let message = "Tier.projectcalico.org \"b\" is invalid: spec.order: Invalid value: \"first\": expected a number";
    assert_eq!(refused.body["message"], message);
    assert_eq!(refused.body["details"]["causes"][0]["field"], "spec.order");

    let typo = json!({ "metadata": { "name": "c" }, "spec": { "ordre": 1 } });
    let strict = server
        .post(&format!("{TIERS}?fieldValidation=Strict"), &typo)
        .await;
    assert_eq!(strict.code, 400);
    assert!(
        strict.body["message"]
            .as_str()
            .unwrap()
            .contains("unknown field \"spec.ordre\"")
    );
    let warned = server
        .post(&format!("{TIERS}?fieldValidation=Warn&dryRun=All"), &typo)
        .await;
    assert_eq!((warned.code, warned.warnings.len()), (201, 2));
    let ignored = server
        .post(&format!("{TIERS}?fieldValidation=Ignore"), &typo)
        .await;
    assert_eq!((ignored.code, ignored.warnings.len()), (201, 1));

    let patch = json!({ "spec": { "order": "first" } });
    assert_eq!(
        server
            .patch(&format!("{TIERS}/a"), common::MERGE, &patch)
            .await
            .code,
        422
    );
}

#[tokio::test]
async fn discovery_tells_the_same_in_both_forms() {
    let server = Server::start().await;
    let groups = server.get("/apis").await.body;
    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let response = server.send("GET", "/apis", &[("accept", accept)], "").await;
    let media_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        media_type.contains("as=APIGroupDiscoveryList"),
        "{media_type}"
    );
    let aggregated = common::answer(response).await.body;
    for (at, group) in groups["groups"].as_array().unwrap().iter().enumerate() {
        assert_eq!(aggregated["items"][at]["metadata"]["name"], group["name"]);
        let version = group["preferredVersion"]["groupVersion"].as_str().unwrap();
        let resources = server.get(&format!("/apis/{version}")).await.body;
        let names = |list: &Value, field: &str| -> Vec<Value> {
            let all = list
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry[field].clone());
            all.filter(|name| !name.as_str().unwrap().contains('/'))
                .collect()
        };
        let whole = &aggregated["items"][at]["versions"][0]["resources"];
        assert_eq!(
            names(&resources["resources"], "name"),
            names(whole, "resource")
        );
    }
    let policies = server.get("/apis/projectcalico.org/v3").await.body["resources"].clone();
    let policies = policies
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["name"] == "globalnetworkpolicies")
        .unwrap();
    assert_eq!(
        (&policies["shortNames"], &policies["namespaced"]),
        (&json!(["gnp", "cgnp"]), &json!(false))
    );
}

#[tokio::test]
async fn data_and_versions_survive_a_restart() {
    let path = std::env::temp_dir().join(format!("ocicat-apiserver-{}.redb", std::process::id()));
    let open = || Store::open(&path, Options::default()).unwrap();
    let server = Server::with(open(), Arc::new(AdmitAll)).await;
    let made = server
        .post(TIERS, &json!({ "metadata": { "name": "a" } }))
        .await
        .body;
    let Server { handle, store } = server;
    handle.stop().await;
    store.close().await;
    drop(store);
    // The last task may take an instant to let go of the file.
    let store = loop {
        match Store::open(&path, Options::default()) {
            Ok(store) => break store,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let server = Server::with(store, Arc::new(AdmitAll)).await;
    assert_eq!(server.get(&format!("{TIERS}/a")).await.body, made);
    let from = made["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = server
        .watch(&format!("{TIERS}?watch=1&resourceVersion={from}"))
        .await;
    server
        .ask("DELETE", &format!("{TIERS}/a"), JSON, &Value::Null)
        .await;
    assert_eq!(watch.name().await, common::pair("DELETED", "a"));
    std::fs::remove_file(&path).unwrap();
}
