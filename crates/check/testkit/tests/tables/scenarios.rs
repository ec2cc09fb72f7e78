//! The scenario files of this crate, as the tables see them.

use ocicat_oracle::{Census, World};
use ocicat_testkit::{Scenario, scenario_files};

use crate::compare::compare;
use crate::engine::{Host, Incremental, from_scratch};

#[test]
fn tables_say_what_the_oracle_says_of_every_scenario_file() {
    for file in scenario_files() {
        if let Some(reason) = file.awaits() {
            println!("skipped: {}: {reason}", file.name);
            continue;
        }
        let scenario = file.scenario().unwrap_or_else(|error| panic!("{error}"));
        for host in [Host::Every, Host::One, Host::Chosen] {
            if let Err(message) = follow(&scenario, host) {
                panic!("{}: {message}", file.name);
            }
        }
    }
}

/// Every object is a commit of its own. All packets so far are compared after each act.
fn follow(scenario: &Scenario, host: Host) -> Result<(), String> {
    let mut tables = Incremental::new(&World::default(), host);
    let mut packets = Vec::new();
    for act in scenario.acts().map_err(|error| error.to_string())? {
        for change in &act.changes {
            tables.apply(std::slice::from_ref(change))?;
        }
        packets.extend(act.asks.iter().map(|ask| ask.packet));
        let census = Census::new(&act.world);
        for state in [tables.state(), &from_scratch(&act.world, host)] {
            compare(&census, host, state, &packets).map_err(|failure| failure.message)?;
        }
    }
    Ok(())
}
