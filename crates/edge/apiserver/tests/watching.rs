//! Watches, over HTTP.

#[path = "common/server.rs"]
mod common;

use std::sync::Arc;

use common::{MERGE, Server, TABLE, pair};
use ocicat_apiserver::AdmitAll;
use ocicat_store::{Options, Store};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str, app: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "app": app } }, "spec": {} })
}

async fn version(server: &Server) -> String {
    server.get("/api/v1/pods").await.body["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn events_follow_the_list() {
    let server = Server::start().await;
    server.post(PODS, &pod("old", "web")).await;
    let from = version(&server).await;
    let mut watch = server
        .watch(&format!("/api/v1/pods?watch=true&resourceVersion={from}"))
        .await;
    let made = server.post(PODS, &pod("a", "web")).await.body;
    server
        .post(
            "/api/v1/namespaces/default/configmaps",
            &json!({ "metadata": { "name": "other" } }),
        )
        .await;
    let patched = server
        .patch(
            &format!("{PODS}/a"),
            MERGE,
            &json!({ "spec": { "nodeName": "h" } }),
        )
        .await
        .body;
    server.delete(&format!("{PODS}/a")).await;
    assert_eq!(watch.next().await, Some(("ADDED".to_owned(), made)));
    assert_eq!(
        watch.next().await,
        Some(("MODIFIED".to_owned(), patched.clone()))
    );
    let (kind, gone) = watch.next().await.unwrap();
    assert_eq!(
        (kind.as_str(), &gone["spec"]),
        ("DELETED", &patched["spec"])
    );
    let number = |object: &Value| {
        object["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(number(&gone) > number(&patched));
}

#[tokio::test]
async fn what_enters_and_leaves_a_selection() {
    let server = Server::start().await;
    server.post(PODS, &pod("a", "db")).await;
    let mut watch = server
        .watch(&format!(
            "{PODS}?watch=1&resourceVersion=0&labelSelector=app%3Dweb"
        ))
        .await;
    let label = |app: &str| json!({ "metadata": { "labels": { "app": app } } });
    let path = format!("{PODS}/a");
    for app in ["web", "db"] {
        server.patch(&path, MERGE, &label(app)).await;
    }
    server
        .patch(&path, MERGE, &json!({ "spec": { "nodeName": "h" } }))
        .await;
    server.post(PODS, &pod("b", "web")).await;
    assert_eq!(watch.name().await, pair("ADDED", "a"));
    let (kind, left) = watch.next().await.unwrap();
    assert_eq!(
        (kind.as_str(), &left["metadata"]["labels"]["app"]),
        ("DELETED", &json!("web"))
    );
    assert_eq!(watch.name().await, pair("ADDED", "b"));
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_bookmark() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        server.post(PODS, &pod(name, "web")).await;
    }
    let path = format!(
        "{PODS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut watch = server.watch(&path).await;
    assert_eq!(watch.name().await, pair("ADDED", "a"));
    assert_eq!(watch.name().await, pair("ADDED", "b"));
    let (kind, bookmark) = watch.next().await.unwrap();
    assert_eq!(
        (kind.as_str(), &bookmark["kind"]),
        ("BOOKMARK", &json!("Pod"))
    );
    assert_eq!(
        bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(
        bookmark["metadata"]["resourceVersion"],
        json!(version(&server).await)
    );
    server.post(PODS, &pod("c", "web")).await;
    assert_eq!(watch.name().await, pair("ADDED", "c"));
}

#[tokio::test]
async fn a_watch_ends_in_time_with_a_bookmark() {
    let server = Server::start().await;
    let from = version(&server).await;
    let path =
        format!("{PODS}?watch=1&resourceVersion={from}&timeoutSeconds=1&allowWatchBookmarks=true");
    let mut watch = server.watch(&path).await;
    // Not a pod: only a bookmark can tell the client that this is behind it.
    server
        .post(
            "/api/v1/namespaces",
            &json!({ "metadata": { "name": "x" } }),
        )
        .await;
    let (kind, bookmark) = watch.next().await.unwrap();
    assert_eq!(
        (kind, bookmark["metadata"]["resourceVersion"].clone()),
        ("BOOKMARK".to_owned(), json!(version(&server).await))
    );
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn who_is_too_late_or_too_early_lists_again() {
    let store = Store::memory(Options {
        keep_changes: 5,
        ..Options::default()
    });
    let server = Server::with(store, Arc::new(AdmitAll)).await;
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        server.post(PODS, &pod(name, "web")).await;
    }
    // The newest changes also stay in memory, which serves this watch well: nothing was lost.
    let mut kept = server
        .watch(&format!("{PODS}?watch=1&resourceVersion=2"))
        .await;
    assert_eq!(kept.name().await, pair("ADDED", "a"));
    let mut early = server
        .watch(&format!("{PODS}?watch=1&resourceVersion=1000"))
        .await;
    let (kind, status) = early.next().await.unwrap();
    assert_eq!(
        (kind.as_str(), &status["code"], &status["reason"]),
        ("ERROR", &json!(410), &json!("Expired"))
    );
    assert_eq!(early.next().await, None);
    let exact = server
        .get("/api/v1/pods?resourceVersion=1&resourceVersionMatch=Exact")
        .await;
    assert_eq!(
        (exact.code, &exact.body["reason"]),
        (410, &json!("Expired"))
    );
}

#[tokio::test]
async fn one_object_can_be_watched_by_its_path() {
    let server = Server::start().await;
    server.post(PODS, &pod("a", "web")).await;
    server.post(PODS, &pod("ab", "web")).await;
    let mut watch = server
        .watch(&format!("{PODS}/a?watch=1&resourceVersion=0"))
        .await;
    assert_eq!(watch.name().await, pair("ADDED", "a"));
    server.delete(&format!("{PODS}/ab")).await;
    server.delete(&format!("{PODS}/a")).await;
    assert_eq!(watch.name().await, pair("DELETED", "a"));
}

#[tokio::test]
async fn tables_of_lists_and_watches() {
    let server = Server::start().await;
    server.post(PODS, &pod("a", "web")).await;
    let table = server.table(PODS).await.body;
    assert_eq!(
        (&table["kind"], &table["rows"][0]["cells"][0]),
        (&json!("Table"), &json!("a"))
    );
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let path = format!("{PODS}?watch=1&resourceVersion=0&timeoutSeconds=1");
    let answer = common::answer(server.send("GET", &path, &[("accept", TABLE)], "").await).await;
    assert_eq!(
        (&answer.body["type"], &answer.body["object"]["kind"]),
        (&json!("ADDED"), &json!("Table"))
    );
}

#[tokio::test]
async fn stopping_ends_watches_at_once() {
    let server = Server::start().await;
    let mut watch = server
        .watch(&format!("{PODS}?watch=1&resourceVersion=0"))
        .await;
    let started = std::time::Instant::now();
    let Server { handle, store } = server;
    handle.stop().await;
    assert_eq!(watch.next().await, None);
    assert!(started.elapsed().as_secs() < 3);
    assert!(
        store
            .get("/registry/core/namespaces/default")
            .await
            .unwrap()
            .is_some()
    );
}
