//! The scenario files of this crate, as the oracle sees them.

use std::path::Path;

use ocicat_testkit::{Answer, Scenario};

#[test]
fn the_oracle_agrees_with_every_scenario_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder of scenarios") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a scenario file");
        let scenario = Scenario::parse(&text);
        let scenario = scenario.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let found = scenario.disagreements(Answer::of_oracle);
        assert!(
            found.is_empty(),
            "{}:\n{}",
            path.display(),
            found.join("\n")
        );
        files += 1;
    }
    assert!(files >= 5, "{files} scenario files");
}
