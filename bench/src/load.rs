//! From JSON bytes to tables.

use std::io::{self, BufRead, BufReader, Read};

use anyhow::{Context, bail};
use ocicat_api::Object;
use ocicat_api::decode::decode_json;
use ocicat_policy::{Engine, Locality};
use serde::{Deserialize, Serialize};

use crate::meter::Meter;
use crate::world::NODE;

/// An engine as the agent of the measured node has it.
#[must_use]
pub fn engine() -> Engine {
    Engine::new(Locality::Node(NODE.into()))
}

/// Decodes one line of the world.
///
/// # Errors
/// If the object has a problem: the worlds here have none.
pub fn object(line: &[u8]) -> anyhow::Result<Object> {
    let decoded = decode_json(line);
    match decoded.object {
        Some(object) if decoded.problems.is_empty() => Ok(object),
        _ => bail!("{:?}: {}", decoded.problems, String::from_utf8_lossy(line)),
    }
}

/// Calls `with` for each line.
///
/// # Errors
/// Those of `input` and of `with`.
pub fn lines(
    input: impl Read,
    mut with: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let mut line = Vec::new();
    while input
        .read_until(b'\n', &mut line)
        .context("reading the world")?
        > 0
    {
        with(&line)?;
        line.clear();
    }
    Ok(())
}

/// What a process that did nothing but load the world has to tell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Loaded {
    pub samples: Vec<crate::meter::Sample>,
    /// The largest resident set so far (`VmHWM` of `/proc/self/status`), in kB.
    pub peak_kb: u64,
    /// What is resident now (`VmRSS`), in kB.
    pub resident_kb: u64,
    pub tables: Tables,
}

/// How large everything became.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tables {
    pub prefixes: usize,
    pub classes: usize,
    pub questions: usize,
    pub stacks: usize,
    pub rows: usize,
    pub cells: usize,
    pub outcomes: usize,
    /// (stack, class) pairs that are not on the stack's default row.
    pub entries: usize,
    /// Cells of the largest row.
    pub largest_row: usize,
    /// Distinct rows of the stack that has most, and cells of the stack that has most.
    pub most_rows: usize,
    pub most_cells: usize,
}

/// Sizes of the tables of the last commit.
#[must_use]
pub fn tables(engine: &Engine) -> Tables {
    let size = engine.size();
    let mut prefixes = 0;
    engine.for_each_class(|_, _| prefixes += 1);
    Tables {
        prefixes,
        classes: size.classes,
        questions: size.questions,
        stacks: size.stacks,
        rows: size.rows,
        cells: size.cells,
        outcomes: size.outcomes,
        entries: size.entries,
        largest_row: size.largest_row,
        most_rows: size.most_rows,
        most_cells: size.most_cells,
    }
}

/// Loads the world once and measures it: bytes to objects in the engine, then the tables.
///
/// # Errors
/// Those of `input`, an object with a problem, and `/proc` that cannot be read.
pub fn measure(input: impl Read) -> anyhow::Result<Loaded> {
    let mut meter = Meter::default();
    let mut engine = engine();
    meter.measure("load", "objects", 0, || {
        lines(input, |line| {
            engine.upsert(&object(line)?);
            Ok(())
        })
    })?;
    let commit = meter.measure("load", "tables", 0, || engine.commit());
    ocicat_kernel::memory::use_large_pages()?;
    let (peak_kb, resident_kb) = memory()?;
    drop(commit);
    Ok(Loaded {
        samples: meter.samples,
        peak_kb,
        resident_kb,
        tables: tables(&engine),
    })
}

/// Decodes the world once and drops the objects, to know what of the load that is.
///
/// # Errors
/// Those of `input`, and an object with a problem.
pub fn measure_decoding(input: impl Read) -> anyhow::Result<Meter> {
    let mut meter = Meter::default();
    meter.measure("decode", "objects", 0, || {
        lines(input, |line| object(line).map(drop))
    })?;
    Ok(meter)
}

/// `VmHWM` and `VmRSS` of this process, in kB.
///
/// # Errors
/// If `/proc/self/status` cannot be read.
pub fn memory() -> io::Result<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    };
    Ok((field("VmHWM:"), field("VmRSS:")))
}
