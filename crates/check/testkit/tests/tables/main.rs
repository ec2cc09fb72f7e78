//! Decision tables against the oracle: on random worlds, on random histories, and with a rule
//! planted wrong on purpose, which must be noticed.
//!
//! `OCICAT_SEED` overrides the seed, `OCICAT_WORLDS` and `OCICAT_HISTORIES` how many are tried.
//! Each world and each history has a seed of its own, which a failure prints; to see that one
//! alone, give its seed and a number of 1. `OCICAT_SCENARIO` names a scenario file to follow, such
//! as one that a failure printed.

mod compare;
mod engine;
mod failure;
mod histories;
mod hosts;
mod planted;
mod reading;
mod scenarios;
mod trials;
mod worlds;

use histories::try_history;
use trials::Trials;
use worlds::try_world;

#[test]
fn tables_say_what_the_oracle_says() {
    Trials::new("OCICAT_WORLDS", 200).run(try_world);
}

#[test]
fn after_every_change_incremental_is_from_scratch_is_the_oracle() {
    Trials::new("OCICAT_HISTORIES", 200).run(try_history);
}
