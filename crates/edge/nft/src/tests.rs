//! Tests against the kernel, each in network namespaces of its own, and against the `nft` program.

mod arbitrary;
mod limits;
mod namespace;
mod nft_program;
mod prototype;
mod refusals;
mod roundtrip;
mod sets;
