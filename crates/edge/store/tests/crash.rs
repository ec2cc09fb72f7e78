//! A writer that is killed in the middle of its work.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ocicat_store::{Expected, Options, Range, Store, Write};

/// Set in the process that is to be killed: the file it writes.
const FILE: &str = "OCICAT_STORE_CRASH_FILE";

#[tokio::test]
async fn acknowledged_writes_survive_a_kill() {
    if let Ok(file) = std::env::var(FILE) {
        write_forever(Path::new(&file)).await;
    }
    let file = std::env::temp_dir().join(format!("ocicat-store-crash-{}.redb", std::process::id()));
    let _cleanup = Cleanup(file.clone());
    for round in 1..=3 {
        let acknowledged = killed_writer(&file, round * 40);
        let store = Store::open(&file, Options::default()).unwrap();
        let page = store.range(Range::prefix("/n/")).await.unwrap();
        let written = page.entries.len();
        assert!(
            written >= acknowledged,
            "{written} of {acknowledged} acknowledged writes are left"
        );
        assert_eq!(page.revision, written as u64);
        store.close().await;
    }
}

/// Removes the file in the end, however it comes.
struct Cleanup(PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Lets another process write until it has told of `count` more writes, and kills it. Returns the number
/// of the last write it told of.
fn killed_writer(file: &Path, count: usize) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "acknowledged_writes_survive_a_kill",
            "--nocapture",
        ])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut last, mut seen) = (0, 0);
    for line in lines.map_while(Result::ok) {
        let Some(number) = line.strip_prefix("written ") else {
            continue;
        };
        (last, seen) = (number.parse().unwrap(), seen + 1);
        if seen == count {
            child.kill().unwrap();
        }
    }
    assert!(seen >= count, "the writer ended by itself");
    child.wait().unwrap();
    last
}

async fn write_forever(file: &Path) -> ! {
    let store = Store::open(file, Options::default()).unwrap();
    loop {
        let number = store.revision() + 1;
        let write = Write::put(&format!("/n/{number}"), &[b'x'; 3000], Expected::Absent);
        store.commit(vec![write]).await.unwrap();
        println!("written {number}");
    }
}
