//! While a commit is applied, a packet gets the old verdict or the new one.
//!
//! A packet looks up its stack, its class, its row and its outcome one after the other, and may
//! find a newer generation each time. So the states between the steps of a commit are not enough:
//! every mixture of two neighbours is tried.

use std::net::IpAddr;

use ocicat_flow::Verdict;
use ocicat_node::{EndpointId, NodeState, StackId};
use ocicat_oracle::{Census, Direction, Packet};

use crate::compare::{far_and_near, id, service};
use crate::engine::Host;
use crate::failure::Failure;

/// Two worlds, one change apart, and all states from the tables of one to those of the other.
pub struct Transition<'a> {
    pub host: Host,
    pub old: &'a Census<'a>,
    pub new: &'a Census<'a>,
    /// The first is that of `old`, the last that of `new`.
    pub states: &'a [NodeState],
}

impl Transition<'_> {
    /// Asks for endpoints that have the packet's address before and after. Host endpoints are not asked
    /// for: the steps of a commit do not keep their stages apart well enough, and whoever programs a
    /// kernel must find its own way for them, as the compiler does.
    pub fn check(&self, packet: &Packet) -> Result<(), Failure> {
        for direction in [Direction::Egress, Direction::Ingress] {
            let (_, near) = far_and_near(packet, direction);
            for endpoint in self.old.endpoints_at(near) {
                let stays = self
                    .new
                    .endpoints_at(near)
                    .any(|other| other.key == endpoint.key);
                let here = |census: &Census<'_>| self.host.has(census.world, &endpoint.key);
                if stays && here(self.old) && here(self.new) {
                    let id = id(&endpoint.key).into();
                    let judge = Judge {
                        workload: id,
                        direction,
                    };
                    self.check_one(&judge, packet)?;
                }
            }
        }
        Ok(())
    }

    fn check_one(&self, judge: &Judge, packet: &Packet) -> Result<(), Failure> {
        let settled = |state: &NodeState| judge.look([state; LOOKUPS], packet);
        let ends = [
            settled(&self.states[0]),
            settled(&self.states[self.states.len() - 1]),
        ];
        for (index, pair) in self.states.windows(2).enumerate() {
            for before in 0..=LOOKUPS {
                let mixture = std::array::from_fn(|at| &pair[usize::from(at >= before)]);
                let met = judge.look(mixture, packet);
                if !ends.contains(&met) {
                    let message = format!(
                        "{judge:?}: {packet}: in step {} of the commit, with {before} of {LOOKUPS} \
                         look-ups before it: {met:?}, where {:?} was and {:?} will be",
                        index + 1,
                        ends[0],
                        ends[1],
                    );
                    return Err(Failure {
                        packet: Some(*packet),
                        post: None,
                        message,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Who judges.
#[derive(Debug)]
struct Judge {
    workload: EndpointId,
    direction: Direction,
}

/// The stack, the class of the far address, the row of the stack, and the outcome of the row.
const LOOKUPS: usize = 4;

/// The verdict, or what was not found.
type Met = Result<Verdict, &'static str>;

impl Judge {
    /// The verdict, with each of the look-ups in its own state.
    fn look(&self, states: [&NodeState; LOOKUPS], packet: &Packet) -> Met {
        let (far, near) = far_and_near(packet, self.direction);
        let stack = stack(states[0], &self.workload, near, self.direction);
        let stack = stack.ok_or("no stack of the address")?;
        let class = states[1].class_of(far).ok_or("no class")?;
        let rows = states[2].stacks.get(&stack).ok_or("no such stack")?;
        let row = rows.rows.get(&class).unwrap_or(&rows.default_row);
        let row = states[3].rows.get(row).ok_or("no such row")?;
        let outcome = states[3].outcomes.get(&row.outcome(&service(packet)));
        Ok(outcome.ok_or("no such outcome")?.verdict)
    }
}

fn stack(
    state: &NodeState,
    id: &EndpointId,
    near: IpAddr,
    direction: Direction,
) -> Option<StackId> {
    let policy = state.endpoints.get(id)?;
    let mut at = policy.addresses.iter();
    let local = at.find(|local| local.address == near)?;
    Some(match direction {
        Direction::Ingress => local.ingress,
        Direction::Egress => local.egress,
    })
}
