//! The scenario files of this crate, as the tables see them.

use ocicat_oracle::{Census, Packet, World};
use ocicat_testkit::{Act, Scenario, cyclonus, scenario_files};

use crate::compare::compare;
use crate::engine::{Host, Incremental, from_scratch, pending_from_scratch};

#[test]
fn tables_say_what_the_oracle_says_of_every_scenario_file() {
    let mut wrong = Vec::new();
    for file in scenario_files() {
        let scenario = file.scenario().unwrap_or_else(|error| panic!("{error}"));
        let hosts = [Host::Every, Host::One, Host::Chosen];
        if let Err(message) = hosts.iter().try_for_each(|host| follow(&scenario, *host)) {
            wrong.push(format!("{}: {message}", file.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// In the three kinds of host by turns.
#[test]
fn tables_say_what_the_oracle_says_of_every_case_of_cyclonus() {
    let hosts = [Host::Every, Host::One, Host::Chosen];
    for (case, host) in cyclonus().iter().zip(hosts.into_iter().cycle()) {
        let found = each_act(case, host, |act, tables, packets| {
            let census = Census::new(&act.world);
            compare(&census, host, tables.state(), packets).map_err(|failure| failure.message)
        });
        if let Err(message) = found {
            panic!("{}: {message}", case.title);
        }
    }
}

/// Every object is a commit of its own. All packets so far are compared after each act, and those of
/// the world that is given at once, too; and all of them in the pending world.
fn follow(scenario: &Scenario, host: Host) -> Result<(), String> {
    each_act(scenario, host, |act, tables, packets| {
        let census = Census::new(&act.world);
        for state in [tables.state(), &from_scratch(&act.world, host)] {
            compare(&census, host, state, packets).map_err(|failure| failure.message)?;
        }
        let pending = act.world.pending();
        let census = Census::new(&pending);
        for state in [tables.pending(), &pending_from_scratch(&act.world, host)] {
            compare(&census, host, state, packets).map_err(|failure| failure.pending().message)?;
        }
        Ok(())
    })
}

/// Whoever is asked: what stands on the way of a packet through a host are ends and stages.
fn each_act(
    scenario: &Scenario,
    host: Host,
    look: impl Fn(&Act, &Incremental, &[Packet]) -> Result<(), String>,
) -> Result<(), String> {
    let mut tables = Incremental::new(&World::default(), host);
    let mut packets = Vec::new();
    for act in scenario.acts().map_err(|error| error.to_string())? {
        for change in &act.changes {
            tables.apply(std::slice::from_ref(change))?;
        }
        for ask in &act.asks {
            packets.push(ask.packet);
            packets.extend(ask.translated);
        }
        look(&act, &tables, &packets)?;
    }
    Ok(())
}
