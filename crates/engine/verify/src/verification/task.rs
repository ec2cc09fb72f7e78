//! The steps of a comparison.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ocicat_flow::Direction;
use ocicat_node::{NodeState, StackId};

use super::hosts::AtStage;
use super::{Attached, Checked, Verification};

/// Pairs of local addresses that are compared at most; of more, some for each address.
const PAIRS: usize = 4_000;

/// A question about attached endpoints, which are named by their places.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    /// The table's base chains, and packets that are no workload's.
    Base,
    /// Packets that claim to be another's.
    Forged(usize),
    /// All that one of its addresses sends or receives.
    Judged(usize, IpAddr, Direction),
    /// To its own host.
    Host(usize, IpAddr),
    /// Packets of a connection that was decided or ended.
    Known(usize, IpAddr),
    /// What a host endpoint says.
    Stage(AtStage),
    /// What an interface with a host endpoint does not judge any more.
    Passing(usize),
    /// From one to another of this host.
    Pair((usize, IpAddr), (usize, IpAddr)),
}

pub(super) fn tasks(attached: &[Attached], state: &NodeState) -> Vec<Task> {
    let mut tasks = vec![Task::Base];
    let mut ends = Vec::new();
    for (place, one) in attached.iter().enumerate() {
        tasks.push(Task::Forged(place));
        for address in &one.attachment.addresses {
            ends.push((place, *address));
        }
    }
    // What judges alike follows what it is like.
    for (place, address) in &ends {
        for direction in [Direction::Egress, Direction::Ingress] {
            tasks.push(Task::Judged(*place, *address, direction));
        }
        tasks.push(Task::Host(*place, *address));
        tasks.push(Task::Known(*place, *address));
    }
    tasks.extend(pairs(&ends, attached, state));
    tasks
}

/// Pairs of one family. Where there are too many, one for each two stacks.
fn pairs(ends: &[(usize, IpAddr)], attached: &[Attached], state: &NodeState) -> Vec<Task> {
    let same = |a: &IpAddr, b: &IpAddr| a.is_ipv4() == b.is_ipv4();
    let all = ends
        .iter()
        .flat_map(|from| ends.iter().map(move |to| (*from, *to)));
    let all = all.filter(|(from, to)| same(&from.1, &to.1));
    if ends.len() * ends.len() <= PAIRS {
        return all.map(|(from, to)| Task::Pair(from, to)).collect();
    }
    let mut seen: BTreeSet<(Option<StackId>, Option<StackId>)> = BTreeSet::new();
    let stack = |(place, address): (usize, IpAddr), direction| {
        let policy = state.endpoints.get(&attached[place].endpoint)?;
        let local = policy
            .addresses
            .iter()
            .find(|local| local.address == address)?;
        Some(match direction {
            Direction::Egress => local.egress,
            Direction::Ingress => local.ingress,
        })
    };
    all.filter(|(from, to)| {
        seen.insert((
            stack(*from, Direction::Egress),
            stack(*to, Direction::Ingress),
        ))
    })
    .take(PAIRS)
    .map(|(from, to)| Task::Pair(from, to))
    .collect()
}

impl Verification<'_> {
    /// The task in words.
    pub(super) fn said(&self, task: Task) -> String {
        let name = |place: usize| self.attached[place].endpoint.to_string();
        let link = |place: usize| &self.links[place].name;
        match &task {
            Task::Base => "base chains".to_owned(),
            Task::Forged(place) => format!("forged packets of {}", name(*place)),
            Task::Judged(place, address, direction) => {
                format!("{direction} of {} {address}", name(*place))
            }
            Task::Host(place, address) => format!("{} {address} to the host", name(*place)),
            Task::Known(place, address) => format!("connections of {} {address}", name(*place)),
            Task::Stage(at) => format!("{} of {}", at.text(), link(at.link)),
            Task::Passing(place) => format!("known packets of {}", link(*place)),
            Task::Pair(from, to) => {
                format!("{} {} to {} {}", name(from.0), from.1, name(to.0), to.1)
            }
        }
    }

    pub(super) fn check(&mut self, task: Task) -> Checked {
        match task {
            Task::Base => self.check_base(),
            Task::Forged(place) => self.check_forged(place),
            Task::Judged(place, address, direction) => {
                self.check_judged(task, (place, address), direction)
            }
            Task::Host(place, address) => self.check_host(task, (place, address)),
            Task::Known(place, address) => self.check_known((place, address)),
            Task::Stage(at) => self.check_stage(task, at),
            Task::Passing(link) => self.check_passing(link),
            Task::Pair(from, to) => self.check_pair(task, from, to),
        }
    }
}
