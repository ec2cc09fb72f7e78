//! Samples to figures, figures to a page.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::changes::Changed;
use crate::load::Loaded;
use crate::machine::Machine;
use crate::meter::Sample;
use crate::world::{Size, Summary};

/// Everything that one run found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    pub size: Size,
    pub world: Summary,
    /// One for each process that loaded the world.
    pub loaded: Vec<Loaded>,
    pub changed: Changed,
    /// Of the process that only decoded.
    pub decoded: Vec<Sample>,
}

/// One line of the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    pub name: String,
    pub samples: usize,
    pub median_ns: u64,
    pub least_ns: u64,
    pub most_ns: u64,
    /// Median.
    pub cpu_ns: u64,
    /// Median.
    pub instructions: Option<u64>,
    pub promised_ns: Option<u64>,
}

/// Name, work, the steps that count, and what was promised in nanoseconds.
type Line = (
    &'static str,
    &'static str,
    &'static [&'static str],
    Option<u64>,
);

const MILLISECOND: u64 = 1_000_000;

const LINES: [Line; 24] = [
    (
        "JSON bytes to tables",
        "load",
        &["objects", "tables"],
        Some(2_000 * MILLISECOND),
    ),
    ("- of that: decoding alone", "decode", &["objects"], None),
    (
        "- of that: decoding, and objects into the engine",
        "load",
        &["objects"],
        None,
    ),
    ("- of that: tables", "load", &["tables"], None),
    (
        "remote pod, known labels",
        "remote pod, known labels",
        CALCULATE,
        Some(20_000),
    ),
    (
        "- its kernel program",
        "remote pod, known labels",
        KERNEL,
        None,
    ),
    (
        "1,000 such pods in a row, one commit each",
        "burst of remote pods",
        CALCULATE,
        Some(20_000 * 1_000),
    ),
    ("remote pod gone", "remote pod gone", CALCULATE, None),
    (
        "remote pod, unseen labels",
        "remote pod, unseen labels",
        CALCULATE,
        Some(MILLISECOND),
    ),
    (
        "- its kernel program",
        "remote pod, unseen labels",
        KERNEL,
        None,
    ),
    (
        "20 such pods in a row, one commit each",
        "burst of remote pods, unseen labels",
        CALCULATE,
        Some(20 * MILLISECOND),
    ),
    (
        "namespace relabelled",
        "namespace relabelled",
        CALCULATE,
        Some(20 * MILLISECOND),
    ),
    ("- its kernel program", "namespace relabelled", KERNEL, None),
    (
        "namespace of local workloads relabelled",
        "namespace of local workloads relabelled",
        CALCULATE,
        Some(20 * MILLISECOND),
    ),
    (
        "- its kernel program",
        "namespace of local workloads relabelled",
        KERNEL,
        None,
    ),
    (
        "policy of 1 local workload, kernel included",
        "policy of 1 local workload",
        ALL,
        Some(5 * MILLISECOND),
    ),
    (
        "policy of 2 local workloads, kernel included",
        "policy of 2 local workloads",
        ALL,
        Some(5 * MILLISECOND),
    ),
    (
        "policy of a quarter of the local workloads, kernel included",
        "policy of a quarter of the local workloads",
        ALL,
        Some(5 * MILLISECOND),
    ),
    (
        "policy of all local workloads, kernel included",
        "policy of all local workloads",
        ALL,
        Some(5 * MILLISECOND),
    ),
    (
        "- of that: tables",
        "policy of all local workloads",
        CALCULATE,
        None,
    ),
    (
        "- removal afterwards",
        "policy of all local workloads",
        &["collect", "remove"],
        None,
    ),
    (
        "one element changed in the kernel",
        "one element",
        &["commit"],
        Some(200_000),
    ),
    ("whole program compiled", "install", &["compile"], None),
    ("whole program committed", "install", &["commit"], None),
];

const CALCULATE: &[&str] = &["calculate"];
const KERNEL: &[&str] = &["compile", "commit"];
const ALL: &[&str] = &["calculate", "compile", "commit"];

/// Peak resident memory that was promised, in bytes.
const PROMISED_BYTES: u64 = 150_000_000;

impl Report {
    /// All figures, in the order of the page.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        let loads = self.loaded.iter().enumerate().flat_map(|(index, loaded)| {
            loaded.samples.iter().map(move |sample| Sample {
                index,
                ..sample.clone()
            })
        });
        let samples: Vec<Sample> = loads
            .chain(self.decoded.iter().cloned())
            .chain(self.changed.samples.iter().cloned())
            .collect();
        LINES
            .iter()
            .filter_map(|line| figure(line, &samples))
            .collect()
    }

    /// Median of the processes' largest resident sets, in bytes.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        1024 * median(self.loaded.iter().map(|loaded| loaded.peak_kb).collect())
    }

    /// The page, in Markdown.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        // A String takes everything.
        let _ = self.write_page(&mut page);
        page
    }

    fn write_page(&self, out: &mut String) -> std::fmt::Result {
        let Machine {
            processor,
            cores,
            memory_gib,
            kernel,
            rustc,
            date,
            load,
        } = &self.machine;
        writeln!(out, "# Measured on {date}\n")?;
        writeln!(
            out,
            "{processor}, {cores} cores, {memory_gib} GiB; Linux {kernel}; {rustc}. Load average when it \
             began: {load}. Where that is near the number of cores or above it, read the column of processor \
             time: the clock also ran while others worked.\n"
        )?;
        let (size, world) = (&self.size, &self.world);
        writeln!(
            out,
            "The world (seed {}): {} endpoints of {} label sets in {} namespaces, dual stack; {} policies, {} \
             rules, {} distinct selectors, {} rules with CIDRs, {} with named ports; {} local workloads; {} \
             pods with equal labels in a namespace. {} objects, {:.1} MB of JSON, {} bytes a pod.\n",
            size.seed,
            world.pods,
            size.label_sets,
            size.namespaces,
            world.policies,
            world.rules,
            world.selectors,
            world.rules_with_nets,
            world.rules_with_named_ports,
            size.locals,
            size.replicas,
            world.objects,
            float(world.bytes as u64) / 1e6,
            world.pod_bytes / world.pods.max(1),
        )?;
        self.write_figures(out)?;
        self.write_sizes(out)
    }

    fn write_figures(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "| what | promised | median | least – most | processor | instructions |"
        )?;
        writeln!(out, "|---|---:|---:|---:|---:|---:|")?;
        for figure in self.figures() {
            let instructions = figure.instructions.map_or_else(String::new, millions);
            writeln!(
                out,
                "| {} | {} | {} | {} – {} | {} | {} |",
                figure.name,
                figure
                    .promised_ns
                    .map_or_else(String::new, |limit| format!("< {}", time(limit))),
                time(figure.median_ns),
                time(figure.least_ns),
                time(figure.most_ns),
                time(figure.cpu_ns),
                instructions,
            )?;
        }
        let (peak, promised) = (self.peak_bytes() / 1_000_000, PROMISED_BYTES / 1_000_000);
        writeln!(
            out,
            "| peak memory, tables made | < {promised} MB | {peak} MB | | | |\n"
        )?;
        writeln!(
            out,
            "Median of {} processes for loading and for memory, of {} changes each for the rest. Times are \
             of one core, by the clock and by the thread's processor time; instructions are those of user space, \
             counted by callgrind in a run of its own.\n",
            self.loaded.len(),
            crate::changes::SAMPLES,
        )
    }

    fn write_sizes(&self, out: &mut String) -> std::fmt::Result {
        let Some(tables) = self.loaded.last().map(|loaded| loaded.tables) else {
            return Ok(());
        };
        writeln!(out, "| tables | |\n|---|---:|")?;
        for (name, count) in [
            ("rows of the stack that has most", tables.most_rows),
            ("cells of the stack that has most", tables.most_cells),
            ("cells of the largest row", tables.largest_row),
            ("stacks", tables.stacks),
            ("rows of all stacks, distinct", tables.rows),
            ("cells of all rows", tables.cells),
            (
                "(stack, class) pairs off the stack's default row",
                tables.entries,
            ),
            ("classes", tables.classes),
            ("questions", tables.questions),
            ("outcomes", tables.outcomes),
            ("prefixes with a class", tables.prefixes),
        ] {
            writeln!(out, "| {name} | {count} |")?;
        }
        let resident: Vec<u64> = self
            .loaded
            .iter()
            .map(|loaded| loaded.resident_kb)
            .collect();
        writeln!(
            out,
            "\nResident after the tables were made: {} MB. Peak with the kernel's program compiled and \
             committed: {} MB.\n",
            median(resident) * 1024 / 1_000_000,
            self.changed.peak_kb * 1024 / 1_000_000,
        )?;
        writeln!(
            out,
            "| change | changes of the tables, median | most |\n|---|---:|---:|"
        )?;
        for (work, counts) in &self.changed.deltas {
            let most = counts.iter().max().copied().unwrap_or(0);
            writeln!(out, "| {work} | {} | {most} |", median(counts.clone()))?;
        }
        Ok(())
    }
}

fn figure((name, work, steps, promised): &Line, samples: &[Sample]) -> Option<Figure> {
    let mut sums: BTreeMap<usize, (u64, u64, Option<u64>)> = BTreeMap::new();
    for sample in samples
        .iter()
        .filter(|s| s.work == *work && steps.contains(&s.step.as_str()))
    {
        let sum = sums.entry(sample.index).or_insert((0, 0, Some(0)));
        sum.0 += sample.wall_ns;
        sum.1 += sample.cpu_ns;
        sum.2 = sum.2.zip(sample.instructions).map(|(sum, more)| sum + more);
    }
    let sums: Vec<_> = sums.into_values().collect();
    let walls = || sums.iter().map(|sum| sum.0);
    Some(Figure {
        name: (*name).to_owned(),
        samples: sums.len(),
        median_ns: median(walls().collect()),
        least_ns: walls().min()?,
        most_ns: walls().max()?,
        cpu_ns: median(sums.iter().map(|sum| sum.1).collect()),
        instructions: sums
            .iter()
            .map(|sum| sum.2)
            .collect::<Option<Vec<u64>>>()
            .map(median),
        promised_ns: *promised,
    })
}

/// The middle one; the lower of two.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0)
}

fn time(nanoseconds: u64) -> String {
    let ns = float(nanoseconds);
    match nanoseconds {
        0..100_000 => format!("{:.1} µs", ns / 1e3),
        100_000..1_000_000 => format!("{:.2} ms", ns / 1e6),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns / 1e6),
        _ => format!("{:.2} s", ns / 1e9),
    }
}

fn millions(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{:.1} k", float(count) / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", float(count) / 1e6),
        _ => format!("{:.2} G", float(count) / 1e9),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(step: &str, index: usize, wall_ns: u64) -> Sample {
        let (work, step) = ("one element".to_owned(), step.to_owned());
        Sample {
            work,
            step,
            index,
            wall_ns,
            cpu_ns: wall_ns / 2,
            instructions: Some(7),
        }
    }

    #[test]
    fn steps_add_up_and_the_middle_counts() {
        let mut samples: Vec<Sample> = (0..9)
            .map(|i| sample("commit", i, 100 * (1 + i as u64)))
            .collect();
        samples.push(sample("commit", 0, 2_000));
        samples.push(sample("remove", 1, 9_000));
        let line: Line = ("x", "one element", &["commit"], Some(5));
        let figure = figure(&line, &samples).unwrap();
        assert_eq!(
            (figure.median_ns, figure.least_ns, figure.most_ns),
            (600, 200, 2_100)
        );
        assert_eq!((figure.samples, figure.instructions), (9, Some(7)));
        assert_eq!(super::figure(&("x", "nothing", &[], None), &samples), None);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [time(19_960), time(200_000), time(1_500_000)],
            ["20.0 µs", "0.20 ms", "1.5 ms"]
        );
        assert_eq!([millions(950), millions(12_340_000)], ["0.9 k", "12.3 M"]);
    }
}
