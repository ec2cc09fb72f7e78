//! What the tables say of many packets at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_flow::{Outcome, Verdict};
use ocicat_node::{
    ClassId, NodeState, OutcomeId, Protocol, Row, ServiceMatch, StackId, StageStacks,
};
use rustc_hash::FxHashMap;

use crate::packets::{Field, IpFamily, Packets};
use crate::{Ranges, Unsupported};

/// Of classes that a stage does not name so many are compared at once.
const OTHERS: usize = 32;

/// A [`NodeState`], cut into regions of addresses.
pub(crate) struct Tables<'s> {
    pub(crate) state: &'s NodeState,
    /// Of each family: where regions begin and end, and their class.
    spaces: [Vec<(u128, u128, ClassId)>; 2],
    /// Classes of sets of addresses that were asked for, by where the set is. The sets are kept.
    asked: FxHashMap<(IpFamily, *const Ranges), (Arc<Ranges>, Arc<[(ClassId, u128)]>)>,
    /// Of each family: the addresses of each class, once they were asked for.
    members: [Option<BTreeMap<ClassId, Vec<(u128, u128)>>>; 2],
    /// Addresses of some classes, or of some others, that were asked for.
    sets: FxHashMap<(IpFamily, Vec<ClassId>, bool), Arc<Ranges>>,
}

impl<'s> Tables<'s> {
    pub(crate) fn new(state: &'s NodeState) -> Self {
        let of = |family: IpFamily| {
            let prefixes = state
                .classes
                .iter()
                .filter(|(prefix, _)| prefix.addr().is_ipv4() == (family == IpFamily::V4));
            space(prefixes.map(|(prefix, class)| (*prefix, *class)))
        };
        Self {
            state,
            spaces: [of(IpFamily::V4), of(IpFamily::V6)],
            asked: FxHashMap::default(),
            members: [None, None],
            sets: FxHashMap::default(),
        }
    }

    /// The classes of addresses, each with one of the addresses.
    pub(crate) fn classes(&mut self, packets: &Packets, field: Field) -> Arc<[(ClassId, u128)]> {
        let set = &packets.sets[field as usize];
        let key = (packets.family, Arc::as_ptr(set));
        if let Some((_, classes)) = self.asked.get(&key) {
            return Arc::clone(classes);
        }
        let space = match packets.family {
            IpFamily::V4 => &self.spaces[0],
            IpFamily::V6 => &self.spaces[1],
        };
        let mut classes: BTreeMap<ClassId, u128> = BTreeMap::new();
        for (first, last) in set.iter() {
            let from = space.partition_point(|(_, end, _)| *end < first);
            for (begin, _, class) in space[from..].iter().take_while(|(b, ..)| *b <= last) {
                classes.entry(*class).or_insert(first.max(*begin));
            }
        }
        let classes: Arc<[(ClassId, u128)]> = classes.into_iter().collect();
        self.asked
            .insert(key, (Arc::clone(set), Arc::clone(&classes)));
        classes
    }

    fn members(&mut self, family: IpFamily) -> &BTreeMap<ClassId, Vec<(u128, u128)>> {
        let place = usize::from(family == IpFamily::V6);
        let space = &self.spaces[place];
        self.members[place].get_or_insert_with(|| {
            let mut members: BTreeMap<ClassId, Vec<(u128, u128)>> = BTreeMap::new();
            for (first, last, class) in space {
                members.entry(*class).or_default().push((*first, *last));
            }
            members
        })
    }

    /// The addresses of these classes, or of some others; `None` if there are none.
    pub(crate) fn addresses(
        &mut self,
        family: IpFamily,
        classes: &[ClassId],
        of_these: bool,
    ) -> Option<Arc<Ranges>> {
        let key = (family, classes.to_vec(), of_these);
        if let Some(set) = self.sets.get(&key) {
            return Some(Arc::clone(set));
        }
        let members = self.members(family).iter();
        let ranges = members
            .filter(|(class, _)| classes.contains(class) == of_these)
            .take(if of_these { usize::MAX } else { OTHERS })
            .flat_map(|(_, ranges)| ranges.iter().copied());
        let set = Arc::new(Ranges::of(ranges.collect()));
        if set.is_empty() {
            return None;
        }
        self.sets.insert(key, Arc::clone(&set));
        Some(set)
    }

    /// A class with addresses of the family that is none of these.
    pub(crate) fn other_class(&mut self, family: IpFamily, than: &[ClassId]) -> Option<ClassId> {
        let mut classes = self.members(family).keys();
        classes.find(|class| !than.contains(class)).copied()
    }

    /// Far addresses by which the stacks of a stage can be told from its default stack, and one besides.
    pub(crate) fn telling(
        &mut self,
        family: IpFamily,
        stage: Option<&StageStacks>,
        most: usize,
    ) -> Ranges {
        let state = self.state;
        let mut stacks: Vec<StackId> = stage.into_iter().flat_map(StageStacks::stacks).collect();
        stacks.sort_unstable();
        stacks.dedup();
        let members = self.members(family);
        let mut examples: Vec<u128> = (members.values().next().into_iter())
            .filter_map(|ranges| Some(ranges.first()?.0))
            .collect();
        for stack in stacks {
            if examples.len() >= most {
                break;
            }
            let differs = |class: &ClassId| {
                let default = stage.and_then(|stage| state.row(stage.default, *class));
                state.row(stack, *class) != default
            };
            let found = members.iter().find(|(class, _)| differs(class));
            examples.extend(found.and_then(|(_, ranges)| Some(ranges.first()?.0)));
        }
        Ranges::of(examples.into_iter().map(|n| (n, n)).collect())
    }

    pub(crate) fn row(&self, stack: StackId, class: ClassId) -> Result<&'s Row, Unsupported> {
        self.state
            .row(stack, class)
            .ok_or_else(|| Unsupported(format!("the tables have no row of {stack:?}, {class:?}")))
    }

    pub(crate) fn outcome(&self, id: OutcomeId) -> Result<&'s Outcome, Unsupported> {
        let outcome = self.state.outcomes.get(&id).map(AsRef::as_ref);
        outcome.ok_or_else(|| Unsupported(format!("the tables have no {id:?}")))
    }

    /// What rows, asked one after the other until one denies, say of the packets' services: for each
    /// part of them one service and the outcomes.
    pub(crate) fn judgements(
        &self,
        rows: &[&Row],
        packets: &Packets,
    ) -> Result<Vec<(ServiceMatch, Vec<OutcomeId>)>, Unsupported> {
        let mut out = Vec::new();
        for service in services(rows, packets) {
            let mut outcomes = Vec::with_capacity(rows.len());
            for row in rows {
                let id = row.outcome(&service);
                outcomes.push(id);
                if self.outcome(id)?.verdict == Verdict::Deny {
                    break;
                }
            }
            out.push((service, outcomes));
        }
        Ok(out)
    }
}

/// The address of a number.
pub(crate) fn address(family: IpFamily, number: u128) -> IpAddr {
    match family {
        // Numbers of this family have 32 bits.
        IpFamily::V4 => IpAddr::V4(u32::try_from(number).unwrap_or_default().into()),
        IpFamily::V6 => IpAddr::V6(number.into()),
    }
}

/// Longest match as disjoint regions that follow each other.
fn space(prefixes: impl Iterator<Item = (IpNet, ClassId)>) -> Vec<(u128, u128, ClassId)> {
    let bounds = |prefix: &IpNet| match prefix {
        IpNet::V4(net) => (
            u32::from(net.network()).into(),
            u32::from(net.broadcast()).into(),
        ),
        IpNet::V6(net) => (u128::from(net.network()), u128::from(net.broadcast())),
    };
    // Wide ones come before what they hold.
    let mut sorted: Vec<(u128, u128, ClassId)> = prefixes
        .map(|(prefix, class)| {
            let (first, last) = bounds(&prefix);
            (first, last, class)
        })
        .collect();
    sorted.sort_by_key(|(first, last, _)| (*first, std::cmp::Reverse(*last)));
    let mut out = Vec::with_capacity(sorted.len() * 2);
    let mut around: Vec<(u128, ClassId)> = Vec::new();
    // Where the next region begins; past the highest number nothing does.
    let mut next: Option<u128> = Some(0);
    for (first, last, class) in sorted {
        close(&mut around, &mut next, Some(first), &mut out);
        if let (Some((_, outer)), Some(begin)) = (around.last().copied(), next)
            && begin < first
        {
            out.push((begin, first - 1, outer));
        }
        next = Some(first);
        around.push((last, class));
    }
    close(&mut around, &mut next, None, &mut out);
    out
}

/// Ends the prefixes that end before `until`, or all of them, innermost first.
fn close(
    around: &mut Vec<(u128, ClassId)>,
    next: &mut Option<u128>,
    until: Option<u128>,
    out: &mut Vec<(u128, u128, ClassId)>,
) {
    while let Some((last, class)) = around.last().copied() {
        if until.is_some_and(|until| last >= until) {
            return;
        }
        if let Some(begin) = next.filter(|begin| *begin <= last) {
            out.push((begin, last, class));
            *next = last.checked_add(1);
        }
        around.pop();
    }
}

/// One service for each part of the packets in which all rows answer alike.
fn services(rows: &[&Row], packets: &Packets) -> Vec<ServiceMatch> {
    let mut out = Vec::new();
    let mut others: Option<u8> = None;
    for (first, last) in packets.get(Field::Protocol).iter() {
        for number in first..=last {
            let protocol = Protocol(u8::try_from(number).unwrap_or(u8::MAX));
            if protocol.has_ports() {
                let starts =
                    |f: &dyn Fn(&Row) -> Vec<u16>| rows.iter().flat_map(|r| f(r)).collect();
                let sources = pieces(
                    packets.get(Field::SourcePort),
                    starts(&|r| source_starts(r, protocol)),
                );
                let ports = pieces(
                    packets.get(Field::DestinationPort),
                    starts(&|r| port_starts(r, protocol)),
                );
                for source_port in sources {
                    out.extend(ports.iter().map(|port| ServiceMatch {
                        protocol,
                        source_port,
                        port: *port,
                    }));
                }
            } else if matches!(protocol, Protocol::ICMP | Protocol::ICMPV6) {
                // Types and codes are few: 65,536 together.
                let starts = |f: fn(&Row) -> Vec<u16>| rows.iter().flat_map(|r| f(r)).collect();
                let kinds = pieces(packets.get(Field::IcmpType), starts(type_starts));
                let codes = pieces(packets.get(Field::IcmpCode), starts(code_starts));
                for kind in kinds {
                    out.extend(codes.iter().map(|code| ServiceMatch {
                        protocol,
                        source_port: 0,
                        port: kind << 8 | code,
                    }));
                }
            } else if rows.iter().any(|row| names(row, protocol)) {
                out.push(bare(protocol));
            } else {
                others.get_or_insert(protocol.0);
            }
        }
    }
    out.extend(others.map(|protocol| bare(Protocol(protocol))));
    out
}

fn bare(protocol: Protocol) -> ServiceMatch {
    ServiceMatch {
        protocol,
        source_port: 0,
        port: 0,
    }
}

/// A value of each part of a set that is cut where something begins.
fn pieces(set: &Ranges, mut starts: Vec<u16>) -> Vec<u16> {
    starts.sort_unstable();
    starts.dedup();
    let mut out = Vec::new();
    for (first, last) in set.iter() {
        out.extend(u16::try_from(first));
        let inside = |start: &&u16| (first + 1..=last).contains(&u128::from(**start));
        out.extend(starts.iter().filter(inside));
    }
    out
}

fn all_cells(row: &Row) -> impl Iterator<Item = &ocicat_node::Cells> {
    std::iter::once(&row.cells).chain(row.cuts.iter().map(|cut| &cut.cells))
}

fn source_starts(row: &Row, protocol: Protocol) -> Vec<u16> {
    let cuts = row.cuts.iter().filter(|cut| cut.protocol == protocol);
    cuts.flat_map(|cut| [Some(cut.source.first), cut.source.last.checked_add(1)])
        .flatten()
        .collect()
}

fn port_starts(row: &Row, protocol: Protocol) -> Vec<u16> {
    let mut starts = Vec::new();
    for cells in all_cells(row) {
        for (_, port, _) in cells.exact.iter().filter(|cell| cell.0 == protocol) {
            starts.push(*port);
            starts.extend(port.checked_add(1));
        }
        for (_, range, _) in cells.ranges.iter().filter(|cell| cell.0 == protocol) {
            starts.push(range.first);
            starts.extend(range.last.checked_add(1));
        }
    }
    starts
}

fn type_starts(row: &Row) -> Vec<u16> {
    let kinds = all_cells(row).flat_map(|cells| cells.icmp.iter().map(|cell| u16::from(cell.1)));
    kinds.flat_map(|kind| [kind, kind + 1]).collect()
}

fn code_starts(row: &Row) -> Vec<u16> {
    let codes = all_cells(row).flat_map(|cells| cells.icmp.iter().filter_map(|cell| cell.2));
    codes
        .map(u16::from)
        .flat_map(|code| [code, code + 1])
        .collect()
}

fn names(row: &Row, protocol: Protocol) -> bool {
    all_cells(row).any(|cells| cells.protocols.iter().any(|cell| cell.0 == protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_end_with_the_highest_address() {
        let prefixes = [("::/0", 0), ("8000::/1", 1), ("ffff::/16", 2)];
        let prefixes = prefixes.map(|(text, class)| (text.parse().unwrap(), ClassId(class)));
        let space = space(prefixes.into_iter());
        let classes: Vec<ClassId> = space.iter().map(|(.., class)| *class).collect();
        assert_eq!(classes, [ClassId(0), ClassId(1), ClassId(2)], "{space:?}");
        assert_eq!(space[2].1, u128::MAX);
    }

    #[test]
    fn regions_follow_the_longest_prefix() {
        let prefixes = [
            ("0.0.0.0/0", 0),
            ("10.0.0.0/8", 1),
            ("10.0.0.0/24", 2),
            ("10.0.0.255/32", 3),
            ("10.255.255.255/32", 4),
            ("255.255.255.255/32", 5),
        ];
        let classes: BTreeMap<IpNet, ClassId> = prefixes
            .iter()
            .map(|(text, class)| (text.parse().unwrap(), ClassId(*class)))
            .collect();
        let state = NodeState {
            classes,
            ..NodeState::default()
        };
        let space = space(state.classes.iter().map(|(p, c)| (*p, *c)));
        let mut next = 0;
        for (first, last, class) in &space {
            assert_eq!(*first, next, "{space:?}");
            for number in [*first, *last] {
                assert_eq!(
                    state.class_of(address(IpFamily::V4, number)),
                    Some(*class),
                    "{space:?}"
                );
            }
            next = last + 1;
        }
        assert_eq!(next, 1 << 32);
    }
}
