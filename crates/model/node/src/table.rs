//! Rows: what a decision table answers for one class, over all protocols and ports.

use crate::OutcomeId;

/// An IP protocol number, 0–255 (IANA "Protocol Numbers").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub u8);

impl Protocol {
    pub const ICMP: Self = Self(1);
    pub const TCP: Self = Self(6);
    pub const UDP: Self = Self(17);
    pub const ICMPV6: Self = Self(58);
    pub const SCTP: Self = Self(132);
    pub const UDPLITE: Self = Self(136);

    /// Whether rules may ask for ports of this protocol: TCP, UDP and SCTP.
    #[must_use]
    pub fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }
}

/// Inclusive range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// What a packet asks of a row besides its far address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceMatch {
    pub protocol: Protocol,
    /// Source port; 0 where the protocol has none.
    pub source_port: u16,
    /// Destination port, or ICMP type in the high byte and code in the low byte.
    pub port: u16,
}

/// The answers for one source port range: everything that `cuts` of the [`Row`] does not say.
///
/// Looked up in this order, first hit wins: `exact`, `ranges`, `icmp`, `protocols`, `default`.
/// `exact` and `ranges` of one protocol never overlap each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cells {
    /// One destination port; sorted.
    pub exact: Vec<(Protocol, u16, OutcomeId)>,
    /// Two or more destination ports; sorted, disjoint within a protocol.
    pub ranges: Vec<(Protocol, PortRange, OutcomeId)>,
    /// ICMP and ICMPv6 by type and code, `None` for every code not named; sorted.
    pub icmp: Vec<(Protocol, u8, Option<u8>, OutcomeId)>,
    /// A whole protocol; sorted.
    pub protocols: Vec<(Protocol, OutcomeId)>,
    pub default: OutcomeId,
}

/// Packets of one protocol from these source ports have answers of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceCut {
    pub protocol: Protocol,
    pub source: PortRange,
    pub cells: Cells,
}

/// A total function from protocol and ports to an outcome. Equal rows are stored once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    /// Sorted, disjoint within a protocol; empty unless a rule asks for source ports.
    pub cuts: Vec<SourceCut>,
    pub cells: Cells,
}

impl Row {
    /// The row that answers everything alike.
    #[must_use]
    pub fn constant(outcome: OutcomeId) -> Self {
        Self {
            cuts: Vec::new(),
            cells: Cells::constant(outcome),
        }
    }

    #[must_use]
    pub fn outcome(&self, service: &ServiceMatch) -> OutcomeId {
        self.cuts
            .iter()
            .find(|cut| {
                cut.protocol == service.protocol
                    && (cut.source.first..=cut.source.last).contains(&service.source_port)
            })
            .map_or(&self.cells, |cut| &cut.cells)
            .outcome(service)
    }

    /// How many cells the row stores, those of its cuts included.
    #[must_use]
    pub fn cell_count(&self) -> usize {
        self.cells.count() + self.cuts.iter().map(|cut| cut.cells.count()).sum::<usize>()
    }
}

impl Cells {
    #[must_use]
    pub fn constant(outcome: OutcomeId) -> Self {
        Self {
            exact: Vec::new(),
            ranges: Vec::new(),
            icmp: Vec::new(),
            protocols: Vec::new(),
            default: outcome,
        }
    }

    #[must_use]
    pub fn outcome(&self, service: &ServiceMatch) -> OutcomeId {
        let ServiceMatch { protocol, port, .. } = *service;
        let by_port = || {
            let exact = self
                .exact
                .iter()
                .find(|(p, number, _)| (*p, *number) == (protocol, port));
            exact.map(|(.., outcome)| *outcome).or_else(|| {
                let range = self.ranges.iter().find(|(p, range, _)| {
                    *p == protocol && (range.first..=range.last).contains(&port)
                });
                range.map(|(.., outcome)| *outcome)
            })
        };
        let by_icmp = || {
            let [kind, code] = port.to_be_bytes();
            let of_kind = || {
                self.icmp
                    .iter()
                    .filter(|(p, k, ..)| (*p, *k) == (protocol, kind))
            };
            let exact = of_kind().find(|(_, _, c, _)| *c == Some(code));
            exact
                .or_else(|| of_kind().find(|(_, _, c, _)| c.is_none()))
                .map(|cell| cell.3)
        };
        let found = match protocol {
            Protocol::ICMP | Protocol::ICMPV6 => by_icmp(),
            _ if protocol.has_ports() => by_port(),
            _ => None,
        };
        found
            .or_else(|| {
                self.protocols
                    .iter()
                    .find(|(p, _)| *p == protocol)
                    .map(|(_, o)| *o)
            })
            .unwrap_or(self.default)
    }

    fn count(&self) -> usize {
        self.exact.len() + self.ranges.len() + self.icmp.len() + self.protocols.len() + 1
    }

    /// Every outcome that the cells name, with repeats.
    pub fn outcomes(&self) -> impl Iterator<Item = OutcomeId> + '_ {
        (self.exact.iter().map(|c| c.2))
            .chain(self.ranges.iter().map(|c| c.2))
            .chain(self.icmp.iter().map(|c| c.3))
            .chain(self.protocols.iter().map(|c| c.1))
            .chain([self.default])
    }
}
