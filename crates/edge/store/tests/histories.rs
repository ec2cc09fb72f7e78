//! Random histories: memory, redb and a list of whole states must tell the same story.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use ocicat_store::{Error, Event, Expected, Options, Range, Store, Write};
use proptest::prelude::*;

const OPTIONS: Options = Options {
    keep_changes: 12,
    cache_bytes: 1 << 20,
};

/// A file of this test's own, removed in the end.
struct TempFile(PathBuf);

impl TempFile {
    fn new() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "ocicat-store-{}-{}.redb",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        );
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u8, u8, u8)>),
    Range {
        prefix: u8,
        after: Option<u8>,
        limit: Option<usize>,
        back: Option<u64>,
    },
    Watch {
        back: u64,
    },
    Reopen,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (0..8u8, 0..6u8, 0..4u8);
    let step = prop_oneof![
        8 => prop::collection::vec(write, 1..4).prop_map(Step::Commit),
        3 => (0..3u8, prop::option::of(0..8u8), prop::option::of(0..4usize), prop::option::of(0..20u64))
            .prop_map(|(prefix, after, limit, back)| Step::Range { prefix, after, limit, back }),
        2 => (0..20u64).prop_map(|back| Step::Watch { back }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

fn key(number: u8) -> String {
    format!("/{}/{number}", number % 2)
}

fn writes(parts: &[(u8, u8, u8)], head: u64) -> Vec<Write> {
    let write = |&(number, demand, action): &(u8, u8, u8)| {
        let expected = match demand {
            0 => Expected::Absent,
            1 => Expected::Present,
            2 => Expected::At(head.saturating_sub(u64::from(action))),
            _ => Expected::Any,
        };
        match action {
            0 => Write::delete(&key(number), expected),
            1 => Write::check(&key(number), expected),
            _ => Write::put(
                &key(number),
                format!("{head}-{number}").as_bytes(),
                expected,
            ),
        }
    };
    parts.iter().map(write).collect()
}

/// Every state there ever was: what the stores must agree with.
struct Model {
    states: Vec<BTreeMap<String, (Vec<u8>, u64)>>,
}

impl Model {
    fn learn(&mut self, events: &[std::sync::Arc<Event>]) {
        for event in events {
            let mut state = self.states.last().cloned().unwrap_or_default();
            assert_eq!(usize::try_from(event.revision).unwrap(), self.states.len());
            let before = event
                .before
                .as_ref()
                .map(|entry| (entry.value.to_vec(), entry.modified));
            assert_eq!(
                state.get(event.key()).cloned(),
                before,
                "before of {event:?}"
            );
            match &event.after {
                Some(entry) => state.insert(
                    event.key().to_owned(),
                    (entry.value.to_vec(), entry.modified),
                ),
                None => state.remove(event.key()),
            };
            self.states.push(state);
        }
    }

    fn range(&self, range: &Range, at: u64) -> Vec<(String, (Vec<u8>, u64))> {
        let covered = |key: &str| {
            key.starts_with(&range.prefix) && range.after.as_deref().is_none_or(|after| key > after)
        };
        self.states[usize::try_from(at).unwrap()]
            .iter()
            .filter(|(key, _)| covered(key))
            .take(range.limit.unwrap_or(usize::MAX))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

struct Run {
    file: TempFile,
    disk: Store,
    memory: Store,
    model: Model,
}

impl Run {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Commit(parts) => self.commit(&parts).await,
            Step::Range {
                prefix,
                after,
                limit,
                back,
            } => self.range(prefix, after, limit, back).await,
            Step::Watch { back } => self.watch(back).await,
            Step::Reopen => {
                self.let_go().await;
                self.disk = Store::open(&self.file.0, OPTIONS).unwrap();
            }
            Step::Crash => self.crash().await,
        }
    }

    async fn commit(&mut self, parts: &[(u8, u8, u8)]) {
        let head = self.memory.revision();
        let writes = writes(parts, head);
        let (ours, theirs) = (
            self.memory.commit(writes.clone()).await,
            self.disk.commit(writes).await,
        );
        assert_eq!(ours, theirs);
        assert_eq!(self.memory.revision(), self.disk.revision());
        if self.memory.revision() > head {
            let events = self.memory.watch("", head).next().await.unwrap().events;
            self.model.learn(&events);
        }
    }

    async fn range(&self, prefix: u8, after: Option<u8>, limit: Option<usize>, back: Option<u64>) {
        let prefix = ["", "/0/", "/1/"][usize::from(prefix)].to_owned();
        let at = back.map(|back| self.memory.revision().saturating_sub(back));
        let range = Range {
            prefix,
            after: after.map(key),
            limit,
            at,
        };
        let (ours, theirs) = (
            self.memory.range(range.clone()).await,
            self.disk.range(range.clone()).await,
        );
        assert_eq!(ours, theirs);
        match ours {
            Err(error) => assert!(matches!(error, Error::Compacted { .. }), "{error}"),
            Ok(page) => {
                let found: Vec<_> = page
                    .entries
                    .iter()
                    .map(|entry| {
                        (
                            entry.key.to_string(),
                            (entry.value.to_vec(), entry.modified),
                        )
                    })
                    .collect();
                assert_eq!(found, self.model.range(&range, page.revision));
            }
        }
    }

    async fn watch(&self, back: u64) {
        let head = self.memory.revision();
        let from = head.saturating_sub(back);
        if from == head {
            return;
        }
        let ours = self
            .memory
            .watch("", from)
            .next()
            .await
            .map(|batch| batch.events);
        let theirs = self
            .disk
            .watch("", from)
            .next()
            .await
            .map(|batch| batch.events);
        // What was compacted may still be in the memory of one of them.
        if let (Ok(ours), Ok(theirs)) = (&ours, &theirs) {
            assert_eq!(ours, theirs);
            assert_eq!(ours.len() as u64, head - from);
        }
        assert!(back > OPTIONS.keep_changes || (ours.is_ok() && theirs.is_ok()));
    }

    /// Closes the file and drops the last handle on it.
    async fn let_go(&mut self) {
        self.disk.close().await;
        self.disk = Store::memory(OPTIONS);
    }

    /// The file as a crash would leave it: no farewell was written.
    async fn crash(&mut self) {
        let copy = TempFile::new();
        std::fs::copy(&self.file.0, &copy.0).unwrap();
        self.let_go().await;
        self.file = copy;
        self.disk = Store::open(&self.file.0, OPTIONS).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_redb_and_model_agree(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let file = TempFile::new();
            let disk = Store::open(&file.0, OPTIONS).unwrap();
            let model = Model { states: vec![BTreeMap::new()] };
            let mut run = Run { file, disk, memory: Store::memory(OPTIONS), model };
            for step in steps {
                run.step(step).await;
            }
            let (ours, theirs) = (run.memory.range(Range::default()).await, run.disk.range(Range::default()).await);
            assert_eq!(ours, theirs);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_lose_nothing() {
    let file = TempFile::new();
    let store = Store::open(&file.0, Options::default()).unwrap();
    store
        .commit(vec![Write::put("/n", b"0", Expected::Absent)])
        .await
        .unwrap();
    let workers: Vec<_> = (0..8)
        .map(|_| tokio::spawn(increment(store.clone(), 20)))
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let entry = store.get("/n").await.unwrap().unwrap();
    assert_eq!(
        (&*entry.value, entry.created, entry.modified),
        (&b"160"[..], 1, 161)
    );
}

async fn increment(store: Store, times: usize) {
    let mut done = 0;
    while done < times {
        let entry = store.get("/n").await.unwrap().unwrap();
        let number: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
        let write = Write::put(
            "/n",
            (number + 1).to_string().as_bytes(),
            Expected::At(entry.modified),
        );
        match store.commit(vec![write]).await {
            Ok(_) => done += 1,
            Err(Error::Conflict { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_lagging_watch_reads_the_log_and_then_is_told() {
    let file = TempFile::new();
    let options = Options {
        keep_changes: 6_000,
        ..Options::default()
    };
    let store = Store::open(&file.0, options).unwrap();
    let mut slow = store.watch("/a/", 0);
    for round in 0..10 {
        let writes = (0..500)
            .map(|n| Write::put(&format!("/a/{round}-{n}"), b"x", Expected::Absent))
            .collect();
        store.commit(writes).await.unwrap();
    }
    // 5,000 changes: the oldest are no longer in memory, all are in the log.
    let mut seen = 0;
    while seen < 5_000 {
        for event in slow.next().await.unwrap().events {
            seen += 1;
            assert_eq!(event.revision, seen);
        }
    }
    let mut late = store.watch("/a/", 0);
    for round in 0..10 {
        let writes = (0..500)
            .map(|n| Write::delete(&format!("/a/{round}-{n}"), Expected::Present))
            .collect();
        store.commit(writes).await.unwrap();
    }
    assert!(matches!(
        late.next().await,
        Err(Error::Compacted { requested: 0, .. })
    ));
    assert_eq!(slow.next().await.unwrap().events[0].revision, 5_001);
}

#[tokio::test]
async fn a_watch_sees_only_its_prefix_and_ends_with_the_store() {
    let store = Store::memory(Options::default());
    let mut watch = store.watch("/a/", store.revision());
    let waiting = tokio::spawn(async move {
        let batch = watch.next().await.unwrap();
        assert_eq!(
            (batch.events.len(), batch.events[0].key(), batch.revision),
            (1, "/a/1", 2)
        );
        assert_eq!(watch.next().await.unwrap_err(), Error::Closed);
    });
    store
        .commit(vec![Write::put("/b/1", b"", Expected::Any)])
        .await
        .unwrap();
    store
        .commit(vec![Write::put("/a/1", b"", Expected::Any)])
        .await
        .unwrap();
    tokio::task::yield_now().await;
    store.close().await;
    waiting.await.unwrap();
    assert_eq!(
        store
            .commit(vec![Write::delete("/a/1", Expected::Any)])
            .await,
        Err(Error::Closed)
    );
}

#[test]
fn a_file_has_one_owner_and_must_be_ours() {
    let file = TempFile::new();
    let _first = Store::open(&file.0, Options::default()).unwrap();
    assert!(matches!(
        Store::open(&file.0, Options::default()),
        Err(Error::Storage(_))
    ));
    let other = TempFile::new();
    std::fs::write(
        &other.0,
        b"this is not a database, it is a letter to a friend",
    )
    .unwrap();
    assert!(matches!(
        Store::open(&other.0, Options::default()),
        Err(Error::Storage(_))
    ));
}
