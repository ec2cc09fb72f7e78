//! The kernel's verdicts against the oracle's, packet by packet.
//!
//! ```text
//!   seed ──► testkit: world ──► policy ──► compile ──► nft ──► a host's namespace, no agent
//!                │                                                  ▲            │
//!                └──► packets ──► frames: fragments, headers ───────┘            ▼
//!                │                                          arrived, denied (NFLOG), counted
//!                └──► oracle: verdict and decider ───────────────► compared ◄────┘
//! ```
//!
//! A [`Field`] is a host with many workload links and three uplinks. Packets are injected as raw frames
//! at the far ends of the links and observed there; the host itself sends by raw sockets, and what has
//! passed all of its filters is heard by NFLOG. Each carries a number of its own; what policy denies comes
//! back by NFLOG with the outcome in its mark, what it allows is counted by outcome. Each packet is a flow
//! of its own, so that tables are asked and not connection tracking.
//!
//! It needs root, changes nothing outside of the namespaces that it makes, and never runs the agent.
//! Established connections, routes and the life of workloads are for other tests.
//!
//! ```no_run
//! use ocicat_proof::{Field, Plan, trial};
//!
//! let mut field = Field::create()?;
//! let plan = Plan { seed: 1, packets: 400, changes: 2 };
//! let tally = trial(&mut field, &plan).map_err(|failure| anyhow::anyhow!("{failure}"))?;
//! println!("{} packets", tally.packets);
//! # Ok::<(), anyhow::Error>(())
//! ```

mod answer;
mod expectation;
mod field;
mod frame;
mod host;
mod origin;
mod scenario;
mod surroundings;
mod tally;
#[cfg(test)]
mod tests;
mod trial;
mod words;

pub use field::Field;
pub use frame::{Shape, frames};
pub use scenario::{Followed, follow};
pub use tally::{Kind, Tally, Verdicts};
pub use trial::{Failure, Plan, trial};
