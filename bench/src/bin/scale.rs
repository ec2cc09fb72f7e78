//! Measures what single things cost when they are large, and what packets cost by the number of rules.

use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use ocicat_bench::machine::{Machine, stay_on_one_core};
use ocicat_bench::{packets, scale};

const USAGE: &str = "usage: scale [tables|packets|CASE COUNT]

Needs root. Prints tables in Markdown; without an argument, all of them.

  tables       a set of 100,000 networks, a policy of 1,024 rules a direction, 1,000 policies on one
               endpoint: each appears, changes and goes
  packets      connections and packets beside a bare veth pair and a linear nft chain
  CASE COUNT   one case: networks, rules or policies, so many of them";

/// The cases of `tables`, each in a process of its own, so that memory is its own.
const TABLES: [(&str, usize); 3] = [("networks", 100_000), ("rules", 1_024), ("policies", 1_000)];
/// Rules on one endpoint.
const RULES: [usize; 3] = [10, 1_000, 100_000];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => machine().and_then(|()| tables()).and_then(|()| packets()),
        ["tables"] => machine().and_then(|()| tables()),
        ["packets"] => machine().and_then(|()| packets()),
        [case, count] if scale::CASES.contains(&case) => one(case, count),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(3)
        }
    }
}

fn machine() -> anyhow::Result<()> {
    let machine = Machine::here();
    println!(
        "{}, {} cores; Linux {}; {}; load average when it began: {}\n",
        machine.processor, machine.cores, machine.kernel, machine.date, machine.load
    );
    Ok(())
}

fn tables() -> anyhow::Result<()> {
    println!("| what | calculation | kernel | processor, both |\n|---|---:|---:|---:|");
    for (case, count) in TABLES {
        let mut own = Command::new(std::env::current_exe()?);
        let output = own.args([case, &count.to_string()]).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{case}: {}", errors.trim());
        print!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{errors}");
    }
    println!();
    Ok(())
}

fn one(case: &str, count: &str) -> anyhow::Result<()> {
    stay_on_one_core().context("staying on one core")?;
    let count = count
        .parse()
        .with_context(|| format!("{count}: not a number"))?;
    let cost = scale::cost(case, count)?;
    print!("{}", cost.page());
    let tables = &cost.tables;
    eprintln!(
        "{}: {} classes, {} prefixes, {} stacks, {} rows, {} cells; most rows of a stack {}, most cells {}; \
         peak {} MB",
        cost.name,
        tables.classes,
        tables.prefixes,
        tables.stacks,
        tables.rows,
        tables.cells,
        tables.most_rows,
        tables.most_cells,
        cost.peak_kb * 1024 / 1_000_000,
    );
    Ok(())
}

fn packets() -> anyhow::Result<()> {
    stay_on_one_core().context("staying on one core")?;
    println!("{}", packets::TITLE);
    packets::costs(&RULES, |cost| println!("{cost}"))
}
