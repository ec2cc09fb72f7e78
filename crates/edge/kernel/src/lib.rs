//! What one host asks of its kernel beside nftables: namespaces, links, routes, neighbours, settings, the
//! connection table, logged packets, raw frames, and the plumbing of a workload.
//!
//! ```text
//!   agent, CNI, lab ──► attach    a workload's veth pair with all around it
//!                         │
//!             netns    rtnl    sysctl    conntrack ──► marks, deletions     grace
//!               │        │        │        │                                  │
//!   ════════════╪════════╪════════╪════════╪══════════ kernel ════════════════╪════
//!                                                  nflog ──► denied packets
//! ```
//!
//! Everything here is a plain call that blocks until the kernel has answered, usually for well under a
//! millisecond: no runtime, no threads that outlive a call, no state between calls. What takes longer
//! says so. A handle ([`rtnl::Rtnl`], [`conntrack::Conntrack`], [`nflog::Nflog`]) belongs to the namespace
//! in which it was opened and may be used from any thread.
//!
//! It does not decide anything: which routes, which marks, which workloads is its callers' business, and
//! it keeps no record of what it did. It knows neither nftables nor the resources people write. It never
//! runs another program.
//!
//! Two namespaces with a cable between them and an address on one end (needs root):
//!
//! ```no_run
//! use ocicat_kernel::netns::ScratchNamespace;
//! use ocicat_kernel::rtnl::{Address, Rtnl, Veth, VethPeer, link};
//!
//! let (left, right) = (ScratchNamespace::create("demo")?, ScratchNamespace::create("demo")?);
//! let mut rtnl = Rtnl::open_in(&left)?;
//! let cable = Veth {
//!     name: "wire0".to_owned(),
//!     mac: None,
//!     mtu: Some(1500),
//!     peer: VethPeer {
//!         name: "wire0".to_owned(),
//!         mac: None,
//!         namespace: Some((*right).clone()),
//!     },
//! };
//! rtnl.apply_all(&[cable.create(), link::up("wire0")])?;
//! let interface = rtnl.link_index("wire0")?;
//! let net = "192.0.2.1/24".parse().expect("a well-formed network");
//! rtnl.apply(&Address { interface, net }.replace())?;
//! # Ok::<(), ocicat_kernel::Error>(())
//! ```

pub mod attach;
pub mod conntrack;
pub mod frames;
pub mod grace;
pub mod listeners;
pub mod memory;
pub mod netns;
pub mod nflog;
pub mod rtnl;
pub mod sysctl;

mod error;
mod mac;
mod sys;
mod transport;
mod wire;

pub use error::{Error, Result};
pub use mac::{Mac, ParseMacError};
