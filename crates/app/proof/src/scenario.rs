//! Scenario files in the kernel: what they expect, packet by packet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, anyhow};
use ocicat_oracle::{self as oracle, Census, Way};
use ocicat_testkit::{Act, Answer, Ask, HostPath, Random, Scenario, Whom};

use crate::expectation::{Asked, Shot, Then, flow};
use crate::field::{Field, HOST, LinkId};
use crate::frame::{Cut, Options, Shape};
use crate::host::{Home, Host, Mode, Tracking, router};
use crate::tally::Tally;
use crate::trial::{Failure, ask};
use crate::words::endpoint_id;

const WHOLE: Shape = Shape {
    options: Options::Absent,
    destination_options: Options::Absent,
    cut: Cut::Whole,
};

/// What a scenario covered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Followed {
    pub tally: Tally,
    /// Questions about one stage of a host endpoint: a packet meets stages on its way through a host,
    /// never one by itself, so tables alone answer them.
    pub stages: u64,
}

/// Puts the world of a scenario into force, sends what it asks, follows its changes as an agent
/// does, and asks again; once with connections tracked, and once without. Hosts that it asks about
/// are taken one after the other.
///
/// # Errors
/// The first difference between kernel and expectation, or what kept it from being tried.
pub fn follow(field: &mut Field, scenario: &Scenario) -> Result<Followed, Failure> {
    let mut followed = Followed::default();
    let acts = scenario.acts().map_err(|error| anyhow!("{error}"))?;
    let asks = || acts.iter().flat_map(|act| &act.asks);
    let is_stage = |ask: &&Ask| matches!(ask.whom, Whom::Stage(_));
    followed.stages += asks().filter(is_stage).count() as u64;
    let nodes: BTreeSet<&str> = asks().filter_map(|ask| node(&ask.whom)).collect();
    for tracking in [Tracking::Tracked, Tracking::Untracked] {
        if asks().any(|ask| ask.whom == Whom::Ends) {
            follow_at(field, &acts, None, tracking, &mut followed.tally)?;
        }
        for node in &nodes {
            follow_at(field, &acts, Some(node), tracking, &mut followed.tally)?;
        }
    }
    Ok(followed)
}

fn node(whom: &Whom) -> Option<&str> {
    match whom {
        Whom::Host(path) => Some(&path.node),
        Whom::Ends | Whom::Stage(_) => None,
    }
}

/// At one node, or at a host where everybody is.
fn follow_at(
    field: &mut Field,
    acts: &[Act],
    at: Option<&str>,
    tracking: Tracking,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let mode = Mode {
        home: at.map_or(Home::Everybody, |_| Home::One),
        tracking,
    };
    tally.worlds += 1;
    let mut host: Option<Host> = None;
    for act in acts {
        let site = at.map_or_else(|| router(&act.world), |node| act.host(node));
        match &mut host {
            None => host = Some(Host::install(field, &act.world, mode, site)?),
            Some(host) => {
                for change in &act.changes {
                    host.follow(field, change, &site)?;
                }
                host.become_site(field, &site)?;
            }
        }
        let Some(host) = &host else { continue };
        for batch in batches(field, host, act, at, tracking)? {
            batch.ask(field, host, tracking, tally)?;
        }
    }
    Ok(())
}

/// Packets that can be on their way at the same time.
#[derive(Default)]
struct Batch {
    shots: Vec<Shot>,
    flows: BTreeSet<(u8, [(IpAddr, u16); 2], u32)>,
    /// Where uplinks are asked for.
    routes: BTreeMap<IpAddr, LinkId>,
    is_translated: bool,
}

impl Batch {
    /// Whether the packet takes its way here without meeting another of its flow.
    fn has_room(&self, shot: &Shot) -> bool {
        let asked = &shot.asked;
        let there = self.routes.get(&asked.packet.destination);
        let is_alone = !self.is_translated && asked.translated.is_none();
        (self.shots.is_empty() || is_alone)
            && there.is_none_or(|link| *link == asked.to)
            && !self.flows.contains(&flow(&asked.packet))
    }

    fn add(&mut self, shot: Shot, is_uplink: bool) {
        let asked = &shot.asked;
        self.flows.insert(flow(&asked.packet));
        self.is_translated |= asked.translated.is_some();
        if is_uplink {
            self.routes.insert(asked.packet.destination, asked.to);
        }
        self.shots.push(shot);
    }

    fn ask(
        self,
        field: &mut Field,
        host: &Host,
        tracking: Tracking,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let mut routes = host.routes();
        routes.extend(self.routes);
        field.route(routes)?;
        let found = ask(field, host, self.shots, tracking, tally)?;
        match found {
            Ok(()) => Ok(()),
            Err((text, _)) => Err(Failure::Differs(format!("{tracking:?}: {text}"))),
        }
    }
}

/// The packets that an act asks about here.
fn batches(
    field: &Field,
    host: &Host,
    act: &Act,
    at: Option<&str>,
    tracking: Tracking,
) -> Result<Vec<Batch>, Failure> {
    let census = Census::new(&act.world);
    let mut random = Random::new(0);
    let mut batches: Vec<Batch> = vec![Batch::default()];
    let mut known = BTreeSet::new();
    for ask in &act.asks {
        if matches!(ask.whom, Whom::Stage(_)) || node(&ask.whom) != at {
            continue;
        }
        // What is not tracked is not translated either.
        if tracking == Tracking::Untracked && ask.translated.is_some() {
            continue;
        }
        let asked = match &ask.whom {
            Whom::Host(path) => way_of(field, host, act, &census, (path, ask))?,
            _ => Asked::of(field, host, (ask.packet, WHOLE), None, &mut random)
                .with_context(|| format!("line {}: no host forwards this", ask.span.line))?,
        };
        let (from, to) = (asked.from, asked.to);
        if !known.insert((ask.packet, ask.translated, from, to)) {
            continue;
        }
        let shot = Shot::new(field, host, &census, asked, tracking)
            .with_context(|| format!("line {}: no way from {from} to {to}", ask.span.line))?;
        is_as_expected(ask, &shot)?;
        let is_uplink = matches!(ask.whom, Whom::Host(_)) && field.is_uplink(to);
        let place = match batches.iter().position(|batch| batch.has_room(&shot)) {
            Some(place) => place,
            None => {
                batches.push(Batch::default());
                batches.len() - 1
            }
        };
        batches[place].add(shot, is_uplink);
    }
    Ok(batches)
}

/// The way that a question about a host names.
fn way_of(
    field: &Field,
    host: &Host,
    act: &Act,
    census: &Census<'_>,
    (path, ask): (&HostPath, &Ask),
) -> anyhow::Result<Asked> {
    let line = ask.span.line;
    let site: &oracle::Host = host.site();
    let passage = act
        .passage(census, site, path, ask)
        .map_err(|message| anyhow!("line {line}: {message}"))?;
    let link = |way: &Way| match way {
        Way::Host => Ok(HOST),
        Way::Interface(name) => field
            .uplink_named(name)
            .with_context(|| format!("line {line}: the proof has no interface {name}")),
        Way::Workload(key) => host
            .link_of(&endpoint_id(key))
            .with_context(|| format!("line {line}: {key} has no link here")),
    };
    let (translated, to) = match &passage.translated {
        Some((packet, to)) => (Some(*packet), to),
        None => (None, &passage.to),
    };
    Ok(Asked {
        packet: passage.packet,
        shape: WHOLE,
        translated,
        from: link(&passage.from)?,
        to: link(to)?,
    })
}

/// Whether the judgements that the kernel is compared with are those that the scenario expects.
fn is_as_expected(ask: &Ask, shot: &Shot) -> Result<(), Failure> {
    if shot.then == Then::Invalid || ask.expected == Answer::Verdict(shot.verdict()) {
        return Ok(());
    }
    let Shot {
        judgements, then, ..
    } = shot;
    Err(Failure::Differs(format!(
        "line {}: {}: expected {}, but the oracle judges {judgements:?}, then {then:?}",
        ask.span.line, ask.packet, ask.expected
    )))
}
