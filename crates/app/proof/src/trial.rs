//! One world and its changes, many packets.

use std::collections::BTreeMap;
use std::fmt;

use ocicat_api::rule::{Action, Rule};
use ocicat_api::{self as api, Object};
use ocicat_oracle::{Census, Judgement, Way, World};
use ocicat_testkit::{
    Answer, End, HostPath, Query, Random, Scenario, Step, Whom, minimise, random_change,
    random_configuration, random_world,
};

use crate::expectation::{Asked, Shot, Then, shots, way};
use crate::field::Field;
use crate::frame::{Cut, Options};
use crate::host::{Home, Host, Mode, Tracking, random_links, random_site};
use crate::surroundings;
use crate::tally::{Kind, Tally};

/// How often packets are sent before a difference counts: a busy machine may lose some.
const ATTEMPTS: u32 = 3;
/// The same of one packet, while the smallest world is looked for.
const FEW_ATTEMPTS: u32 = 2;

/// What a trial does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    /// In each state of the world.
    pub packets: usize,
    /// Changes of the world, each followed as an agent follows it.
    pub changes: usize,
}

/// Why a trial did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// Kernel and oracle differ; how, and the smallest world that shows it as a scenario file.
    Differs(String),
    /// The trial could not be made.
    Broken(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(text) => f.write_str(text),
            Self::Broken(error) => write!(f, "{error:#}"),
        }
    }
}

/// Puts the world of a seed into force and asks kernel and oracle; then changes it and asks again.
///
/// # Errors
/// The first difference, or what kept it from being tried.
pub fn trial(field: &mut Field, plan: &Plan) -> Result<Tally, Failure> {
    let mut random = Random::new(plan.seed);
    let mut world = random_world(&mut random);
    let mode = Mode::of_seed(plan.seed);
    if mode.home == Home::Everybody {
        world
            .objects
            .retain(|key, _| key.kind != api::Kind::HostEndpoint);
    }
    for configuration in random.several(0, 2, random_configuration) {
        world.put(configuration);
    }
    log_more(&mut random, &mut world);
    let mut host = Host::install(field, &world, mode, random_site(&world))?;
    let mut tally = Tally {
        worlds: 1,
        ..Tally::default()
    };
    for step in 0..=plan.changes {
        if step > 0 {
            let change = random_change(&mut random, &world);
            if mode.home == Home::Everybody && change.key().kind == api::Kind::HostEndpoint {
                continue;
            }
            change.apply(&mut world);
            host.follow(field, &change, &random_site(&world))?;
        }
        let census = Census::new(&world);
        let batch = (plan.packets, &mut random);
        let shots = shots(field, &host, &census, mode.tracking, batch);
        match ask(field, &host, shots, mode.tracking, &mut tally)? {
            Ok(()) => {}
            Err((text, shot)) => {
                let place = format!("seed {}, after {step} changes, {mode:?}", plan.seed);
                let program = host.differences(field)?;
                let text = match program[..] {
                    [] => format!("{text}\nThe program decides what the tables say."),
                    _ => format!("{text}\nThe program: {program:#?}"),
                };
                return Err(Failure::Differs(told(
                    field, &world, mode, &place, &text, shot,
                )));
            }
        }
    }
    Ok(tally)
}

/// Makes every fourth policy begin with rules that log: few rules of random worlds do, and what they log
/// is seldom allowed.
fn log_more(random: &mut Random, world: &mut World) {
    for object in world.objects.values_mut() {
        let (Object::CalicoNetworkPolicy(policy) | Object::GlobalNetworkPolicy(policy)) = object
        else {
            continue;
        };
        for rules in [&mut policy.ingress, &mut policy.egress] {
            if let Some(first) = rules.first().filter(|_| random.chance(25)) {
                let log = Rule {
                    action: Action::Log,
                    ..first.clone()
                };
                rules.insert(0, log);
            }
        }
    }
}

/// A difference, and the packet if it is about one.
pub(crate) type Difference = (String, Option<Box<Shot>>);

pub(crate) fn ask(
    field: &mut Field,
    host: &Host,
    mut shots: Vec<Shot>,
    tracking: Tracking,
    tally: &mut Tally,
) -> anyhow::Result<Result<(), Difference>> {
    // Packets that are asked about at the same time are translated alike.
    let translated = |shot: &Shot| Some((shot.asked.packet, shot.asked.translated?));
    let translation = shots.iter().find_map(translated);
    if let Some((before, after)) = &translation {
        field
            .nft
            .commit(&surroundings::translation(before, after))?;
    }
    let mut found = Ok(());
    let attempts = if shots.len() > 1 {
        ATTEMPTS
    } else {
        FEW_ATTEMPTS
    };
    for attempt in 0..attempts {
        if attempt > 0 {
            tally.repeated += 1;
        }
        found = ask_once(field, host, &mut shots)?;
        if found.is_ok() {
            count(field, &shots, tracking, tally);
            break;
        }
    }
    if translation.is_some() {
        field.nft.commit(&surroundings::no_translation())?;
    }
    Ok(found)
}

fn ask_once(
    field: &mut Field,
    host: &Host,
    shots: &mut [Shot],
) -> anyhow::Result<Result<(), Difference>> {
    field.forget()?;
    let before = host.counted(field)?;
    let mut frames = Vec::new();
    for shot in &mut *shots {
        shot.number = field.next_number();
        frames.extend(shot.frames(field));
    }
    let decided: Vec<u32> = shots
        .iter()
        .filter(|shot| matches!(shot.then, Then::Arrives | Then::Denied))
        .map(|shot| shot.number)
        .collect();
    let answers = field.inject(&frames, |answers| {
        decided.iter().all(|number| answers.is_decided(*number))
    })?;
    let different = shots
        .iter()
        .find_map(|shot| Some((shot.difference(host, &answers)?, shot)));
    if let Some((text, shot)) = different {
        return Ok(Err((text, Some(Box::new(shot.clone())))));
    }
    let expected = expected_counts(shots);
    let mut counted = host.counted(field)?;
    for (judgement, packets) in before {
        // What has gone meanwhile is not there any more.
        if let Some(now) = counted.get_mut(&judgement) {
            *now -= packets;
        }
    }
    counted.retain(|_, packets| *packets > 0);
    let wrong = expected
        .keys()
        .chain(counted.keys())
        .find(|judgement| expected.get(*judgement) != counted.get(*judgement));
    Ok(match wrong {
        None => Ok(()),
        Some(judgement) => {
            let of =
                |counts: &BTreeMap<Judgement, u64>| counts.get(judgement).copied().unwrap_or(0);
            let text = format!(
                "{judgement}\nexpected to decide {} packets, counted {}",
                of(&expected),
                of(&counted)
            );
            let shot = shots
                .iter()
                .find(|shot| shot.judgements.contains(judgement));
            Err((text, shot.cloned().map(Box::new)))
        }
    })
}

fn expected_counts(shots: &[Shot]) -> BTreeMap<Judgement, u64> {
    let mut expected = BTreeMap::new();
    for judgement in shots.iter().flat_map(|shot| &shot.judgements) {
        *expected.entry(judgement.clone()).or_default() += 1;
    }
    expected
}

fn count(field: &Field, shots: &[Shot], tracking: Tracking, tally: &mut Tally) {
    tally.states += 1;
    for shot in shots {
        let judgements = &shot.judgements;
        let denied = shot.then == Then::Denied;
        let invalid = shot.then == Then::Invalid;
        let allowed = shot.then == Then::Arrives;
        let asked = &shot.asked;
        let extended = [asked.shape.options, asked.shape.destination_options];
        for (is, number) in [
            (true, &mut tally.packets),
            (denied, &mut tally.denied),
            (invalid, &mut tally.invalid),
            (allowed, &mut tally.allowed),
            (
                allowed && judgements.iter().any(|x| !x.logged.is_empty()),
                &mut tally.logged,
            ),
            (tracking == Tracking::Untracked, &mut tally.untracked),
            (asked.shape.cut != Cut::Whole, &mut tally.fragmented),
            (extended.contains(&Options::Padding), &mut tally.extended),
            (asked.packet.source.is_ipv6(), &mut tally.ipv6),
            (judgements.len() > 1, &mut tally.twice),
            (shot.is_transit(field), &mut tally.transit),
            (shot.is_of_host, &mut tally.hosts),
            (shot.is_local(), &mut tally.local),
            (shot.then == Then::Refused, &mut tally.refused),
            (shot.unasked.failsafe, &mut tally.failsafe),
            (shot.unasked.upkeep, &mut tally.upkeep),
            (asked.translated.is_some(), &mut tally.translated),
        ] {
            *number += u64::from(is);
        }
        for kind in Kind::of(asked) {
            tally.kinds[kind as usize].add(allowed, denied);
        }
    }
}

/// The smallest world with such a difference, as a scenario file.
fn told(
    field: &mut Field,
    world: &World,
    mode: Mode,
    place: &str,
    text: &str,
    shot: Option<Box<Shot>>,
) -> String {
    let Some(shot) = shot else {
        let scenario = scenario("Counters differ.", world, None);
        return format!("{place}\n{text}\n\n{scenario}");
    };
    let asked = shot.asked;
    let mut again = |world: &World| again(field, world, mode, asked.clone());
    if again(world).is_none() {
        let scenario = scenario("The state at the end of the history.", world, None);
        return format!(
            "{place}\n{text}\n\nNot so where this world is installed at once: the way to it matters.\n\n\
             {scenario}"
        );
    }
    let least = minimise(world, |world| again(world).is_some());
    let (text, query) = again(&least).unwrap_or_else(|| (text.to_owned(), None));
    let scenario = scenario("Kernel and oracle differ.", &least, query);
    format!("{place}\n{text}\n\n{scenario}")
}

fn scenario(title: &str, world: &World, query: Option<Query>) -> Scenario {
    let mut scenario = Scenario::of(title, world, query);
    let links = random_links().into_iter().map(Step::Link);
    scenario.steps.splice(0..0, links);
    scenario
}

/// How the two differ about one packet in a world that is installed at once, and the question.
fn again(
    field: &mut Field,
    world: &World,
    mode: Mode,
    asked: Asked,
) -> Option<(String, Option<Query>)> {
    let host = Host::install(field, world, mode, random_site(world)).ok()?;
    let census = Census::new(world);
    let shot = Shot::new(field, &host, &census, asked, mode.tracking)?;
    let query = query(field, &host, &census, mode, &shot);
    let mut tally = Tally::default();
    let found = ask(field, &host, vec![shot], mode.tracking, &mut tally).ok()?;
    found.err().map(|(text, _)| (text, Some(query)))
}

/// The question about a packet as a scenario file puts it.
fn query(field: &Field, host: &Host, census: &Census<'_>, mode: Mode, shot: &Shot) -> Query {
    let asked = &shot.asked;
    let comment = format!("{:?}", asked.shape);
    if mode.home == Home::Everybody && !shot.is_local() && asked.translated.is_none() {
        let expected = census.verdict(&asked.packet).verdict;
        return Query::of(&asked.packet, expected, comment);
    }
    let interface = |link| match way(field, host, census, link) {
        Some(Way::Interface(name)) => Some(name),
        _ => None,
    };
    let path = HostPath {
        node: host.site().node.clone(),
        input: interface(asked.from),
        output: interface(asked.to),
    };
    let translated = asked.translated;
    Query {
        translated: translated.map(|x| (End::Address(x.destination), x.destination_port)),
        whom: Whom::Host(path),
        ..Query::of(&asked.packet, Answer::Verdict(shot.verdict()), comment)
    }
}
