//! Every scenario file, and cases of cyclonus, in the kernel.
//!
//! `OCICAT_SCENARIO` names one file to follow. Of cyclonus every sixteenth case is tried;
//! `OCICAT_CYCLONUS` says which one it begins with, and `OCICAT_CYCLONUS=all` tries all of them.

use ocicat_proof::{Failure, Field, Followed, Tally, follow};
use ocicat_testkit::{Scenario, cyclonus, scenario_files};

/// Of so many cases of cyclonus one is tried.
const EVERY: usize = 16;

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
        assert!(sum.tally.allowed > 1000 && sum.tally.denied > 1000);
    }
}

#[test]
fn the_kernel_agrees_with_what_cyclonus_describes() {
    let Some(mut field) = field() else { return };
    let (first, step) = match std::env::var("OCICAT_CYCLONUS") {
        Err(_) => (0, EVERY),
        Ok(text) if text == "all" => (0, 1),
        Ok(text) => (text.parse().expect("OCICAT_CYCLONUS: a number"), EVERY),
    };
    let cases = cyclonus();
    let mut sum = Followed::default();
    for case in cases.iter().skip(first).step_by(step) {
        add(&mut sum, &followed(&mut field, case, &case.title));
    }
    tell(&sum);
    assert!(sum.tally.allowed > 1000 && sum.tally.denied > 1000);
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
    let Tally { .. } = more.tally;
    sum.tally.add(&more.tally);
    sum.left_out += more.left_out;
}

fn tell(sum: &Followed) {
    println!("{}", sum.tally);
    if sum.left_out > 0 {
        println!(
            "skipped: {} packets that hosts are asked about, or nobody judges",
            sum.left_out
        );
    }
}
