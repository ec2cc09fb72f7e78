//! `NodeState`: all that one host must enforce and route, as plain immutable values.
//!
//! ```text
//!   policy, routing ──► NodeState, NodeDelta ──► compile ──► kernel programs
//! ```
//!
//! This is the waist of the house. What is above it knows resources and not the kernel; what is
//! below it knows the kernel and not resources. No Kubernetes types and no netlink types appear.
//!
//! Numbers ([`ClassId`], [`RowId`], [`OutcomeId`], [`StackId`]) name things of one calculation.
//! Rows and outcomes never change their content. A number that went out of use is not given to
//! another thing by the same calculation.

mod host;
mod table;

pub use host::{HostEndpoint, HostInterfaces, Stage, StageStacks};
pub use table::{Cells, PortRange, Protocol, Row, ServiceMatch, SourceCut};

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_flow::{Direction, Outcome};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
    };
}

number!(
    /// An address class: addresses that no question of this host can tell apart.
    ClassId
);
number!(
    /// A row of a decision table: the answers for one class in one or more stacks.
    RowId
);
number!(
    /// An interned [`Outcome`].
    OutcomeId
);
number!(
    /// What judges a local address in one direction.
    StackId
);

/// `namespace/name` of a Pod, or `namespace/name` of a WorkloadEndpoint, with its kind in front:
/// `pod/shop/web-1`, `wep/office/printer`. A host endpoint is `hep/NAME`.
pub type EndpointId = Arc<str>;

/// What judges one local address in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    pub direction: Direction,
    /// The row of every class that `rows` does not name.
    pub default_row: RowId,
    pub rows: BTreeMap<ClassId, RowId>,
}

/// The stacks of one address of a local endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalAddress {
    pub address: IpAddr,
    pub ingress: StackId,
    pub egress: StackId,
}

/// A local endpoint as policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPolicy {
    pub addresses: Vec<LocalAddress>,
}

/// How a local endpoint is wired to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Host-side interface, at most 15 bytes.
    pub interface: String,
    /// MAC of the workload's side.
    pub mac: [u8; 6],
    pub addresses: Vec<IpAddr>,
}

/// A route of the host, in its main table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub destination: IpNet,
    pub target: RouteTarget,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteTarget {
    /// Another host on the same wire.
    Gateway(IpAddr),
    /// A local workload's interface.
    Interface(String),
    /// Packets to addresses of our own blocks that nobody holds.
    Blackhole,
}

/// All that one host must enforce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeState {
    /// Longest prefix wins. `0.0.0.0/0` and `::/0` are always present once synced.
    pub classes: BTreeMap<IpNet, ClassId>,
    pub outcomes: BTreeMap<OutcomeId, Arc<Outcome>>,
    pub rows: BTreeMap<RowId, Arc<Row>>,
    pub stacks: BTreeMap<StackId, Stack>,
    pub endpoints: BTreeMap<EndpointId, EndpointPolicy>,
    /// Of this host.
    pub host_endpoints: BTreeMap<EndpointId, Arc<HostEndpoint>>,
}

/// One difference between two states. A list of changes in order is a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The class of the addresses whose longest match is this prefix; `None` removes the prefix.
    Class(IpNet, Option<ClassId>),
    Outcome(OutcomeId, Option<Arc<Outcome>>),
    Row(RowId, Option<Arc<Row>>),
    /// A new stack without rows, or a new default row of one that exists.
    Stack(StackId, Direction, RowId),
    StackRemoved(StackId),
    /// The row of a class in a stack; `None` returns it to the default row.
    StackRow(StackId, ClassId, Option<RowId>),
    /// The rows of many classes in a stack, sorted by class: those of a stack that is new.
    StackRows(StackId, Box<[(ClassId, RowId)]>),
    Endpoint(EndpointId, Option<EndpointPolicy>),
    HostEndpoint(EndpointId, Option<Arc<HostEndpoint>>),
}

/// The changes from one state to the next.
pub type NodeDelta = Vec<Change>;

impl NodeState {
    /// Brings the state to what the changes say.
    pub fn apply(&mut self, delta: &[Change]) {
        for change in delta {
            self.apply_one(change);
        }
    }

    fn apply_one(&mut self, change: &Change) {
        match change {
            Change::Class(prefix, class) => put(&mut self.classes, prefix, class.as_ref()),
            Change::Outcome(id, outcome) => put(&mut self.outcomes, id, outcome.as_ref()),
            Change::Row(id, row) => put(&mut self.rows, id, row.as_ref()),
            Change::Stack(id, direction, default_row) => {
                self.stacks
                    .entry(*id)
                    .and_modify(|stack| stack.default_row = *default_row)
                    .or_insert_with(|| Stack {
                        direction: *direction,
                        default_row: *default_row,
                        rows: BTreeMap::new(),
                    });
            }
            Change::StackRemoved(id) => {
                self.stacks.remove(id);
            }
            Change::StackRow(id, class, row) => {
                if let Some(stack) = self.stacks.get_mut(id) {
                    put(&mut stack.rows, class, row.as_ref());
                }
            }
            Change::StackRows(id, rows) => {
                if let Some(stack) = self.stacks.get_mut(id) {
                    stack.rows.extend(rows.iter().copied());
                }
            }
            Change::Endpoint(id, policy) => put(&mut self.endpoints, id, policy.as_ref()),
            Change::HostEndpoint(id, endpoint) => {
                put(&mut self.host_endpoints, id, endpoint.as_ref());
            }
        }
    }

    /// The class of an address: that of the longest prefix that holds it. Looks at most at one
    /// prefix for each prefix length of the family.
    #[must_use]
    pub fn class_of(&self, address: IpAddr) -> Option<ClassId> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (0..=longest).rev().find_map(|length| {
            let prefix = IpNet::new(address, length).ok()?.trunc();
            self.classes.get(&prefix).copied()
        })
    }

    /// The row that a stack applies to a class.
    #[must_use]
    pub fn row(&self, stack: StackId, class: ClassId) -> Option<&Row> {
        let stack = self.stacks.get(&stack)?;
        let id = stack.rows.get(&class).unwrap_or(&stack.default_row);
        self.rows.get(id).map(AsRef::as_ref)
    }

    /// The outcome of one packet at one stack, if the state is complete.
    #[must_use]
    pub fn judge(&self, stack: StackId, far: IpAddr, service: &ServiceMatch) -> Option<&Outcome> {
        let row = self.row(stack, self.class_of(far)?)?;
        self.outcomes.get(&row.outcome(service)).map(AsRef::as_ref)
    }
}

fn put<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, key: &K, value: Option<&V>) {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    };
}
