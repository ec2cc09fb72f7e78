//! Random worlds, packets and histories from a seed; scenario files; the smallest failing world.
//!
//! ```text
//!   seed ──► Random ──► random_world ──► World ──► Targets ──► Packet
//!                                          │
//!                       random_change ──► Change ──► the next World
//!
//!   a world that fails ──► minimise ──► Scenario ──► a file ──► Scenario::parse
//! ```
//!
//! What tests of several crates share. Worlds are made of few words, so that labels, addresses,
//! ports and orders meet by chance, and every object is one that the decoder can yield. The same
//! seed gives the same world on every machine.
//!
//! It does not judge packets (the oracle does), does not know what is tested, and opens no files but
//! its own scenarios.
//!
//! ```
//! use ocicat_oracle::verdict;
//! use ocicat_testkit::{Random, Targets, random_change, random_world};
//!
//! let mut random = Random::new(1);
//! let mut world = random_world(&mut random);
//! for _ in 0..3 {
//!     let packet = Targets::of(&world).packet(&mut random);
//!     println!("{packet}: {:?}", verdict(&world, &packet).verdict);
//!     random_change(&mut random, &world).apply(&mut world);
//! }
//! ```

mod corpus;
mod cyclonus;
mod expression;
mod history;
mod minimise;
mod packet;
mod policy;
mod populate;
mod print;
mod random;
mod scenario;
mod words;

pub use corpus::{ScenarioFile, scenario_files};
pub use cyclonus::cyclonus;
pub use history::{Change, random_change};
pub use minimise::{minimise, minimise_object};
pub use packet::Targets;
pub use populate::host::configuration as random_configuration;
pub use populate::random_world;
pub use print::{print_object, print_world};
pub use random::Random;
pub use scenario::{
    Act, Answer, Ask, End, HostPath, Link, Post, Query, Reply, Scenario, ScenarioError, Span, Step,
    Whom, ask_oracle, host_of,
};
