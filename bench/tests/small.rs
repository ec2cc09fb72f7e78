//! The measured changes on a small world, with its program in a kernel: they do what they say.

use ocicat_bench::changes::{self, SAMPLES};
use ocicat_bench::load;
use ocicat_bench::world::{Size, write};

fn world() -> (Size, Vec<u8>) {
    let size = Size::default().divided(20);
    let mut bytes = Vec::new();
    write(&size, &mut bytes).expect("a Vec takes everything");
    (size, bytes)
}

#[test]
fn loading_makes_tables() {
    let (_, bytes) = world();
    let loaded = load::measure(bytes.as_slice()).unwrap();
    let tables = loaded.tables;
    assert!(tables.prefixes > 10_000, "{tables:?}");
    // Two directions of five workloads with policies of their own.
    assert_eq!(tables.stacks, 10, "{tables:?}");
    assert!(
        tables.most_rows > 10 && tables.most_cells > tables.most_rows,
        "{tables:?}"
    );
    assert!(loaded.peak_kb > 0);
}

#[test]
fn changes_reach_the_kernel() {
    let (size, bytes) = world();
    if let Err(error) = ocicat_kernel::netns::ScratchNamespace::create("ocicat-bench") {
        println!("skipped: no network namespace: {error}");
        return;
    }
    // It reads the kernel back at its end, and fails where that differs from the tables.
    let changed = changes::measure(&size, bytes.as_slice()).unwrap();
    let of = |work: &str, step: &str| {
        changed
            .samples
            .iter()
            .filter(|s| s.work == work && s.step == step)
            .count()
    };
    assert_eq!(of("remote pod, known labels", "commit"), SAMPLES);
    assert_eq!(of("one element", "commit"), 2 * SAMPLES);
    assert_eq!(changed.deltas["remote pod, known labels"], [2; SAMPLES]);
    assert!(
        changed.deltas["policy of all local workloads"]
            .iter()
            .any(|count| *count > 0)
    );
}
