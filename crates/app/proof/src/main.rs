//! `ocicat-proof soak`: trials of one seed after the other for as long as wanted.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use ocicat_proof::{Failure, Field, Plan, Tally, trial};

/// Compares the kernel's verdicts with the oracle's.
#[derive(Debug, Parser)]
#[command(name = "ocicat-proof")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Random worlds until the time is over or something differs. Needs root
    Soak {
        #[arg(long, env = "OCICAT_MINUTES", default_value_t = 5)]
        minutes: u64,
        /// Of the first world; each following one has the next
        #[arg(long, env = "OCICAT_SEED", default_value_t = 1)]
        seed: u64,
        /// Packets in each state of a world
        #[arg(long, default_value_t = 500)]
        packets: usize,
        /// Changes of each world
        #[arg(long, default_value_t = 4)]
        changes: usize,
        /// End after so many packets, if that is sooner
        #[arg(long)]
        limit: Option<u64>,
    },
}

/// 0: no difference; 1: a difference; 3: it could not be tried.
fn main() -> ExitCode {
    match Args::parse().command {
        Command::Soak {
            minutes,
            seed,
            packets,
            changes,
            limit,
        } => {
            let plan = Plan {
                seed,
                packets,
                changes,
            };
            soak(Duration::from_secs(minutes.saturating_mul(60)), plan, limit)
        }
    }
}

fn soak(until: Duration, mut plan: Plan, limit: Option<u64>) -> ExitCode {
    let mut field = match Field::create() {
        Ok(field) => field,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(3);
        }
    };
    let (start, mut told) = (Instant::now(), Instant::now());
    println!(
        "seed {}; {} packets in each state, {} changes of each world",
        plan.seed, plan.packets, plan.changes
    );
    let mut tally = Tally::default();
    while start.elapsed() < until && limit.is_none_or(|limit| tally.packets < limit) {
        match trial(&mut field, &plan) {
            Ok(more) => tally.add(&more),
            Err(failure) => {
                println!("{tally}");
                eprintln!("{failure}");
                return ExitCode::from(match failure {
                    Failure::Differs(_) => 1,
                    Failure::Broken(_) => 3,
                });
            }
        }
        plan.seed = plan.seed.wrapping_add(1);
        if told.elapsed() > Duration::from_secs(30) {
            told = Instant::now();
            println!(
                "{:>5} s, next seed {}: {} packets in {} worlds, {} allowed, {} denied",
                start.elapsed().as_secs(),
                plan.seed,
                tally.packets,
                tally.worlds,
                tally.allowed,
                tally.denied
            );
        }
    }
    println!(
        "next seed {}; in {:.1} s: {tally}",
        plan.seed,
        start.elapsed().as_secs_f64()
    );
    println!("kernel and oracle agree");
    ExitCode::SUCCESS
}
