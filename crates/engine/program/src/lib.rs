//! Kernel programs as plain data.
//!
//! A compiler in the engine writes these values, an edge crate carries them to the kernel and reads
//! them back as the same values, so that "what is desired" and "what is in force" can be compared
//! with `==`.
//!
//! ```text
//!   compile ──► nft::Transaction ──► edge/nft ──► kernel
//!      ▲                                            │
//!      └────────── nft::Ruleset ◄── edge/nft ◄──────┘
//! ```
//!
//! This crate does not know sockets, message formats or policy. It does not check that a program is
//! one the kernel will accept: the kernel does, and says which object it refused.
//!
//! ```
//! use ocicat_program::nft::{Rule, Verdict, build};
//!
//! let rule = Rule::new("forward")
//!     .with(build::ct_state(build::CT_STATE_INVALID))
//!     .with(build::verdict(Verdict::Drop))
//!     .comment("invalid");
//! assert_eq!(rule.expressions.len(), 4);
//! ```

pub mod nft;
