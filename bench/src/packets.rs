//! What packets cost: new connections and packets of established flows, by the number of rules, beside a
//! bare veth pair and the same rules as a linear chain.

mod road;
mod rules;

use std::fmt;
use std::time::{Duration, Instant};

use ocicat_nft::object::{
    Chain, ChainKind, Hook, Op, Policy, Rule, TableId, Transaction, Verdict, build, priority,
};

use crate::kernel::Kernel;
use crate::load;
use crate::meter::Meter;
use road::{Road, Way};

/// Each measurement is made so often; the median counts.
const ROUNDS: usize = 9;
const CONNECTIONS: usize = 3_000;
const PACKETS: usize = 30_000;
/// From so many rules in a linear chain on, each connection takes long, and fewer are made.
const LONG: usize = 20_000;
const FEW_CONNECTIONS: usize = 150;

/// What one kind of path costs.
#[derive(Debug, Clone)]
pub struct Cost {
    pub path: String,
    /// One TCP connection: made, accepted, reset.
    pub connection: Took,
    /// One UDP packet of 64 bytes of an established flow.
    pub packet: Took,
    /// How long it took to put the rules into the kernel.
    pub install: Duration,
}

/// Medians.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Took {
    pub clock: Duration,
    /// Of the measuring thread, in which the kernel does nearly all of the work.
    pub processor: Duration,
}

/// Titles of the columns of [`Cost`].
pub const TITLE: &str = "\
| path | TCP connections a second | processor, one connection | processor, one packet | rules installed in |
|---|---:|---:|---:|---:|";

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {:.0} | {:.1} µs | {:.2} µs | {:.1?} |",
            self.path,
            1.0 / self.connection.clock.as_secs_f64(),
            self.connection.processor.as_secs_f64() * 1e6,
            self.packet.processor.as_secs_f64() * 1e6,
            self.install,
        )
    }
}

/// Measures all paths, one after the other, and hands each to `each` when it is done.
///
/// # Errors
/// Without root, or if the kernel refuses.
pub fn costs(rules: &[usize], mut each: impl FnMut(&Cost)) -> anyhow::Result<()> {
    let mut road = Road::create()?;
    let fewest = rules.iter().min().copied().unwrap_or(1);
    let none = Duration::ZERO;
    each(&cost(
        &mut road,
        "a bare veth pair",
        Way::Bare,
        fewest,
        CONNECTIONS,
        none,
    )?);
    each(&cost(
        &mut road,
        "routed, no rules",
        Way::Routed,
        fewest,
        CONNECTIONS,
        none,
    )?);
    let accept = Rule::new("forward")
        .with(build::ct_state(build::CT_STATE_NEW))
        .with(build::verdict(Verdict::Accept));
    let accept = std::iter::once(accept).chain(rules::linear(0)).collect();
    let install = chain(&mut road, accept)?;
    let path = "routed, connections tracked";
    each(&cost(
        &mut road,
        path,
        Way::Routed,
        fewest,
        CONNECTIONS,
        install,
    )?);
    for count in rules {
        let name = thousands(*count);
        let install = tables(&mut road, *count)?;
        let path = format!("{name} rules, Ocicat");
        each(&cost(
            &mut road,
            &path,
            Way::Routed,
            *count,
            CONNECTIONS,
            install,
        )?);
        let install = chain(&mut road, rules::linear(*count))?;
        let path = format!("{name} rules, a linear nft chain");
        let connections = if *count > LONG {
            FEW_CONNECTIONS
        } else {
            CONNECTIONS
        };
        each(&cost(
            &mut road,
            &path,
            Way::Routed,
            *count,
            connections,
            install,
        )?);
    }
    Ok(())
}

fn cost(
    road: &mut Road,
    path: &str,
    way: Way,
    rules: usize,
    connections: usize,
    install: Duration,
) -> anyhow::Result<Cost> {
    Ok(Cost {
        path: path.to_owned(),
        connection: median(connections, || road.connect(way, rules, connections))?,
        packet: median(PACKETS, || road.send(way, rules, PACKETS))?,
        install,
    })
}

fn median(count: usize, mut measure: impl FnMut() -> anyhow::Result<Took>) -> anyhow::Result<Took> {
    // The first fills caches.
    measure()?;
    let all = (0..ROUNDS).map(|_| measure());
    let all = all.collect::<anyhow::Result<Vec<Took>>>()?;
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let middle = |part: fn(&Took) -> Duration| {
        let mut all: Vec<Duration> = all.iter().map(part).collect();
        all.sort();
        all[ROUNDS / 2] / count
    };
    Ok(Took {
        clock: middle(|took| took.clock),
        processor: middle(|took| took.processor),
    })
}

/// Policies that hold the rules, calculated and put into the kernel in place of whatever was.
fn tables(road: &mut Road, rules: usize) -> anyhow::Result<Duration> {
    road.clear()?;
    let begin = Instant::now();
    let mut engine = load::engine();
    for object in rules::policies(rules) {
        engine.upsert(&load::object(object.to_string().as_bytes())?);
    }
    let commit = engine.commit();
    Kernel::install_in(road.host(), &engine, &commit.delta, &mut Meter::default())?;
    Ok(begin.elapsed())
}

/// A chain of rules in place of whatever was.
fn chain(road: &mut Road, rules: Vec<Rule>) -> anyhow::Result<Duration> {
    road.clear()?;
    let chain = Chain::base(
        "forward",
        ChainKind::Filter,
        Hook::Forward,
        priority::FILTER,
        Policy::Drop,
    );
    let mut ops = vec![Op::AddTable { comment: None }, Op::AddChain(chain)];
    ops.extend(rules.into_iter().map(Op::AddRule));
    let table = TableId::inet("linear");
    let begin = Instant::now();
    road.nft.commit(&Transaction { table, ops })?;
    Ok(begin.elapsed())
}

fn thousands(count: usize) -> String {
    match count {
        0..1_000 => count.to_string(),
        _ => format!("{},{:03}", count / 1_000, count % 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_connections_and_packets_come_through_each_path() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return;
        }
        let mut road = Road::create().unwrap();
        road.connect(Way::Bare, 10, 20).unwrap();
        tables(&mut road, 10).unwrap();
        road.connect(Way::Routed, 10, 20).unwrap();
        road.send(Way::Routed, 10, 20).unwrap();
        // What no rule admits does not come through.
        assert!(road.connect(Way::Routed, 20, 20).is_err());
        chain(&mut road, rules::linear(10)).unwrap();
        road.connect(Way::Routed, 10, 20).unwrap();
        assert!(road.connect(Way::Routed, 20, 20).is_err());
    }
}
