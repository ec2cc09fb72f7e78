//! Names and numbers of the program.

use std::fmt;

use ocicat_flow::Direction;
use ocicat_node::{ClassId, OutcomeId, Stage};
use ocicat_program::nft::{TableId, Value};

/// The name of the table, of family inet.
pub const TABLE: &str = "ocicat";

const CLASS: u32 = 0x1000_0000;
const ROW: u32 = 0x2000_0000;
/// Rows that stand for some source ports of a row.
const SUBROW: u32 = 0x2800_0000;
const OUTCOME: u32 = 0x3000_0000;
const BITS: u32 = 0x07ff_ffff;

/// Which of two programs that stand side by side: a letter at the end of every name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Epoch {
    A,
    B,
}

impl Epoch {
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The epoch that the name of a chain or set ends in; base chains have none.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('_')?.1 {
            "a" => Some(Self::A),
            "b" => Some(Self::B),
            _ => None,
        }
    }

    pub(crate) fn name(self, base: &str) -> String {
        format!("{base}_{self}")
    }

    pub(crate) fn numbered(self, base: &str, number: impl fmt::Display) -> String {
        format!("{base}{number}_{self}")
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

/// The maps and sets that every program has, without the epoch's letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Named {
    /// `iifname . ip saddr`: the stack that judges what a workload sends.
    Egress4,
    Egress6,
    /// `iifname`: the stack that judges what a workload sends from sources that are not its addresses
    /// and are allowed.
    EgressOther4,
    EgressOther6,
    /// `oifname . ip daddr`: the stack that judges what a workload receives.
    Ingress4,
    Ingress6,
    /// `iifname . ether saddr . ip saddr`: what a workload may send as.
    Source4,
    Source6,
    /// `iifname . ether saddr`: for neighbour discovery.
    SourceMac,
    /// Row, protocol and source port to the row of that cut.
    Cut,
    /// Row, protocol and destination port to outcome.
    Exact,
    /// Destination port to the chain of its interval.
    Interval,
    /// Row, ICMP type and code to outcome.
    Icmp4Code,
    Icmp6Code,
    /// Row and ICMP type to outcome.
    Icmp4Type,
    Icmp6Type,
    /// Row and protocol to outcome.
    Protocol,
    /// Row to outcome.
    RowDefault,
    /// Denying outcomes, with counters.
    Deny,
    /// Allowing outcomes, with counters.
    Allow,
    /// Denying outcome to the packet mark of its NFLOG message.
    DenyMark,
    /// Interface to the chain of its host endpoint for one stage and direction; an element for all
    /// other interfaces, if a host endpoint is for all.
    Host(HostStage),
    /// Protocol and port that are open to the host whatever policy says, from everywhere.
    FailsafeIn,
    /// The same from the host.
    FailsafeOut,
}

/// A stage of host endpoints with its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostStage {
    UntrackedIn,
    UntrackedOut,
    PreDnatIn,
    ForwardIn,
    ForwardOut,
    LocalIn,
    LocalOut,
}

impl HostStage {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::UntrackedIn,
        Self::UntrackedOut,
        Self::PreDnatIn,
        Self::ForwardIn,
        Self::ForwardOut,
        Self::LocalIn,
        Self::LocalOut,
    ];

    /// `None` for the one pair that does not exist: packets that leave are not judged before the
    /// translation of their destination.
    #[must_use]
    pub fn of(stage: Stage, direction: Direction) -> Option<Self> {
        Some(match (stage, direction) {
            (Stage::Untracked, Direction::Ingress) => Self::UntrackedIn,
            (Stage::Untracked, Direction::Egress) => Self::UntrackedOut,
            (Stage::PreDnat, Direction::Ingress) => Self::PreDnatIn,
            (Stage::PreDnat, Direction::Egress) => return None,
            (Stage::Forward, Direction::Ingress) => Self::ForwardIn,
            (Stage::Forward, Direction::Egress) => Self::ForwardOut,
            (Stage::Local, Direction::Ingress) => Self::LocalIn,
            (Stage::Local, Direction::Egress) => Self::LocalOut,
        })
    }

    #[must_use]
    pub fn direction(self) -> Direction {
        match self {
            Self::UntrackedIn | Self::PreDnatIn | Self::ForwardIn | Self::LocalIn => {
                Direction::Ingress
            }
            Self::UntrackedOut | Self::ForwardOut | Self::LocalOut => Direction::Egress,
        }
    }

    #[must_use]
    pub fn stage(self) -> Stage {
        match self {
            Self::UntrackedIn | Self::UntrackedOut => Stage::Untracked,
            Self::PreDnatIn => Stage::PreDnat,
            Self::ForwardIn | Self::ForwardOut => Stage::Forward,
            Self::LocalIn | Self::LocalOut => Stage::Local,
        }
    }

    /// The name of its chain and of its map of interfaces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UntrackedIn => "untracked_in",
            Self::UntrackedOut => "untracked_out",
            Self::PreDnatIn => "pre_dnat_in",
            Self::ForwardIn => "forward_in",
            Self::ForwardOut => "forward_out",
            Self::LocalIn => "local_in",
            Self::LocalOut => "local_out",
        }
    }
}

impl Named {
    pub(crate) const FIXED: [Self; 23] = [
        Self::Egress4,
        Self::Egress6,
        Self::EgressOther4,
        Self::EgressOther6,
        Self::Ingress4,
        Self::Ingress6,
        Self::Source4,
        Self::Source6,
        Self::SourceMac,
        Self::Cut,
        Self::Exact,
        Self::Interval,
        Self::Icmp4Code,
        Self::Icmp6Code,
        Self::Icmp4Type,
        Self::Icmp6Type,
        Self::Protocol,
        Self::RowDefault,
        Self::Deny,
        Self::Allow,
        Self::DenyMark,
        Self::FailsafeIn,
        Self::FailsafeOut,
    ];

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let hosts = HostStage::ALL.into_iter().map(Self::Host);
        Self::FIXED.into_iter().chain(hosts)
    }

    /// The name in the kernel.
    #[must_use]
    pub fn name(self, epoch: Epoch) -> String {
        epoch.name(match self {
            Self::Egress4 => "egress4",
            Self::Egress6 => "egress6",
            Self::EgressOther4 => "egress_other4",
            Self::EgressOther6 => "egress_other6",
            Self::Ingress4 => "ingress4",
            Self::Ingress6 => "ingress6",
            Self::Source4 => "source4",
            Self::Source6 => "source6",
            Self::SourceMac => "source_mac",
            Self::Cut => "source_ports",
            Self::Exact => "ports",
            Self::Interval => "port_intervals",
            Self::Icmp4Code => "icmp4_code",
            Self::Icmp6Code => "icmp6_code",
            Self::Icmp4Type => "icmp4_type",
            Self::Icmp6Type => "icmp6_type",
            Self::Protocol => "protocols",
            Self::RowDefault => "row_default",
            Self::Deny => "deny",
            Self::Allow => "allow",
            Self::DenyMark => "deny_mark",
            Self::Host(stage) => return epoch.numbered(stage.name(), "_links"),
            Self::FailsafeIn => "failsafe_in",
            Self::FailsafeOut => "failsafe_out",
        })
    }
}

pub(crate) fn table() -> TableId {
    TableId::inet(TABLE)
}

pub(crate) fn class(id: ClassId) -> Value {
    Value::ClassId(kernel_class(id))
}

pub(crate) fn kernel_class(id: ClassId) -> u32 {
    CLASS | (id.0 & BITS)
}

/// The kernel's number of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowNumber(pub(crate) u32);

impl RowNumber {
    /// That of no row: packets that get it are dropped.
    pub(crate) const NOWHERE: Self = Self(BITS);
}

pub(crate) fn row(number: RowNumber) -> Value {
    Value::ClassId(kernel_row(number))
}

pub(crate) fn kernel_row(number: RowNumber) -> u32 {
    ROW | (number.0 & BITS)
}

pub(crate) fn subrow(number: u32) -> Value {
    Value::ClassId(kernel_subrow(number))
}

pub(crate) fn kernel_subrow(number: u32) -> u32 {
    SUBROW | (number & BITS)
}

pub(crate) fn outcome(id: OutcomeId) -> Value {
    Value::ClassId(kernel_outcome(id))
}

/// Largest id that has a number of its own in the kernel.
pub(crate) const LARGEST_ID: u32 = BITS - 1;

/// The number of an outcome as the kernel sees it: in `meta priority`, and in the packet mark of
/// NFLOG messages about denied packets.
#[must_use]
pub fn kernel_outcome(id: OutcomeId) -> u32 {
    OUTCOME | (id.0 & BITS)
}

/// The outcome of such a number.
#[must_use]
pub fn outcome_of(number: u32) -> Option<OutcomeId> {
    (number & !BITS == OUTCOME).then_some(OutcomeId(number & BITS))
}
