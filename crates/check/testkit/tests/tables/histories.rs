//! A world, and one change after another.

use ocicat_oracle::{Census, Packet, World};
use ocicat_testkit::{
    Change, Random, Scenario, Step, Targets, minimise, minimise_object, random_change, random_world,
};

use crate::compare::compare;
use crate::engine::{Host, Incremental, from_scratch};
use crate::failure::{Failure, caught};
use crate::reading::read;

const COMMITS: usize = 15;
const PACKETS: usize = 20;

/// One history.
pub fn try_history(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let start = random_world(&mut random);
    let host = Host::of_seed(seed);
    let mut history = History {
        host,
        start,
        commits: Vec::new(),
    };
    let mut world = history.start.clone();
    for _ in 0..COMMITS {
        // Most are of one change; what comes together is calculated together.
        let length = random.weighted(&[(70, 1), (15, 2), (10, 4), (5, 8)]);
        history
            .commits
            .push(random.several(length, length, |random| {
                let change = random_change(random, &world);
                change.apply(&mut world);
                change
            }));
    }
    let mut done = 0;
    let outcome = caught(|| history.follow(&mut done, &mut random));
    outcome.map_err(|failure| {
        history.commits.truncate(done);
        told(history, failure)
    })
}

/// What happens to a world.
#[derive(Debug, Clone)]
struct History {
    host: Host,
    start: World,
    /// Changes that are committed together stand together.
    commits: Vec<Vec<Change>>,
}

impl History {
    /// Compares at the start and after each commit, which it counts in `done`.
    fn follow(&self, done: &mut usize, random: &mut Random) -> Result<(), Failure> {
        let mut world = self.start.clone();
        let mut tables = Incremental::new(&world, self.host);
        self.compare(&world, &tables, &sample(&world, random))?;
        for changes in &self.commits {
            *done += 1;
            let mut packets = sample(&world, random);
            changes.iter().for_each(|change| change.apply(&mut world));
            packets.extend(sample(&world, random));
            self.commit(&world, &mut tables, changes, &packets)?;
        }
        Ok(())
    }

    /// What is wrong at its end with this packet, or on the way without one.
    fn end(&self, packet: Option<Packet>) -> Result<(), Failure> {
        caught(|| {
            let mut world = self.start.clone();
            let mut tables = Incremental::new(&world, self.host);
            let packets: Vec<Packet> = packet.into_iter().collect();
            let Some((last, commits)) = self.commits.split_last() else {
                return self.compare(&world, &tables, &packets);
            };
            for changes in commits {
                changes.iter().for_each(|change| change.apply(&mut world));
                tables.apply(changes).map_err(Failure::of)?;
            }
            last.iter().for_each(|change| change.apply(&mut world));
            self.commit(&world, &mut tables, last, &packets)
        })
    }

    fn commit(
        &self,
        world: &World,
        tables: &mut Incremental,
        changes: &[Change],
        packets: &[Packet],
    ) -> Result<(), Failure> {
        tables.apply(changes).map_err(Failure::of)?;
        self.compare(world, tables, packets)
    }

    /// From scratch is the oracle, and so is incremental.
    fn compare(
        &self,
        world: &World,
        tables: &Incremental,
        packets: &[Packet],
    ) -> Result<(), Failure> {
        let census = Census::new(world);
        for (name, state) in [
            ("from scratch", &from_scratch(world, self.host)),
            ("incremental", tables.state()),
        ] {
            compare(&census, self.host, state, packets).map_err(|failure| Failure {
                message: format!("{name}: {}", failure.message),
                ..failure
            })?;
        }
        read(&census, self.host, tables.engine(), packets).map_err(Failure::of)?;
        let world = world.pending();
        let census = Census::new(&world);
        compare(&census, self.host, tables.pending(), packets).map_err(Failure::pending)
    }
}

fn sample(world: &World, random: &mut Random) -> Vec<Packet> {
    let targets = Targets::of(world);
    (0..PACKETS).map(|_| targets.packet(random)).collect()
}

/// The shortest history from the smallest world that fails so, as a scenario file.
fn told(mut history: History, failure: Failure) -> String {
    let again = |history: &History| {
        history
            .end(failure.packet)
            .err()
            .filter(|found| found.is_like(&failure))
    };
    let fails = |history: &History| again(history).is_some();
    let parts: Vec<_> = (history.commits.iter().enumerate())
        .flat_map(|(commit, changes)| (0..changes.len()).map(move |place| (commit, place)))
        .collect();
    // The latest first, so that the places of the others stay.
    for &(commit, place) in parts.iter().rev() {
        let mut shorter = history.clone();
        shorter.commits[commit].remove(place);
        if fails(&shorter) {
            history = shorter;
        }
    }
    let mut shorter = history.clone();
    shorter.commits.retain(|changes| !changes.is_empty());
    if fails(&shorter) {
        history = shorter;
    }
    history.start = minimise(&history.start, |start| {
        fails(&History {
            start: start.clone(),
            ..history.clone()
        })
    });
    simplify(&mut history, fails);
    let failure = again(&history).unwrap_or_else(|| Failure {
        message: format!("{} (but not with this packet alone)", failure.message),
        ..failure.clone()
    });
    let host = history.host;
    let lengths: Vec<usize> = history.commits.iter().map(Vec::len).collect();
    let mut scenario = Scenario::of("Tables and oracle differ.", &history.start, []);
    let mut world = history.start;
    for change in history.commits.into_iter().flatten() {
        change.apply(&mut world);
        scenario.steps.push(Step::Change(change));
    }
    scenario
        .steps
        .extend(failure.query(&world).map(Step::Query));
    let message = failure.message;
    format!("{host:?}, changes in each commit: {lengths:?}: {message}\n\n{scenario}")
}

/// Makes the objects of changes smaller.
fn simplify(history: &mut History, fails: impl Fn(&History) -> bool) {
    for commit in 0..history.commits.len() {
        for place in 0..history.commits[commit].len() {
            let Change::Put(object) = &history.commits[commit][place] else {
                continue;
            };
            let least = minimise_object(object, |object| {
                let mut smaller = history.clone();
                smaller.commits[commit][place] = Change::Put(object.clone());
                fails(&smaller)
            });
            history.commits[commit][place] = Change::Put(least);
        }
    }
}
