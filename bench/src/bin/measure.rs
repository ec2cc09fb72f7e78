//! Measures one host's calculation and kernel in the world that `world` writes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};
use ocicat_bench::changes::{self, Changed};
use ocicat_bench::load::{self, Loaded};
use ocicat_bench::machine::{Machine, stay_on_one_core};
use ocicat_bench::meter::{Sample, counter_options, counts};
use ocicat_bench::report::Report;
use ocicat_bench::world::{Size, Summary};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const USAGE: &str =
    "usage: measure [--divide N] [--seed N] [--replicas N] [--locals N] [--no-counts] [--results DIRECTORY]
       measure load|decode|changes [--size JSON] < WORLD

Needs root for the kernel's part, and valgrind for instruction counts.

  --divide N           a world N times smaller (1 to 20)
  --seed N             another world of the same size (default 1)
  --replicas N         pods with equal labels in one namespace (default 25)
  --locals N           local workloads (default 100), each with 20 policies of its own
  --no-counts          leave out the instruction counts, which take minutes
  --results DIRECTORY  keep the page and all samples there

load, decode and changes each do one part on a world that is given, and print JSON.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("load" | "decode" | "changes") => part(&arguments),
        Some("--help" | "-h") => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Options::read(&arguments).and_then(|options| whole(&options)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(3)
        }
    }
}

struct Options {
    /// For `world`.
    world: Vec<String>,
    count: bool,
    results: Option<PathBuf>,
}

impl Options {
    fn read(arguments: &[String]) -> anyhow::Result<Self> {
        let mut options = Self {
            world: Vec::new(),
            count: true,
            results: None,
        };
        let mut arguments = arguments.iter();
        while let Some(flag) = arguments.next() {
            if flag == "--no-counts" {
                options.count = false;
                continue;
            }
            let value = arguments
                .next()
                .with_context(|| format!("{flag} needs a value\n{USAGE}"))?;
            match flag.as_str() {
                "--results" => options.results = Some(value.into()),
                "--divide" | "--seed" | "--replicas" | "--locals" => {
                    options.world.extend([flag.clone(), value.clone()])
                }
                _ => bail!("{flag}: not known\n{USAGE}"),
            }
        }
        Ok(options)
    }
}

/// One part, in this process, on the world of standard input.
fn part(arguments: &[String]) -> anyhow::Result<()> {
    stay_on_one_core().context("staying on one core")?;
    let size = match arguments {
        [_] => Size::default(),
        [_, flag, json] if flag == "--size" => serde_json::from_str(json).context("--size")?,
        _ => bail!("{USAGE}"),
    };
    let input = io::stdin().lock();
    let answer = match arguments[0].as_str() {
        "load" => serde_json::to_string(&load::measure(input)?)?,
        "decode" => serde_json::to_string(&load::measure_decoding(input)?.samples)?,
        _ => serde_json::to_string(&changes::measure(&size, input)?)?,
    };
    writeln!(io::stdout(), "{answer}")?;
    Ok(())
}

/// Everything: the parts in processes of their own.
fn whole(options: &Options) -> anyhow::Result<()> {
    let machine = Machine::here();
    let world = World::write(&options.world)?;
    let (size, summary) = (world.size, world.summary.clone());
    let mut loaded: Vec<Loaded> = Vec::new();
    for number in 1..=changes::SAMPLES {
        eprintln!("loading the world, {number} of {}", changes::SAMPLES);
        loaded.push(world.part("load", None)?);
    }
    let mut decoded = Vec::new();
    for index in 0..changes::SAMPLES {
        let samples: Vec<Sample> = world.part("decode", None)?;
        decoded.extend(samples.into_iter().map(|sample| Sample { index, ..sample }));
    }
    eprintln!("changing it");
    let mut changed: Changed = world.part("changes", None)?;
    if options.count {
        eprintln!("counting instructions");
        let counts: Vec<u64> = world.counted("load")?;
        for loaded in &mut loaded {
            note(&mut loaded.samples, &counts)?;
        }
        let counts: Vec<u64> = world.counted("decode")?;
        decoded
            .iter_mut()
            .for_each(|sample| sample.instructions = counts.first().copied());
        note(&mut changed.samples, &world.counted("changes")?)?;
    }
    let report = Report {
        machine,
        size,
        world: summary,
        loaded,
        changed,
        decoded,
    };
    let page = report.page();
    println!("{page}");
    if let Some(directory) = &options.results {
        keep(directory, &report, &page)?;
    }
    Ok(())
}

fn keep(directory: &Path, report: &Report, page: &str) -> anyhow::Result<()> {
    let name = format!("{}-{}", report.machine.date, report.machine.slug());
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join(format!("{name}.md")), page)?;
    let whole = serde_json::json!({"figures": report.figures(), "report": report});
    let path = directory.join(format!("{name}.json"));
    std::fs::write(&path, serde_json::to_vec(&whole)?).with_context(|| path.display().to_string())
}

fn note(samples: &mut [Sample], counts: &[u64]) -> anyhow::Result<()> {
    ensure!(
        samples.len() == counts.len(),
        "{} samples, but {} counts of instructions",
        samples.len(),
        counts.len()
    );
    for (sample, count) in samples.iter_mut().zip(counts) {
        sample.instructions = Some(*count);
    }
    Ok(())
}

/// The world in memory, written by another process.
struct World {
    file: File,
    size: Size,
    summary: Summary,
}

/// What `world` says on standard error.
#[derive(Deserialize)]
struct Written {
    size: Size,
    summary: Summary,
}

impl World {
    fn write(arguments: &[String]) -> anyhow::Result<Self> {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let file =
            File::from(rustix::fs::memfd_create("world", flags).context("memory for the world")?);
        let program = std::env::current_exe()?.with_file_name("world");
        let output = Command::new(&program)
            .args(arguments)
            .stdout(file.try_clone()?)
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("starting {}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", said.trim());
        let Written { size, summary } =
            serde_json::from_str(&said).context("what the world says of itself")?;
        Ok(Self {
            file,
            size,
            summary,
        })
    }

    /// The world from its beginning, whoever else reads it.
    fn open(&self) -> io::Result<File> {
        File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Does one part in a process of its own.
    fn part<T: DeserializeOwned>(&self, part: &str, counting: Option<&Path>) -> anyhow::Result<T> {
        let own = std::env::current_exe()?;
        let mut command = match counting {
            None => Command::new(own),
            Some(directory) => {
                let mut command = Command::new("valgrind");
                command.args(counter_options(directory)).arg(own);
                command
            }
        };
        let size = serde_json::to_string(&self.size)?;
        let mut child = command
            .args([part, "--size", &size])
            .stdin(self.open()?)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {:?}", command.get_program()))?;
        let mut answer = String::new();
        child
            .stdout
            .take()
            .context("an output")?
            .read_to_string(&mut answer)?;
        ensure!(child.wait()?.success(), "measuring {part} failed");
        serde_json::from_str(&answer).with_context(|| format!("the answer of {part}"))
    }

    fn counted(&self, part: &str) -> anyhow::Result<Vec<u64>> {
        let name = format!("ocicat-bench-{part}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory)?;
        let done = self.part::<serde::de::IgnoredAny>(part, Some(&directory));
        let counts = counts(&directory);
        std::fs::remove_dir_all(&directory)?;
        done?;
        Ok(counts?)
    }
}
