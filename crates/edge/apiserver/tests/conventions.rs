//! The API conventions, over HTTP.

#[path = "common/server.rs"]
mod common;

use common::{APPLY, JSON, JSON_PATCH, MERGE, STRATEGIC, Server};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const GNPS: &str = "/apis/projectcalico.org/v3/globalnetworkpolicies";

fn pod(name: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "app": name } }, "spec": { "containers": [{ "name": "c" }] } })
}

#[tokio::test]
async fn create_sets_what_the_server_sets() {
    let server = Server::start().await;
    let made = server.post(PODS, &pod("a")).await;
    assert_eq!(made.code, 201);
    let meta = &made.body["metadata"];
    assert_eq!(meta["namespace"], "default");
    assert_eq!(meta["generation"], 1);
    assert_eq!(meta["uid"].as_str().unwrap().len(), 36);
    assert!(meta["creationTimestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(made.body["status"]["phase"], "Pending");
    assert_eq!(server.get(&format!("{PODS}/a")).await.body, made.body);

    let again = server.post(PODS, &pod("a")).await;
    assert_eq!(
        (again.code, &again.body["reason"]),
        (409, &json!("AlreadyExists"))
    );
    assert_eq!(again.body["message"], "pods \"a\" already exists");
    let nowhere = server.post("/api/v1/namespaces/gone/pods", &pod("a")).await;
    assert_eq!(
        (nowhere.code, &nowhere.body["message"]),
        (404, &json!("namespaces \"gone\" not found"))
    );
    let other = server
        .post(
            PODS,
            &json!({ "metadata": { "name": "b", "namespace": "x" } }),
        )
        .await;
    assert_eq!(other.code, 400);
    let generated = server
        .post(PODS, &json!({ "metadata": { "generateName": "web-" } }))
        .await;
    let name = generated.body["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
}

#[tokio::test]
async fn namespaces_are_made_named_and_guarded() {
    let server = Server::start().await;
    let list = server.get("/api/v1/namespaces").await.body;
    let names: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["metadata"]["name"])
        .collect();
    assert_eq!(names, ["default", "kube-system"]);
    let made = server
        .post(
            "/api/v1/namespaces",
            &json!({ "metadata": { "name": "shop" } }),
        )
        .await
        .body;
    assert_eq!(
        made["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "shop"
    );
    assert_eq!(made["status"]["phase"], "Active");
    assert_eq!(server.delete("/api/v1/namespaces/default").await.code, 403);
}

#[tokio::test]
async fn update_detects_conflicts_and_keeps_what_is_the_servers() {
    let server = Server::start().await;
    let made = server.post(PODS, &pod("a")).await.body;
    let path = format!("{PODS}/a");

    let mut wish = made.clone();
    wish["spec"]["nodeName"] = "h1".into();
    wish["metadata"]["creationTimestamp"] = "2000-01-01T00:00:00Z".into();
    wish["status"]["phase"] = "Running".into();
    let new = server.put(&path, &wish).await;
    assert_eq!(new.code, 200);
    assert_eq!(new.body["metadata"]["generation"], 2);
    assert_eq!(
        new.body["metadata"]["creationTimestamp"],
        made["metadata"]["creationTimestamp"]
    );
    assert_eq!(new.body["status"]["phase"], "Pending");

    let stale = server.put(&path, &wish).await;
    assert_eq!(
        (stale.code, &stale.body["reason"]),
        (409, &json!("Conflict"))
    );
    wish["metadata"]["resourceVersion"].take();
    wish["spec"]["nodeName"] = "h2".into();
    assert_eq!(
        server.put(&path, &wish).await.body["spec"]["nodeName"],
        "h2"
    );

    // The same again changes nothing, not even the version.
    let before = server.get(&path).await.body;
    assert_eq!(server.put(&path, &wish).await.body, before);
    wish["metadata"]["uid"] = "other".into();
    assert_eq!(server.put(&path, &wish).await.code, 409);
    assert_eq!(server.put(&format!("{PODS}/b"), &pod("b")).await.code, 404);
    assert_eq!(server.put(&path, &pod("b")).await.code, 400);
}

#[tokio::test]
async fn status_has_a_path_of_its_own() {
    let server = Server::start().await;
    server.post(PODS, &pod("a")).await;
    let path = format!("{PODS}/a/status");
    let wish = json!({ "spec": { "nodeName": "ignored" }, "status": { "podIP": "10.0.0.1" } });
    let new = server.patch(&path, MERGE, &wish).await.body;
    assert_eq!(
        new["status"],
        json!({ "phase": "Pending", "podIP": "10.0.0.1" })
    );
    assert_eq!(
        (&new["spec"]["nodeName"], &new["metadata"]["generation"]),
        (&Value::Null, &json!(1))
    );
    let conditions = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    server.patch(&path, STRATEGIC, &conditions).await;
    let conditions =
        json!({ "status": { "conditions": [{ "type": "Other", "status": "False" }] } });
    let new = server.patch(&path, STRATEGIC, &conditions).await.body;
    assert_eq!(new["status"]["conditions"].as_array().unwrap().len(), 2);
    assert_eq!(
        server
            .get("/api/v1/namespaces/default/configmaps/a/status")
            .await
            .code,
        404
    );
}

#[tokio::test]
async fn patches_of_every_kind() {
    let server = Server::start().await;
    server
        .post(
            GNPS,
            &json!({ "metadata": { "name": "p" }, "spec": { "order": 1, "types": ["Ingress"] } }),
        )
        .await;
    let path = format!("{GNPS}/p");
    let new = server
        .patch(
            &path,
            MERGE,
            &json!({ "spec": { "order": null, "tier": "t" } }),
        )
        .await
        .body;
    assert_eq!(new["spec"], json!({ "types": ["Ingress"], "tier": "t" }));
    let operations = json!([{ "op": "add", "path": "/spec/types/-", "value": "Egress" }]);
    let new = server.patch(&path, JSON_PATCH, &operations).await.body;
    assert_eq!(new["spec"]["types"], json!(["Ingress", "Egress"]));
    assert_eq!(
        server
            .patch(
                &path,
                JSON_PATCH,
                &json!([{ "op": "remove", "path": "/x" }])
            )
            .await
            .code,
        400
    );
    for media_type in [STRATEGIC, APPLY, JSON] {
        assert_eq!(
            server.patch(&path, media_type, &json!({})).await.code,
            415,
            "{media_type}"
        );
    }
    let stale = json!({ "metadata": { "resourceVersion": "1" }, "spec": { "order": 5 } });
    assert_eq!(server.patch(&path, MERGE, &stale).await.code, 409);
    assert_eq!(
        server
            .patch(&path, MERGE, &json!({ "metadata": { "name": "q" } }))
            .await
            .code,
        400
    );
    assert_eq!(
        server
            .patch(&format!("{GNPS}/nope"), MERGE, &json!({}))
            .await
            .code,
        404
    );

    server.post(PODS, &pod("a")).await;
    let patch = json!({ "spec": { "containers": [{ "name": "d" }] } });
    let new = server
        .patch(&format!("{PODS}/a"), STRATEGIC, &patch)
        .await
        .body;
    assert_eq!(
        new["spec"]["containers"],
        json!([{ "name": "c" }, { "name": "d" }])
    );
}

#[tokio::test]
async fn lists_select_and_come_in_pages_of_one_version() {
    let server = Server::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        server.post(PODS, &pod(name)).await;
    }
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let selected = server
        .get("/api/v1/pods?labelSelector=app%20in%20(b,d)")
        .await
        .body;
    assert_eq!(names(&selected), ["b", "d"]);
    assert_eq!(
        names(
            &server
                .get("/api/v1/pods?fieldSelector=metadata.name%3Dc")
                .await
                .body
        ),
        ["c"]
    );
    assert_eq!(server.get("/api/v1/pods?labelSelector=(").await.code, 400);

    let first = server.get("/api/v1/pods?limit=2").await.body;
    server.delete(&format!("{PODS}/d")).await;
    server.post(PODS, &pod("f")).await;
    let mut seen = names(&first);
    let mut token = first["metadata"]["continue"].clone();
    while let Some(next) = token.as_str() {
        let page = server
            .get(&format!("/api/v1/pods?limit=2&continue={next}"))
            .await
            .body;
        assert_eq!(
            page["metadata"]["resourceVersion"],
            first["metadata"]["resourceVersion"]
        );
        seen.extend(names(&page));
        token = page["metadata"]["continue"].clone();
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    let page = server
        .get("/api/v1/pods?limit=2&labelSelector=app!%3Db")
        .await
        .body;
    assert_eq!(names(&page), ["a", "c"]);
    assert_eq!(server.get("/api/v1/pods?continue=junk").await.code, 400);
    let then = first["metadata"]["resourceVersion"].as_str().unwrap();
    let exact = server
        .get(&format!(
            "/api/v1/pods?resourceVersion={then}&resourceVersionMatch=Exact"
        ))
        .await
        .body;
    assert_eq!(names(&exact), ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn delete_obeys_preconditions_and_finalizers() {
    let server = Server::start().await;
    let made = server.post(PODS, &pod("a")).await.body;
    let path = format!("{PODS}/a");
    let wrong = json!({ "preconditions": { "uid": "other" } });
    assert_eq!(server.ask("DELETE", &path, JSON, &wrong).await.code, 409);
    let right = json!({ "preconditions": { "uid": made["metadata"]["uid"] }, "propagationPolicy": "Foreground" });
    let done = server.ask("DELETE", &path, JSON, &right).await;
    assert_eq!((done.code, &done.body["status"]), (200, &json!("Success")));
    assert_eq!(server.delete(&path).await.code, 404);

    let mut held = pod("b");
    held["metadata"]["finalizers"] = json!(["example.org/hold"]);
    server.post(PODS, &held).await;
    let path = format!("{PODS}/b");
    assert!(server.delete(&path).await.body["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(server.get(&path).await.code, 200);
    server
        .patch(&path, MERGE, &json!({ "metadata": { "finalizers": null } }))
        .await;
    assert_eq!(server.get(&path).await.code, 404);

    for name in ["c", "d", "e"] {
        server.post(PODS, &pod(name)).await;
    }
    let gone = server
        .delete(&format!("{PODS}?labelSelector=app!%3Dd"))
        .await
        .body;
    assert_eq!(gone["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        server.get(PODS).await.body["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_deleted_namespace_takes_its_content_along() {
    let server = Server::start().await;
    server
        .post(
            "/api/v1/namespaces",
            &json!({ "metadata": { "name": "shop" } }),
        )
        .await;
    let pods = "/api/v1/namespaces/shop/pods";
    let mut held = pod("held");
    held["metadata"]["finalizers"] = json!(["example.org/hold"]);
    server.post(pods, &held).await;
    server.post(pods, &pod("a")).await;
    let mut watch = server
        .watch("/api/v1/namespaces?watch=1&resourceVersion=0&fieldSelector=metadata.name%3Dshop")
        .await;
    assert_eq!(watch.name().await, common::pair("ADDED", "shop"));

    let marked = server.delete("/api/v1/namespaces/shop").await.body;
    assert_eq!(marked["status"]["phase"], "Terminating");
    assert_eq!(watch.name().await, common::pair("MODIFIED", "shop"));
    let late = server.post(pods, &pod("late")).await;
    assert_eq!(
        (late.code, &late.body["reason"]),
        (403, &json!("Forbidden"))
    );

    let mut content = server.watch("/api/v1/pods?watch=1&resourceVersion=0").await;
    assert_eq!(content.name().await, common::pair("ADDED", "a"));
    assert_eq!(content.name().await, common::pair("ADDED", "held"));
    assert_eq!(content.name().await, common::pair("DELETED", "a"));
    assert_eq!(content.name().await, common::pair("MODIFIED", "held"));
    server
        .patch(
            &format!("{pods}/held"),
            MERGE,
            &json!({ "metadata": { "finalizers": [] } }),
        )
        .await;
    assert_eq!(watch.name().await, common::pair("DELETED", "shop"));
    assert_eq!(server.get("/api/v1/namespaces/shop").await.code, 404);
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let server = Server::start().await;
    assert_eq!(
        server
            .post(&format!("{PODS}?dryRun=All"), &pod("a"))
            .await
            .code,
        201
    );
    assert_eq!(server.get(&format!("{PODS}/a")).await.code, 404);
    server.post(PODS, &pod("a")).await;
    assert_eq!(
        server
            .post(&format!("{PODS}?dryRun=All"), &pod("a"))
            .await
            .code,
        409
    );
    let path = format!("{PODS}/a?dryRun=All");
    let patched = server
        .patch(&path, MERGE, &json!({ "spec": { "nodeName": "h" } }))
        .await
        .body;
    assert_eq!(patched["spec"]["nodeName"], "h");
    assert_eq!(server.delete(&path).await.code, 200);
    assert_eq!(
        server.get(&format!("{PODS}/a")).await.body["spec"]["nodeName"],
        Value::Null
    );
}

#[tokio::test]
async fn concurrent_patches_are_all_kept() {
    let server = std::sync::Arc::new(Server::start().await);
    server.post(PODS, &pod("a")).await;
    let patches = (0..8).map(|number| {
        let server = std::sync::Arc::clone(&server);
        tokio::spawn(async move {
            let patch = json!({ "metadata": { "labels": { format!("l{number}"): "x" } } });
            server.patch(&format!("{PODS}/a"), MERGE, &patch).await.code
        })
    });
    for patch in patches.collect::<Vec<_>>() {
        assert_eq!(patch.await.unwrap(), 200);
    }
    let labels = server.get(&format!("{PODS}/a")).await.body["metadata"]["labels"].clone();
    assert_eq!(labels.as_object().unwrap().len(), 9);
}

#[tokio::test]
async fn hostile_requests_get_an_answer() {
    let server = Server::start().await;
    for (method, path, media_type, body, code) in [
        ("POST", PODS, JSON, "{", 400),
        ("POST", PODS, JSON, "[]", 400),
        ("POST", PODS, JSON, "\"\u{0}\"", 400),
        (
            "POST",
            PODS,
            JSON,
            "{\"metadata\":{\"name\":\"../../x\"}}",
            422,
        ),
        (
            "POST",
            PODS,
            JSON,
            "{\"kind\":\"Node\",\"metadata\":{\"name\":\"x\"}}",
            400,
        ),
        (
            "POST",
            PODS,
            "application/vnd.kubernetes.protobuf",
            "k8s",
            415,
        ),
        (
            "POST",
            "/api/v1/namespaces",
            "application/vnd.kubernetes.protobuf",
            "k8s",
            400,
        ),
        ("POST", PODS, "application/yaml", "a: b", 415),
        ("POST", "/api/v1/pods", JSON, "{}", 405),
        ("POST", "/version", JSON, "{}", 405),
        ("PUT", PODS, JSON, "{}", 405),
        ("GET", "/api/v1/pods?limit=-1", JSON, "", 400),
        ("GET", "/api/v1/pods?labelSelector=%ff", JSON, "", 400),
        ("GET", "/nothing", JSON, "", 404),
        ("BREW", PODS, JSON, "", 405),
    ] {
        let answer = common::answer(
            server
                .send(method, path, &[("content-type", media_type)], body)
                .await,
        )
        .await;
        assert_eq!(answer.code, code, "{method} {path} {body}: {answer:?}");
        assert_eq!(answer.body["kind"], "Status");
    }
    let deep = format!(
        "{{\"metadata\":{{\"name\":\"x\"}},\"spec\":{}{}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    assert_eq!(
        common::answer(server.send("POST", PODS, &[], &deep).await)
            .await
            .code,
        400
    );
    let big = "x".repeat(4 << 20);
    assert_eq!(
        common::answer(server.send("POST", PODS, &[], &big).await)
            .await
            .code,
        413
    );
}
