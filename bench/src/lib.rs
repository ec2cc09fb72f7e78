//! Benchmarks of the calculation and of its way into the kernel.
//!
//! ```text
//!   world (a process of its own) ──► JSON lines ──► measure
//!                                                     │ decode ──► ocicat_policy::Engine ──► tables
//!                                                     │ changes ──► deltas
//!                                                     └ ocicat_compile, ocicat_nft ──► a namespace's kernel
//! ```
//!
//! [`scale`] measures what single things cost when they are large, and [`packets`] what a packet costs by the
//! number of rules, with real connections in namespaces.
//!
//! It measures; it does not judge: no run fails because it was slow. It fails where a measured step did
//! something else than it should: more changes than promised, or a kernel that holds another program than
//! the tables say. What was promised stands beside what was measured in `SPECIFICATION.md`; results are
//! kept in `bench/results` by date and machine.
//!
//! Every sample has three numbers: time on the clock, processor time of the measuring thread, and, from a
//! second run inside `valgrind --tool=callgrind`, instructions. The last do not depend on what else the
//! machine does; they count what runs in the process, not in the kernel.
//!
//! ```
//! use ocicat_bench::world::{Size, write};
//!
//! let summary = write(&Size::default().divided(20), &mut std::io::sink())?;
//! assert_eq!(summary.pods, 5_000);
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod changes;
pub mod kernel;
pub mod load;
pub mod machine;
pub mod meter;
pub mod packets;
pub mod report;
pub mod scale;
pub mod world;
