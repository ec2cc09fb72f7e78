//! The scenario files of this crate, as the tables see them.

use std::path::{Path, PathBuf};

use ocicat_oracle::{Census, World};
use ocicat_testkit::{Scenario, Step};

use crate::compare::compare;
use crate::engine::{Host, Incremental, from_scratch};

#[test]
fn tables_say_what_the_oracle_says_of_every_scenario_file() {
    for path in files() {
        let text = std::fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let scenario = Scenario::parse(&text);
        let scenario = scenario.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for host in [Host::Every, Host::One, Host::Chosen] {
            if let Err(message) = follow(&scenario, host) {
                panic!("{}: {message}", path.display());
            }
        }
    }
}

fn files() -> Vec<PathBuf> {
    if let Some(path) = std::env::var_os("OCICAT_SCENARIO") {
        return vec![path.into()];
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(folder).expect("the folder of scenarios");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// Every object is a change of its own; compares at every query and at the end.
fn follow(scenario: &Scenario, host: Host) -> Result<(), String> {
    let mut world = World::default();
    let mut tables = Incremental::new(&world, host);
    let mut packets = Vec::new();
    for step in &scenario.steps {
        match step {
            Step::Change(change) => {
                change.apply(&mut world);
                tables.apply(std::slice::from_ref(change))?;
            }
            Step::Query(query) => packets.push(query.packet(&world)?),
        }
        // All packets so far, of the world as it is now.
        let census = Census::new(&world);
        for state in [tables.state(), &from_scratch(&world, host)] {
            compare(&census, host, state, &packets).map_err(|failure| failure.message)?;
        }
    }
    Ok(())
}
