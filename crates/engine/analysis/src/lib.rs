//! Questions over decision tables: explain.
//!
//! ```text
//!   objects ──► Engine (decision tables) ──judge──► outcome ──┐
//!                  │                                          ├──► Explanation
//!                  └──who selects the endpoint, in order──────┘
//! ```
//!
//! [`Analysis`] says why traffic between two ends passes or not: egress of the source, then ingress
//! of the destination, tier by tier, which policies selected the endpoint and which rule decided.
//! The verdict comes from the decision tables, as the kernel's does; the story is read off the
//! outcome and never calculated a second time.
//!
//! An endpoint without address stands for every free address of the pools. Its verdict is looked
//! up for one address of each region into which the CIDRs of rules, sets and pools cut them; if
//! they differ, the answer is [`Answer::Depends`], with the split. Without any pool it stands
//! in those that a lab makes ([`IpPool::ASSUMED`](ocicat_api::core::IpPool::ASSUMED)), of which the
//! tables know only where the objects hold them (`World::assume_pools`). [`Analysis::settle_addresses`] gives such endpoints addresses
//! instead.
//!
//! Host endpoints on the way judge in the order in which a packet meets them, as far as it is known
//! which hosts and interfaces it passes ([`HostStep`]). [`Analysis::pending`] answers for the world as
//! it would be with staged policies.
//!
//! It reads no files, asks no server and prints nothing; positions in files are filled in by whoever
//! knows them ([`Explanation::locate`]).
//!
//! ```
//! use ocicat_analysis::{Analysis, Answer, End, Query};
//! use ocicat_api::{Kind, ObjectKey, Protocol, world::World};
//!
//! let loaded = World::load([("shop.yaml", "
//! {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}}
//! ---
//! {apiVersion: v1, kind: Pod, metadata: {name: db, namespace: shop}}
//! ---
//! apiVersion: networking.k8s.io/v1
//! kind: NetworkPolicy
//! metadata: {name: nothing-in, namespace: shop}
//! spec: {podSelector: {}}
//! ")]);
//! let pod = |name: &str| {
//!     End::Endpoint(ObjectKey { kind: Kind::Pod, namespace: Some("shop".into()), name: name.into() })
//! };
//! let mut analysis = Analysis::new(&loaded.world.objects);
//! let query =
//!     Query { source: pod("web"), destination: pod("db"), protocol: Protocol::TCP, port: 5432 };
//! let explanation = analysis.explain(&query).unwrap();
//! assert_eq!(explanation.verdict, Answer::Deny);
//! let ingress = explanation.cases[0].ingress.as_ref().unwrap();
//! assert_eq!(ingress.reason, "end of tier default");
//! ```

mod analysis;
mod contest;
mod cut;
mod explanation;
mod host;
mod known;
mod region;
mod tables;
mod walk;

pub use analysis::{Analysis, End, Query, Unanswerable};
pub use explanation::{
    Answer, Case, DefaultAction, Explanation, HostStep, Origin, Pair, Party, Place, PolicyEnd,
    PolicyStep, Rule, Service, Side, TierEnd, TierStep,
};
