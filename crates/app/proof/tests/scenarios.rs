//! Every scenario file, and every case of cyclonus, in the kernel.
//!
//! `OCICAT_SCENARIO` names one file to follow.

use ocicat_proof::{Failure, Field, Followed, Tally, follow};
use ocicat_testkit::{Scenario, cyclonus, scenario_files};

#[test]
fn the_kernel_agrees_with_every_scenario_file() {
    let Some(mut field) = field() else { return };
    let mut sum = Followed::default();
    for file in scenario_files() {
        let scenario = file.scenario().unwrap_or_else(|error| panic!("{error}"));
        add(&mut sum, &followed(&mut field, &scenario, &file.name));
    }
    tell(&sum);
    if std::env::var_os("OCICAT_SCENARIO").is_none() {
        let Tally {
            allowed,
            denied,
            hosts,
            local,
            translated,
            ..
        } = sum.tally;
        assert!(allowed > 1000 && denied > 1000 && hosts > 100 && local > 100 && translated > 2);
    }
}

#[test]
fn the_kernel_agrees_with_what_cyclonus_describes() {
    let Some(mut field) = field() else { return };
    let cases = cyclonus();
    let mut sum = Followed::default();
    for case in &cases {
        add(&mut sum, &followed(&mut field, case, &case.title));
    }
    tell(&sum);
    // Each case is a world with connections tracked, and one without.
    assert_eq!(sum.tally.worlds, 2 * cases.len() as u64);
    assert!(sum.tally.allowed > 100_000 && sum.tally.denied > 100_000);
}

/// `None` without root, said aloud.
fn field() -> Option<Field> {
    match Field::create() {
        Ok(field) => Some(field),
        Err(error) if !is_root() => {
            println!("skipped: network namespaces need root: {error:#}");
            None
        }
        Err(error) => panic!("{error:#}"),
    }
}

/// By the owner of what this process made.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn followed(field: &mut Field, scenario: &Scenario, name: &str) -> Followed {
    match follow(field, scenario) {
        Ok(followed) => followed,
        Err(Failure::Differs(text)) => panic!("{name}: {text}"),
        Err(Failure::Broken(error)) => panic!("{name}: {error:#}"),
    }
}

fn add(sum: &mut Followed, more: &Followed) {
    sum.tally.add(&more.tally);
    sum.stages += more.stages;
}

fn tell(sum: &Followed) {
    println!("{}", sum.tally);
    println!(
        "{} questions about single stages, which packets never meet alone",
        sum.stages
    );
}
