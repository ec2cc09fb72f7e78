//! Proves with real packets that policy holds.
//!
//! ```text
//!   API ──► objects ──► oracle: what should become of each packet ─┐
//!   lab ──► workloads ──► plan ──► send: what becomes of it ───────┴──► report
//! ```
//!
//! What should happen comes from the oracle, which shares no logic with the tables that the agents
//! enforce.

mod path;
mod plan;
mod report;
mod send;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use ocicat_api::Object;
use ocicat_kernel::netns::Namespace;
use ocicat_oracle::{Census, Verdict, World};
use tokio::task::JoinSet;

use crate::limits;
use crate::progress::{Step, say};
use crate::state::{Host, Lab, Workload};

use path::Paths;
pub use plan::{Filter, find, named_ports};
use plan::{Probe, plan, shared};
use report::Finding;
pub use report::Report;
use send::{Expectation, Observation};

/// Most probes under way at once.
const IN_FLIGHT: usize = 2000;
/// Descriptors that are left for everything that is not a probe.
const SPARE_FILES: u64 = 200;

/// What is probed, over TCP and UDP, where nobody names a port. That nobody listens there does not
/// matter: what gets through is refused by the workload itself, and what is denied is not.
const UNNAMED_PORT: u16 = 80;

/// Settings of a namespace that is probed. ICMP errors are what tells a probe that it arrived where
/// nobody listens: none may be held back. The masks are of types that are limited: none for IPv4, one
/// that does not exist for IPv6, whose mask cannot be empty.
pub const UNLIMITED_ICMP: [(&str, &str); 2] = [
    ("net/ipv4/icmp_ratemask", "0"),
    ("net/ipv6/icmp/ratemask", "255"),
];

/// Who asks and is asked: the workloads, and after them the hosts, if host endpoints judge them or
/// they are `wanted`.
pub fn places(lab: &Lab, objects: &[Object], wanted: bool) -> Vec<Workload> {
    let mut places = lab.workloads.clone();
    let judged = |object: &Object| matches!(object, Object::HostEndpoint(_));
    if wanted || objects.iter().any(judged) {
        places.extend(lab.hosts.iter().map(Host::place));
    }
    places
}

/// Sends every probe that `filter` lets through and compares what becomes of it with what policy over
/// `objects` says.
///
/// # Errors
/// If a workload's namespace is gone.
pub async fn run<'a>(
    lab: &'a Lab,
    places: &'a [Workload],
    objects: Vec<Object>,
    filter: &Filter,
) -> anyhow::Result<Report<'a>> {
    let workloads = places;
    let mut ports = named_ports(workloads, &objects);
    if ports.is_empty() {
        ports.insert(UNNAMED_PORT);
    }
    for address in shared(workloads) {
        say(format_args!(
            "warning: {address} is not probed: several workloads have it"
        ));
    }
    let probes = plan(workloads, &ports, filter, seed());
    let step = Step::begin("policy", probes.len());
    let hosts = path::hosts(lab, &objects);
    let world = World::new(objects);
    let census = Census::new(&world);
    let paths = Paths::new(&census, hosts, lab, places);
    let expected = expect(&paths, &probes, &step);
    step.finish(&format!("asked about {} packets", probes.len()));
    let step = Step::begin("packets", probes.len());
    let observed = send_all(workloads, &probes, &expected, &step).await?;
    step.finish(&format!("{} sent", probes.len()));
    let findings =
        probes
            .into_iter()
            .zip(expected)
            .zip(observed)
            .map(|((probe, expected), observed)| Finding {
                probe,
                expected,
                observed,
            });
    Ok(Report {
        workloads,
        findings: findings.collect(),
    })
}

/// A number that differs from one run to the next.
fn seed() -> u16 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |now| now.subsec_nanos());
    u16::try_from((nanos >> 8) & 0xffff).expect("masked to 16 bits")
}

/// Asks the oracle about each probe, on all processors: it is slow and every answer stands alone.
fn expect(paths: &Paths<'_>, probes: &[Probe], step: &Step) -> Vec<Expectation> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let share = probes.len().div_ceil(workers).max(1);
    let answer = |probe: &Probe| {
        step.advance();
        match paths.verdict(probe) {
            Verdict::Allow | Verdict::Next => Expectation::Allow,
            Verdict::Deny => Expectation::Deny,
        }
    };
    std::thread::scope(|scope| {
        let answer = &answer;
        let shares: Vec<_> = probes
            .chunks(share)
            .map(|chunk| scope.spawn(move || chunk.iter().map(answer).collect::<Vec<_>>()))
            .collect();
        shares
            .into_iter()
            .flat_map(|share| share.join().expect("the oracle does not panic"))
            .collect()
    })
}

/// Sends all probes, many at once; the answers are in the order of the probes.
async fn send_all(
    workloads: &[Workload],
    probes: &[Probe],
    expected: &[Expectation],
    step: &Step,
) -> anyhow::Result<Vec<Observation>> {
    let files = limits::raise_open_files().saturating_sub(SPARE_FILES);
    let in_flight = usize::try_from(files)
        .unwrap_or(usize::MAX)
        .clamp(16, IN_FLIGHT);
    let places = open_all(workloads, probes)?;
    let work: Arc<[(Probe, Expectation)]> = probes
        .iter()
        .copied()
        .zip(expected.iter().copied())
        .collect();
    let order = Arc::new(interleaved(probes, workloads.len()));
    let next = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..in_flight.min(probes.len()) {
        let (work, order, next) = (Arc::clone(&work), Arc::clone(&order), Arc::clone(&next));
        let (places, report) = (Arc::clone(&places), report.clone());
        senders.spawn(async move {
            while let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (probe, expected) = &work[*index];
                let Some(place) = &places[probe.from] else {
                    continue;
                };
                let seen = send::observe(place, probe, *expected).await;
                if report.send((*index, seen)).is_err() {
                    break;
                }
            }
        });
    }
    drop(report);
    let mut observed = vec![Observation::Failed("not sent".to_owned()); probes.len()];
    while let Some((index, seen)) = reports.recv().await {
        observed[index] = seen;
        step.advance();
    }
    Ok(observed)
}

type Places = Arc<[Option<Namespace>]>;

/// Opens the namespaces of all workloads that ask something.
fn open_all(workloads: &[Workload], probes: &[Probe]) -> anyhow::Result<Places> {
    let asking: BTreeSet<usize> = probes.iter().map(|probe| probe.from).collect();
    workloads
        .iter()
        .enumerate()
        .map(|(index, workload)| {
            let open =
                || Namespace::open_named(&workload.netns).with_context(|| workload.full_name());
            asking.contains(&index).then(open).transpose()
        })
        .collect()
}

/// An order in which workloads take turns, so that no host and no workload gets all at once.
fn interleaved(probes: &[Probe], workloads: usize) -> Vec<usize> {
    let mut by_asking = vec![Vec::new(); workloads];
    for (index, probe) in probes.iter().enumerate() {
        by_asking[probe.from].push(index);
    }
    let longest = by_asking.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest)
        .flat_map(|turn| {
            by_asking
                .iter()
                .filter_map(move |own| own.get(turn).copied())
        })
        .collect()
}

#[cfg(test)]
mod tests;
