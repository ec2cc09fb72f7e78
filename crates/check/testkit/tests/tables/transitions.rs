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
    /// Asks for endpoints that have the packet's address before and after.
    pub fn check(&self, packet: &Packet) -> Result<(), Failure> {
        for direction in [Direction::Egress, Direction::Ingress] {
            let (far, near) = far_and_near(packet, direction);
            for endpoint in self.old.endpoints_at(near) {
                let stays = self
                    .new
                    .endpoints_at(near)
                    .any(|other| other.key == endpoint.key);
                let here = |census: &Census<'_>| self.host.has(census.world, &endpoint.key);
                if stays && here(self.old) && here(self.new) {
                    let from = From {
                        id: id(&endpoint.key).into(),
                        near,
                        direction,
                    };
                    self.check_one(&from, far, packet)?;
                }
            }
        }
        Ok(())
    }

    fn check_one(&self, from: &From, far: IpAddr, packet: &Packet) -> Result<(), Failure> {
        let settled = |state: &NodeState| from.look(&[state; 4], far, packet);
        let ends = [
            settled(&self.states[0]),
            settled(&self.states[self.states.len() - 1]),
        ];
        for (index, pair) in self.states.windows(2).enumerate() {
            let (a, b) = (&pair[0], &pair[1]);
            for mixture in [
                [a, a, a, a],
                [a, a, a, b],
                [a, a, b, b],
                [a, b, b, b],
                [b, b, b, b],
            ] {
                let met = from.look(&mixture, far, packet);
                if !ends.contains(&met) {
                    let place = mixture
                        .iter()
                        .filter(|state| std::ptr::eq(**state, a))
                        .count();
                    let message = format!(
                        "{} of {}: {packet}: in step {} of the commit, with {place} of 4 look-ups \
                         before it: {met:?}, where {:?} was and {:?} will be",
                        from.direction,
                        from.id,
                        index + 1,
                        ends[0],
                        ends[1],
                    );
                    return Err(Failure {
                        packet: Some(*packet),
                        message,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Who judges.
struct From {
    id: EndpointId,
    near: IpAddr,
    direction: Direction,
}

impl From {
    /// The verdict, with each of the four look-ups in its own state; or what was not found.
    fn look(
        &self,
        states: &[&NodeState; 4],
        far: IpAddr,
        packet: &Packet,
    ) -> Result<Verdict, &'static str> {
        let stack = self.stack(states[0]).ok_or("no stack of the address")?;
        let class = states[1].class_of(far).ok_or("no class")?;
        let rows = states[2].stacks.get(&stack).ok_or("no such stack")?;
        let row = rows.rows.get(&class).unwrap_or(&rows.default_row);
        let row = states[3].rows.get(row).ok_or("no such row")?;
        let outcome = states[3].outcomes.get(&row.outcome(&service(packet)));
        Ok(outcome.ok_or("no such outcome")?.verdict)
    }

    fn stack(&self, state: &NodeState) -> Option<StackId> {
        let policy = state.endpoints.get(&self.id)?;
        let local = policy
            .addresses
            .iter()
            .find(|local| local.address == self.near)?;
        Some(match self.direction {
            Direction::Ingress => local.ingress,
            Direction::Egress => local.egress,
        })
    }
}
