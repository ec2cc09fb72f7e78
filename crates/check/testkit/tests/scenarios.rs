//! The scenario files of this crate, as the oracle sees them.
//!
//! `OCICAT_REWRITE=1` writes what the oracle says into the files: look at the difference before it is
//! kept. `OCICAT_SCENARIO` names one file to follow.

use ocicat_testkit::{Scenario, ScenarioFile, ask_oracle, cyclonus, scenario_files};

#[test]
fn the_oracle_agrees_with_every_scenario_file() {
    let rewrites = std::env::var_os("OCICAT_REWRITE").is_some();
    let (mut files, mut wrong) = (0, Vec::new());
    for file in scenario_files() {
        let found = follow(&file, rewrites).unwrap_or_else(|message| vec![message]);
        wrong.extend(found.iter().map(|line| format!("{}: {line}", file.name)));
        files += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{files} scenario files");
    assert!(files >= 5 || std::env::var_os("OCICAT_SCENARIO").is_some());
}

/// What is not as expected.
fn follow(file: &ScenarioFile, rewrites: bool) -> Result<Vec<String>, String> {
    let scenario = file.scenario()?;
    let asks: usize = scenario
        .acts()
        .map_err(|error| error.to_string())?
        .iter()
        .map(|act| act.asks.len())
        .sum();
    if asks == 0 {
        return Err("it asks nothing".to_owned());
    }
    let found = scenario.disagreements(ask_oracle);
    if rewrites && !found.is_empty() {
        let text = Scenario::rewritten(&file.text, ask_oracle)?;
        std::fs::write(&file.path, text).map_err(|error| error.to_string())?;
        println!("rewritten: {}", file.name);
        for line in found {
            println!("  {line}");
        }
        return Ok(Vec::new());
    }
    Ok(found)
}

#[test]
fn files_of_a_suite_say_what_they_restate() {
    let mut restated = std::collections::BTreeMap::new();
    for file in scenario_files() {
        if !file.name.contains('/') {
            continue;
        }
        let scenario = file.scenario().unwrap_or_else(|error| panic!("{error}"));
        let case = scenario.restates().map(ToOwned::to_owned);
        let case = case.unwrap_or_else(|| panic!("{}: no line 'Restates ...'", file.name));
        if let Some(other) = restated.insert(case, file.name.clone()) {
            panic!("{} and {other} restate the same", file.name);
        }
    }
}

#[test]
fn the_oracle_agrees_with_what_cyclonus_describes() {
    let cases = cyclonus();
    for case in &cases {
        let found = case.disagreements(ask_oracle);
        let few: Vec<String> = found.into_iter().take(5).collect();
        assert!(few.is_empty(), "{}:\n{}", case.title, few.join("\n"));
    }
    println!("{} cases", cases.len());
}
