//! Manifests that people hand in, and what is wrong with them, shown in their lines.
//!
//! ```text
//!   -f FILE, -f FOLDER, -f - ──read──► Source { name, text }… ──World::load──► problems
//!                                           │                                     │
//!                                           └──────────► problems::print ◄────────┘
//! ```
//!
//! Every command reads its manifests here, so that all say the same of the same mistake. It does not
//! know what manifests mean.
//!
//! ```no_run
//! use ocicat_api::world::World;
//!
//! let sources = ocicat_input::read(&["examples/shop".into()])?;
//! let loaded = World::load(sources.iter().map(|source| (&source.name, &source.text)));
//! let errors = ocicat_input::problems::print(&sources, &loaded.problems);
//! # Ok::<(), ocicat_input::Unreadable>(())
//! ```

pub mod paint;
pub mod problems;
mod source;

pub use source::{Source, Unreadable, read};
