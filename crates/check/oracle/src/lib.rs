//! A slow, obvious evaluator of policy: (world, packet) to verdict and reason.
//!
//! ```text
//!   objects ──► World ──► Census: who is there, with which labels, owning which addresses
//!                            │
//!   packet ──────────────────┴──► judge: tiers ► policies ► rules ► profiles ──► Judgement
//! ```
//!
//! It exists to test the decision tables, so it shares nothing with them but the resources and the
//! parsed selector, which it evaluates by itself. It looks at every object for every packet, keeps
//! nothing between two questions, and is never part of the product. It does not read files, and
//! says nothing about established connections.
//!
//! Numbers in comments (`[5]`) name clauses of this page:
//!
//! 1. Endpoints are Pods (with an address, not on the host's network, not finished) and
//!    WorkloadEndpoints (unless their Pod exists). Labels: own; then
//!    `projectcalico.org/namespace`, `…/orchestrator`, `…/serviceaccount`, which override; then
//!    those of the profiles in order, where absent.
//! 2. Profiles: of a Pod `kns.NAMESPACE` (allows all) and `ksa.NAMESPACE.NAME` (no rules); of a
//!    WorkloadEndpoint those it lists. A missing profile denies when its turn comes, and so does
//!    the end of the profiles. Pass goes to the next profile. `projectcalico-default-allow` is there
//!    without an object, and allows all.
//! 3. Owners of an address: the endpoints that have it and the network sets with a net around it.
//! 4. A `namespaceSelector` reads the labels of the owner's Namespace and
//!    `projectcalico.org/name`; there `all()` is "namespaced" and `global()` "not namespaced".
//!    Service account selectors do the same for ServiceAccounts; who has none never matches.
//! 5. `selector`, `namespaceSelector` and `serviceAccounts` hold if one owner satisfies all of
//!    them (and, in a NetworkPolicy without `namespaceSelector`, is of its namespace);
//!    `notSelector` holds if no owner matches. In a NetworkPolicy it asks for an owner besides.
//! 6. Kubernetes NetworkPolicy selects and names only endpoints of orchestrator `k8s`.
//! 7. Policies by order, name, namespace, kind; tiers by order, name; absent orders last.
//! 8. A namespaced policy whose subject cannot be read denies its namespace in its types.
//! 9. An address of a pool without endpoint or node is unclaimed: what labels or named ports say
//!    of it is undetermined unless a network set answers.
//! 10. An undetermined Allow or Log does not match; an undetermined Deny or Pass denies.
//! 11. CIDRs and `ipVersion` fix the family of a rule; an `ipBlock` only that of its peer.
//! 12. Protocols by number; ICMP by type and code; ports by number or by the name that the owner
//!     of the address gives them.
//! 13. The near side is judged like the far side, by the packet's own address.
//! 14. Egress at the source, ingress at the destination; both must allow.
//! 15. A tier takes part if one of its policies selects the endpoint in that direction. Its end
//!     is its default action. Without such a tier, or after Pass out of the last, profiles decide.
//! 16. A HostEndpoint owns its `expectedIPs`: without namespace and service account, with its own
//!     labels, then those of its profiles, and with its ports. Its addresses are never unclaimed.
//! 17. It is selected by GlobalNetworkPolicies without `namespaceSelector` and
//!     `serviceAccountSelector`, and by nothing else.
//! 18. Its stages: `Untracked` and `PreDnat` (only ingress) take the policies that say so; no end
//!     of a tier denies, and what nobody decides is Next. `Forward` takes `applyOnForward` policies
//!     of that kind; the end denies. `Local` takes those and the ordinary ones, then its profiles,
//!     and is there even without a policy; the others are there if one selects the endpoint in that
//!     direction. The near address of a stage is any, and judged by [13].
//! 19. `services` matches addresses of the service's EndpointSlices, in a destination each with
//!     the ports of its slice; a port without number is all of its protocol. An unclaimed address
//!     that is in none of them is undetermined.
//! 20. An interface has the host endpoint that names it, else one that expects its address, else
//!     one for all. In: untracked, pre-DNAT, then forward or local; out: forward, or untracked and
//!     local. What untracked or pre-DNAT policy allows, the later stages of that endpoint and
//!     direction do not judge. Fail-safe ports pass the stages of packets to and from the host's
//!     own addresses. A workload's packets to its own host are judged by its egress policy and
//!     `defaultEndpointToHostAction`, those of the host to its workloads by nobody.
//! 21. A ClusterNetworkPolicy selects and names pods as [6], in tier `kube-admin` or
//!     `kube-baseline`, with its priority as order. It governs a direction if it has rules there.
//!     Of a Deny or Pass, peers or protocols that cannot be read may be any. No name is known.
//! 22. Staged policies count in [`World::pending`] alone: a Set is there instead of its twin, which
//!     a Delete removes. It stands where the twin would.
//! 23. What keeps a link of IPv6: ICMPv6 130–133, 135 and 136 between a workload and its own host
//!     always pass. Stages `Untracked`, `PreDnat` and `Local` are passed by 130–136 and 143 unasked;
//!     stage `Forward` judges them like other packets. In IPv4 these numbers mean nothing.
//!
//! # Example
//!
//! ```
//! use ocicat_api::{Metadata, Object, core::Pod};
//! use ocicat_oracle::{Decider, Direction, Packet, World, judge};
//!
//! let pod = Object::Pod(Pod {
//!     metadata: Metadata {
//!         name: "web".into(),
//!         namespace: Some("shop".into()),
//!         ..Metadata::default()
//!     },
//!     node: None,
//!     service_account: "default".into(),
//!     host_network: false,
//!     finished: false,
//!     addresses: vec!["10.0.0.1".parse()?],
//!     ports: Vec::new(),
//! });
//! let key = pod.key();
//! let world = World::new([pod]);
//! let packet = Packet::tcp("192.0.2.1".parse()?, "10.0.0.1".parse()?, 80);
//! let judgement = judge(&world, &key, Direction::Ingress, &packet).ok_or("not an endpoint")?;
//! // The namespace `shop` does not exist, and so its profile does not.
//! assert_eq!(judgement.decider, Decider::MissingProfile("kns.shop".to_owned()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod census;
mod expression;
mod fate;
mod hosts;
mod judge;
mod judgement;
mod matching;
mod order;
mod packet;
mod standing;
mod world;

pub use census::{Census, Endpoint, Set};
pub use fate::{Fate, Host, Passage, Saying, Station, Way, judge_host};
pub use hosts::{HostEndpoint, Interface, Stage, judge_stage};
pub use judge::{judge, verdict};
pub use judgement::{
    Decider, Direction, Judgement, PolicyKind, PolicyName, RuleName, Verdict, Verdicts,
};
pub use packet::Packet;
pub use standing::{ProfileStanding, Standing, TierStanding};
pub use world::World;

#[cfg(test)]
mod tests;
