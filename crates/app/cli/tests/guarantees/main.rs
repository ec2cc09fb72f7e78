//! What Ocicat guarantees, each shown with packets in network namespaces.
//!
//! ```text
//!   API server (a process)
//!     ├── agent of host a (a process) ── workloads, each a namespace, attached by the CNI plugin
//!     └── agent of host b (a process) ── ...          hosts: namespaces on one bridge
//! ```
//!
//! The processes are the real `ocicat`; the tests play the kubelet, the users and the attackers. One
//! test runs at a time, because each measures time. Everything is in namespaces of the test and goes
//! when the test ends, also by a panic.

mod change;
mod crash;
mod first_packet;
mod forgery;
mod hosts;
mod malformed;
mod removal;
mod spoilt;
mod support;
mod transitions;
mod unclaimed;
