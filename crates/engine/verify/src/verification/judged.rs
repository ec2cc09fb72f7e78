//! Fates of packets against rows of the tables.

use std::net::IpAddr;
use std::sync::Arc;

use ocicat_compile::{EndpointToHost, HostStage, outcome_of};
use ocicat_flow::{Direction, Verdict};
use ocicat_node::{ClassId, OutcomeId, Row, ServiceMatch, StackId};
use ocicat_program::nft::Text;
use ocicat_program::nft::build::CT_STATE_NEW;

use super::task::Task;
use super::{Checked, Numbering, Verification};
use crate::packets::{Connection, Field, IpFamily, Packets};
use crate::run::{End, Event, Fate};
use crate::tables::address;
use crate::{Ranges, Unsupported};

/// An interface that is no workload's.
pub(super) const ELSEWHERE: &str = "elsewhere0";
/// ICMPv6 between a workload and its host: RFC 2710, RFC 4861.
pub(super) const NEIGHBOUR_TYPES: [u128; 6] = [130, 131, 132, 133, 135, 136];

/// Services, what the program did, and the rows that say the same. Compared once.
pub(super) type Agreement = (
    [*const Ranges; 5],
    (End, u32, Left),
    Vec<Event>,
    Vec<*const Row>,
    Then,
);

/// What is to happen to packets that no outcome denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Then {
    pub(super) end: End,
    /// What is left of those that an outcome allows.
    pub(super) allowed: Left,
    /// What is left of those that none decides about.
    pub(super) others: Left,
}

/// What an accepted packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Left {
    pub(super) mark: u32,
    pub(super) connection: Connection,
}

impl Left {
    pub(super) fn of(packets: &Packets) -> Self {
        Self {
            mark: packets.mark,
            connection: packets.connection,
        }
    }
}

impl<'a> Verification<'a> {
    /// All packets between one address and everybody outside.
    pub(super) fn check_judged(
        &mut self,
        task: Task,
        (place, near): (usize, IpAddr),
        direction: Direction,
    ) -> Checked {
        let stack = self.stack((place, near), direction)?;
        let interface = self.attached[place].attachment.interface.clone();
        let (iif, oif, near_field, far_field) = match direction {
            Direction::Egress => (&*interface, ELSEWHERE, Field::Source, Field::Destination),
            Direction::Ingress => (ELSEWHERE, &*interface, Field::Destination, Field::Source),
        };
        let all = self.all(family(near), iif, oif);
        let packets = all.with_one(near_field, number(near));
        let packets = packets.ok_or_else(|| Unsupported("no such address".to_owned()))?;
        self.report.directions += 1;
        let then = self.then(End::Accept);
        let fates = self.run.enter("forward", &packets)?;
        self.stacks.insert(stack);
        for fate in &fates {
            let classes = self.tables.classes(&fate.packets, far_field);
            for (class, example) in classes.iter() {
                let row = self.tables.row(stack, *class)?;
                let rows = match (direction, self.outer_row(direction, near, *class)?) {
                    (_, None) => vec![row],
                    (Direction::Egress, Some(outer)) => vec![row, outer],
                    (Direction::Ingress, Some(outer)) => vec![outer, row],
                };
                self.compare(task, fate, &rows, (then, *example))?;
            }
        }
        Ok(())
    }

    /// What the host endpoint of the interface elsewhere says of forwarded packets, if there is one for
    /// all interfaces that judges them.
    fn outer_row(
        &self,
        direction: Direction,
        near: IpAddr,
        far: ClassId,
    ) -> Result<Option<&'a Row>, Unsupported> {
        let stage = match direction {
            Direction::Ingress => HostStage::ForwardIn,
            Direction::Egress => HostStage::ForwardOut,
        };
        let Some(stage) = self.elsewhere(stage) else {
            return Ok(None);
        };
        let stack = stage.of(self.class_of(near)?);
        self.tables.row(stack, far).map(Some)
    }

    /// Judged when it is sent and when it is received.
    pub(super) fn check_pair(
        &mut self,
        task: Task,
        from: (usize, IpAddr),
        to: (usize, IpAddr),
    ) -> Checked {
        let stacks = [
            (self.stack(from, Direction::Egress)?, to.1),
            (self.stack(to, Direction::Ingress)?, from.1),
        ];
        let name = |place: usize| self.attached[place].attachment.interface.as_str();
        let packets = self.all(family(from.1), name(from.0), name(to.0));
        let packets = packets
            .with_one(Field::Source, number(from.1))
            .and_then(|packets| packets.with_one(Field::Destination, number(to.1)))
            .ok_or_else(|| Unsupported("no such pair".to_owned()))?;
        let mut rows = Vec::new();
        for (stack, far) in stacks {
            rows.push(self.tables.row(stack, self.class_of(far)?)?);
        }
        self.report.pairs += 1;
        let then = self.then(End::Accept);
        for fate in self.run.enter("forward", &packets)? {
            self.compare(task, &fate, &rows, (then, number(to.1)))?;
        }
        Ok(())
    }

    /// Egress policy, then what is configured for the host. Neighbour discovery always passes.
    pub(super) fn check_host(&mut self, task: Task, (place, near): (usize, IpAddr)) -> Checked {
        let stack = self.stack((place, near), Direction::Egress)?;
        let interface = self.attached[place].attachment.interface.clone();
        let packets = self.all(family(near), &interface, "");
        let packets = packets.with_one(Field::Source, number(near));
        let packets = packets.ok_or_else(|| Unsupported("no such address".to_owned()))?;
        let then = self.then(match self.subject.config.endpoint_to_host {
            EndpointToHost::Accept => End::Accept,
            EndpointToHost::Drop => End::Drop,
        });
        self.report.questions += 1;
        for fate in self.run.enter("input", &packets)? {
            if is_neighbour_discovery(&fate.packets) {
                if fate.end != End::Accept {
                    self.differ(format!(
                        "{}: neighbour discovery is dropped",
                        self.said(task)
                    ));
                }
                continue;
            }
            let classes = self.tables.classes(&fate.packets, Field::Destination);
            for (class, example) in classes.iter() {
                let row = self.tables.row(stack, *class)?;
                self.compare(task, &fate, &[row], (then, *example))?;
            }
        }
        Ok(())
    }

    /// Whether a fate is what rows say of every service of its packets.
    pub(super) fn compare(
        &mut self,
        task: Task,
        fate: &Fate,
        rows: &[&Row],
        (then, example): (Then, u128),
    ) -> Checked {
        // Of our own: it may differ without a difference in what was decided.
        let key = agreement(fate, rows, then);
        if self.agreed.contains(&key) {
            return Ok(());
        }
        let judgements = self.tables.judgements(rows, &fate.packets)?;
        let mut agreed = true;
        for (service, outcomes) in &judgements {
            self.report.cells += 1;
            if let Some(text) = self.difference(fate, outcomes, then)? {
                agreed = false;
                let far = address(fate.packets.family, example);
                let what = self.said(task);
                self.differ(format!("{what}, {far}, {}: {text}", service_text(service)));
            }
        }
        if agreed {
            self.agreed.insert(key);
        }
        Ok(())
    }

    /// What the program does and the outcomes do not say, in words.
    fn difference(
        &self,
        fate: &Fate,
        outcomes: &[OutcomeId],
        then: Then,
    ) -> Result<Option<String>, Unsupported> {
        let mut events = Vec::new();
        let mut words = Vec::new();
        let (mut end, mut left) = (then.end, then.others);
        let config = self.subject.config;
        for id in outcomes {
            let outcome = self.tables.outcome(*id)?;
            words.push(outcome.to_string());
            events.push(Wanted::Counted(*id, Text::from(outcome.to_string())));
            if outcome.verdict == Verdict::Allow {
                left = then.allowed;
            }
            if outcome.verdict == Verdict::Deny {
                end = End::Drop;
                events.push(Wanted::Denied(config.deny_group));
            } else if !outcome.logged.is_empty() {
                events.push(Wanted::Logged(config.log_group));
            }
        }
        if fate.end == end && self.are(&fate.events, &events) && is_left(fate, left) {
            return Ok(None);
        }
        let does = match fate.end {
            End::Accept => "accepts",
            End::Drop => "drops",
            End::Return => "does not decide",
        };
        let decided: Vec<String> = fate.events.iter().map(event_text).collect();
        Ok(Some(format!(
            "the tables say {}; the program {does}, {}",
            words.join(", then "),
            match decided[..] {
                [] => "without an outcome".to_owned(),
                _ => decided.join(", "),
            }
        )))
    }

    fn are(&self, events: &[Event], wanted: &[Wanted]) -> bool {
        let mut last = None;
        let fits = |(event, wanted): (&Event, &Wanted)| match (event, wanted) {
            (
                Event::Counted {
                    number, comment, ..
                },
                Wanted::Counted(id, text),
            ) => {
                last = *number;
                let same = number.and_then(outcome_of) == Some(*id);
                let is_named = number.is_some() && comment.as_ref() == Some(text);
                is_named && (same || self.subject.numbering == Numbering::Fresh)
            }
            (Event::Logged { group, mark, .. }, Wanted::Denied(wanted)) => {
                group == wanted && Some(*mark) == last
            }
            (Event::Logged { group, prefix, .. }, Wanted::Logged(wanted)) => {
                // The side on which a packet leaves says so behind the number.
                let ends = last.map(|number| [format!(" {number}"), format!(" {number} out")]);
                let text = prefix.as_ref().map(Text::as_str).unwrap_or_default();
                group == wanted && ends.is_some_and(|ends| ends.iter().any(|e| text.ends_with(e)))
            }
            _ => false,
        };
        events.len() == wanted.len() && events.iter().zip(wanted).all(fits)
    }

    /// A workload's packets leave nothing of ours behind but the mark of their connection.
    fn then(&self, end: End) -> Then {
        let left = Left {
            mark: 0,
            connection: Connection {
                state: CT_STATE_NEW,
                mark: Some(self.subject.config.decided()),
                is_reply: false,
            },
        };
        Then {
            end,
            allowed: left,
            others: left,
        }
    }

    fn stack(
        &self,
        (place, address): (usize, IpAddr),
        direction: Direction,
    ) -> Result<StackId, Unsupported> {
        let endpoint = &self.attached[place].endpoint;
        let policy = self.tables.state.endpoints.get(endpoint);
        let policy = policy.ok_or_else(|| Unsupported(format!("the tables have no {endpoint}")))?;
        let local = policy
            .addresses
            .iter()
            .find(|local| local.address == address);
        let local = local
            .ok_or_else(|| Unsupported(format!("{endpoint} has no {address} in the tables")))?;
        Ok(match direction {
            Direction::Egress => local.egress,
            Direction::Ingress => local.ingress,
        })
    }

    fn class_of(&self, address: IpAddr) -> Result<ClassId, Unsupported> {
        let class = self.tables.state.class_of(address);
        class.ok_or_else(|| Unsupported(format!("the tables have no class for {address}")))
    }
}

enum Wanted {
    Counted(OutcomeId, Text),
    Denied(u16),
    Logged(u16),
}

/// Whether an accepted packet carries what it shall, and no number.
fn is_left(fate: &Fate, left: Left) -> bool {
    fate.end != End::Accept || fate.packets.priority == 0 && Left::of(&fate.packets) == left
}

fn agreement(fate: &Fate, rows: &[&Row], then: Then) -> Agreement {
    let services = [
        Field::Protocol,
        Field::SourcePort,
        Field::DestinationPort,
        Field::IcmpType,
        Field::IcmpCode,
    ];
    (
        services.map(|field| Arc::as_ptr(&fate.packets.sets[field as usize])),
        (fate.end, fate.packets.priority, Left::of(&fate.packets)),
        fate.events.clone(),
        rows.iter().map(|row| std::ptr::from_ref(*row)).collect(),
        then,
    )
}

pub(super) fn is_neighbour_discovery(packets: &Packets) -> bool {
    packets.is_within(Field::Protocol, &[58])
        && packets.is_within(Field::IcmpType, &NEIGHBOUR_TYPES)
}

pub(super) fn family(address: IpAddr) -> IpFamily {
    match address {
        IpAddr::V4(_) => IpFamily::V4,
        IpAddr::V6(_) => IpFamily::V6,
    }
}

pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn service_text(service: &ServiceMatch) -> String {
    let ServiceMatch {
        protocol,
        source_port,
        port,
    } = service;
    match protocol.0 {
        6 | 17 | 132 => format!("protocol {}, port {port} from {source_port}", protocol.0),
        1 | 58 => {
            let [kind, code] = port.to_be_bytes();
            format!("protocol {}, type {kind}, code {code}", protocol.0)
        }
        other => format!("protocol {other}"),
    }
}

fn event_text(event: &Event) -> String {
    match event {
        Event::Counted {
            comment: Some(text),
            ..
        } => format!("counted as {text}"),
        Event::Counted { number, .. } => format!("counted as number {number:?} without words"),
        Event::Logged { group, mark, .. } => format!("logged to group {group} with mark {mark:#x}"),
    }
}
