//! The scenario files of this crate, as the tables see them.

use ocicat_oracle::{Census, World};
use ocicat_testkit::{Scenario, Whom, scenario_files};

use crate::compare::compare;
use crate::engine::{Host, Incremental, from_scratch};

#[test]
fn tables_say_what_the_oracle_says_of_every_scenario_file() {
    let mut wrong = Vec::new();
    for file in scenario_files() {
        let scenario = file.scenario().unwrap_or_else(|error| panic!("{error}"));
        let hosts = [Host::Every, Host::One, Host::Chosen];
        let found = hosts.iter().try_for_each(|host| follow(&scenario, *host));
        match (file.awaits(), found) {
            (None, Ok(())) => {}
            (None, Err(message)) => wrong.push(format!("{}: {message}", file.name)),
            (Some(reason), Err(_)) => println!("skipped: {}: {reason}", file.name),
            (Some(_), Ok(())) => wrong.push(format!("{} need not wait any longer", file.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every object is a commit of its own. All packets so far are compared after each act.
fn follow(scenario: &Scenario, host: Host) -> Result<(), String> {
    let mut tables = Incremental::new(&World::default(), host);
    let mut packets = Vec::new();
    for act in scenario.acts().map_err(|error| error.to_string())? {
        for change in &act.changes {
            tables.apply(std::slice::from_ref(change))?;
        }
        for ask in &act.asks {
            if ask.whom != Whom::Ends {
                return Err("tables are not asked about hosts yet".to_owned());
            }
            if ask.pending.is_some() {
                return Err("tables are not asked about staged policy yet".to_owned());
            }
            packets.push(ask.packet);
        }
        let census = Census::new(&act.world);
        for state in [tables.state(), &from_scratch(&act.world, host)] {
            compare(&census, host, state, &packets).map_err(|failure| failure.message)?;
        }
    }
    Ok(())
}
