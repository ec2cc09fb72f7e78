//! The client against a scripted server: what it asks, and what it makes of the answers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use ocicat_api::Kind;
use ocicat_client::{Applied, Client, Endpoint, Error, Event, Mode, Name, Retry, Selection};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Answers the requests it gets, in order, from a script; each on a connection of its own.
struct Server {
    path: std::path::PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(script: Vec<(u16, String)>) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ocicat-client-{}-{number}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        tokio::spawn(async move {
            for (code, body) in script {
                let (stream, _) = listener.accept().await.unwrap();
                answer(stream, &seen, code, &body).await;
            }
        });
        Self { path, asked }
    }

    async fn client(&self) -> Client {
        Client::connect(&Endpoint::Unix(self.path.clone()))
            .await
            .unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, seen: &Mutex<Vec<String>>, code: u16, body: &str) {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    let (head, length) = loop {
        let count = stream.read(&mut chunk).await.unwrap();
        assert!(count > 0, "the client hung up");
        request.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text
                .lines()
                .find_map(|x| x.strip_prefix("content-length: "));
            break (
                end,
                length.map_or(0, |x| x.trim().parse::<usize>().unwrap()),
            );
        }
    };
    while request.len() < head + 4 + length {
        let count = stream.read(&mut chunk).await.unwrap();
        request.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8_lossy(&request);
    let line = text.lines().next().unwrap().trim_end_matches(" HTTP/1.1");
    let body_text = &text[head + 4..];
    seen.lock()
        .unwrap()
        .push(format!("{line} {body_text}").trim().to_owned());
    let answer = format!(
        "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

fn pod(name: &str, version: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "resourceVersion": version.to_string()}})
}

fn list(items: &[Value], version: u32, token: &str) -> (u16, String) {
    let list = json!({"items": items,
        "metadata": {"resourceVersion": version.to_string(), "continue": token}});
    (200, list.to_string())
}

fn lines(events: &[(&str, Value)]) -> (u16, String) {
    let line = |(kind, object): &(&str, Value)| json!({"type": kind, "object": object}).to_string();
    (200, events.iter().map(|event| line(event) + "\n").collect())
}

fn gone() -> (u16, String) {
    (
        410,
        json!({"kind": "Status", "code": 410, "message": "too old"}).to_string(),
    )
}

/// What an event says, in a word.
fn word(event: &Event) -> String {
    match event {
        Event::Restarted => "restarted".into(),
        Event::Upsert(bytes) => {
            let object: Value = serde_json::from_slice(bytes).unwrap();
            assert_eq!(object["kind"], "Pod");
            format!("upsert {}", Name::of(&object).unwrap())
        }
        Event::Deleted { name, .. } => format!("deleted {name}"),
        Event::Synced => "synced".into(),
        Event::Interrupted(_) => "interrupted".into(),
    }
}

#[tokio::test]
async fn a_watch_lists_follows_and_goes_on_where_it_was() {
    let bookmark = json!({"kind": "Pod", "metadata": {"resourceVersion": "30"}});
    let server = Server::start(vec![
        list(&[pod("a", 1), pod("b", 2)], 10, "next"),
        list(&[pod("c", 3)], 10, ""),
        lines(&[
            ("ADDED", pod("d", 11)),
            ("DELETED", pod("a", 12)),
            ("BOOKMARK", bookmark),
        ]),
        lines(&[("MODIFIED", pod("b", 31))]),
        (
            200,
            json!({"type": "ERROR", "object": {"code": 410}}).to_string() + "\n",
        ),
        list(&[pod("b", 31)], 40, ""),
    ]);
    let mut watch = server.client().await.watch(Kind::Pod, Selection::all());
    let mut words = Vec::new();
    while words.iter().filter(|x| *x == "synced").count() < 2 {
        words.push(word(&watch.next().await));
    }
    let told = [
        "restarted",
        "upsert shop/a",
        "upsert shop/b",
        "upsert shop/c",
        "synced",
        "upsert shop/d",
        "deleted shop/a",
        "upsert shop/b",
        "restarted",
        "upsert shop/b",
        "synced",
    ];
    assert_eq!(words, told);
    let asked = server.asked();
    assert_eq!(asked[0], "GET /api/v1/pods?limit=500");
    assert_eq!(asked[1], "GET /api/v1/pods?limit=500&continue=next");
    assert!(asked[2].ends_with("resourceVersion=10"), "{}", asked[2]);
    assert!(asked[3].ends_with("resourceVersion=30"), "{}", asked[3]);
    assert!(asked[4].ends_with("resourceVersion=31"), "{}", asked[4]);
    assert_eq!(asked[5], "GET /api/v1/pods?limit=500");
}

#[tokio::test]
async fn a_listing_whose_pages_expire_begins_anew_without_pages() {
    let server = Server::start(vec![
        list(&[pod("a", 1)], 10, "next"),
        gone(),
        list(&[pod("b", 2)], 20, ""),
    ]);
    let mut watch = server.client().await.watch(Kind::Pod, Selection::all());
    let mut words = Vec::new();
    while words.last().is_none_or(|x| x != "synced") {
        words.push(word(&watch.next().await));
    }
    assert_eq!(
        words,
        [
            "restarted",
            "upsert shop/a",
            "restarted",
            "upsert shop/b",
            "synced"
        ]
    );
    assert_eq!(server.asked()[2], "GET /api/v1/pods");
}

#[tokio::test]
async fn a_watch_outlives_errors() {
    let server = Server::start(vec![
        (500, "no".into()),
        list(&[], 1, ""),
        (500, "no".into()),
        lines(&[("ADDED", pod("a", 2))]),
    ]);
    let mut watch = server.client().await.watch(Kind::Pod, Selection::all());
    let mut words = Vec::new();
    for _ in 0..5 {
        words.push(word(&watch.next().await));
    }
    assert_eq!(
        words,
        [
            "interrupted",
            "restarted",
            "synced",
            "interrupted",
            "upsert shop/a"
        ]
    );
}

#[tokio::test]
async fn apply_creates_changes_and_leaves_alone() {
    let wanted = json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier",
        "metadata": {"name": "a"}, "spec": {"order": 2}});
    let stored = |order: u32, version: u32| {
        json!({"metadata": {"name": "a", "resourceVersion": version.to_string()},
            "spec": {"order": order}})
    };
    let server = Server::start(vec![
        (404, "{}".into()),
        (201, stored(2, 1).to_string()),
        (200, stored(1, 1).to_string()),
        (200, stored(2, 2).to_string()),
        (200, stored(2, 2).to_string()),
        (200, stored(2, 2).to_string()),
    ]);
    let client = server.client().await;
    let apply = || client.apply(Kind::Tier, &wanted, Mode::Write);
    assert_eq!(apply().await.unwrap(), Applied::Created);
    assert_eq!(apply().await.unwrap(), Applied::Configured);
    assert_eq!(apply().await.unwrap(), Applied::Unchanged);
    let asked = server.asked();
    assert!(
        asked[1].starts_with("POST /apis/projectcalico.org/v3/tiers?"),
        "{}",
        asked[1]
    );
    assert!(asked[1].contains("last-applied-configuration"));
    assert!(
        asked[3].starts_with("PATCH /apis/projectcalico.org/v3/tiers/a?"),
        "{}",
        asked[3]
    );
    assert!(asked[3].contains(r#""spec":{"order":2}"#));
}

#[tokio::test]
async fn modify_begins_again_after_a_conflict() {
    let conflict = (
        409,
        json!({"reason": "Conflict", "message": "changed"}).to_string(),
    );
    let server = Server::start(vec![
        (200, pod("a", 1).to_string()),
        conflict,
        (200, pod("a", 2).to_string()),
        (200, pod("a", 3).to_string()),
        (200, pod("a", 3).to_string()),
    ]);
    let client = server.client().await;
    let name = Name::namespaced("shop", "a");
    let after = client
        .modify(Kind::Pod, &name, |pod| pod["x"] = true.into())
        .await
        .unwrap();
    assert_eq!(after, pod("a", 3));
    assert!(
        server.asked()[3].contains(r#""resourceVersion":"2""#),
        "{:?}",
        server.asked()
    );
    client.modify(Kind::Pod, &name, |_| {}).await.unwrap();
    assert_eq!(
        server.asked().len(),
        5,
        "an unchanged object is not written"
    );
}

#[tokio::test]
async fn reads_are_repeated_and_refusals_are_not() {
    let server = Server::start(vec![
        (503, "later".into()),
        (200, pod("a", 1).to_string()),
        (
            422,
            json!({"details": {"causes": [{"field": "spec", "message": "no"}]}}).to_string(),
        ),
    ]);
    let client = server.client().await;
    assert_eq!(
        client
            .get(Kind::Pod, Name::namespaced("shop", "a"))
            .await
            .unwrap(),
        pod("a", 1)
    );
    let refused = client.create(Kind::Pod, &pod("a", 1)).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { ref causes, .. } if causes[0].field == "spec"));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn nobody_there_says_where() {
    let endpoint: Endpoint = "unix:/nonexistent/api.sock".parse().unwrap();
    let client = Client::connect(&endpoint)
        .await
        .unwrap()
        .with_retry(Retry::NONE);
    let error = client.ready().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { unsent: true, .. }));
    let text = error.to_string();
    assert_eq!(
        text,
        "cannot reach unix:/nonexistent/api.sock: No such file or directory (os error 2)"
    );
    let endpoint: Endpoint = "http://127.0.0.1:1".parse().unwrap();
    let client = Client::connect(&endpoint)
        .await
        .unwrap()
        .with_retry(Retry::NONE);
    let text = client.ready().await.unwrap_err().to_string();
    assert!(
        text.ends_with("Connection refused (os error 111)"),
        "{text}"
    );
}
