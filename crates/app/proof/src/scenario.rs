//! Scenario files in the kernel: what they expect, packet by packet.

use std::collections::BTreeSet;

use ocicat_oracle::{Census, Verdict};
use ocicat_testkit::{Act, Answer, Ask, Random, Scenario, Whom};

use crate::expectation::{Shot, Then, flow};
use crate::field::Field;
use crate::frame::{Cut, Options, Shape};
use crate::host::{Home, Host, Mode, Tracking};
use crate::tally::Tally;
use crate::trial::{Failure, ask};

const WHOLE: Shape = Shape {
    options: Options::Absent,
    destination_options: Options::Absent,
    cut: Cut::Whole,
};

/// What a scenario covered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Followed {
    pub tally: Tally,
    /// Packets that were not sent: what is asked of hosts, and what nobody here judges.
    pub left_out: u64,
}

/// Puts the world of a scenario into force, sends what it asks, follows its changes as an agent
/// does, and asks again; once with connections tracked, and once without.
///
/// # Errors
/// The first difference between kernel and expectation, or what kept it from being tried.
pub fn follow(field: &mut Field, scenario: &Scenario) -> Result<Followed, Failure> {
    let mut followed = Followed::default();
    for tracking in [Tracking::Tracked, Tracking::Untracked] {
        follow_once(field, scenario, tracking, &mut followed)?;
    }
    Ok(followed)
}

fn follow_once(
    field: &mut Field,
    scenario: &Scenario,
    tracking: Tracking,
    followed: &mut Followed,
) -> Result<(), Failure> {
    let mode = Mode {
        home: Home::Everybody,
        tracking,
    };
    followed.tally.worlds += 1;
    let mut host: Option<Host> = None;
    for act in scenario
        .acts()
        .map_err(|error| anyhow::anyhow!("{error}"))?
    {
        match &mut host {
            None => host = Some(Host::install(field, &act.world, mode)?),
            Some(host) => {
                for change in &act.changes {
                    host.follow(field, change)?;
                }
            }
        }
        let Some(host) = &host else { continue };
        let shots = shots(field, host, &act, tracking, followed)?;
        if let Err((text, _)) = ask(field, host, shots, tracking, &mut followed.tally)? {
            return Err(Failure::Differs(format!("{tracking:?}: {text}")));
        }
    }
    Ok(())
}

/// The packets that an act asks about, each flow once.
fn shots(
    field: &Field,
    host: &Host,
    act: &Act,
    tracking: Tracking,
    followed: &mut Followed,
) -> Result<Vec<Shot>, Failure> {
    let census = Census::new(&act.world);
    let mut random = Random::new(0);
    let (mut shots, mut flows) = (Vec::new(), BTreeSet::new());
    for ask in &act.asks {
        if ask.whom != Whom::Ends {
            followed.left_out += 1;
            continue;
        }
        if !flows.insert(flow(&ask.packet)) {
            continue;
        }
        let asked = (ask.packet, WHOLE);
        let shot = Shot::new(field, host, &census, asked, tracking, &mut random);
        let Some(shot) = shot else {
            followed.left_out += 1;
            continue;
        };
        is_as_expected(ask, &shot)?;
        shots.push(shot);
    }
    Ok(shots)
}

/// Whether the judgements that the kernel is compared with are those that the scenario expects.
fn is_as_expected(ask: &Ask, shot: &Shot) -> Result<(), Failure> {
    if shot.then == Then::Invalid {
        return Ok(());
    }
    let judgements = &shot.judgements;
    let denies = judgements.iter().any(|x| x.verdict == Verdict::Deny);
    let expected = ask.expected == Answer::Verdict(Verdict::Deny);
    if denies == expected {
        return Ok(());
    }
    Err(Failure::Differs(format!(
        "line {}: {}: expected {}, but the oracle judges {judgements:?}",
        ask.span.line, ask.packet, ask.expected
    )))
}
