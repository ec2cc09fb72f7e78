//! Writes the world to standard output, one JSON object a line, and what it wrote to standard error.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use ocicat_bench::world::{self, Size};

const USAGE: &str =
    "usage: world [--size JSON] [--divide N] [--seed N] [--replicas N] [--locals N] > FILE

  --size JSON    how many of everything, as this program writes it to standard error
  --divide N     a world N times smaller (1 to 20)
  --seed N       another world of the same size (default 1)
  --replicas N   pods with equal labels in one namespace (default 25)
  --locals N     workloads of the measured host (default 100), 20 policies for each alone";

fn main() -> ExitCode {
    let size = match size(std::env::args().skip(1)) {
        Ok(size) => size,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&size) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write the world: {error}");
            ExitCode::from(3)
        }
    }
}

fn run(size: &Size) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let summary = world::write(size, &mut out)?;
    out.flush()?;
    writeln!(
        io::stderr(),
        "{}",
        serde_json::json!({"size": size, "summary": summary})
    )
}

fn size(mut arguments: impl Iterator<Item = String>) -> Result<Size, String> {
    let mut size = Size::default();
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or(format!("{flag} needs a value"))?;
        let number = || {
            value
                .parse::<usize>()
                .map_err(|_| format!("{flag} {value}: not a number"))
        };
        match flag.as_str() {
            "--size" => size = serde_json::from_str(&value).map_err(|e| format!("--size: {e}"))?,
            "--divide" => size = size.divided(number()?.clamp(1, 20)),
            "--seed" => size.seed = number()? as u64,
            "--replicas" => size.replicas = number()?,
            "--locals" => size = size.with_locals(number()?),
            _ => return Err(format!("{flag}: not known")),
        }
    }
    size.fault().map_or(Ok(size), |fault| Err(fault.to_owned()))
}
