//! The resources people write: parse, default, validate.
//!
//! ```text
//!   YAML or JSON text ──► Document (value + places) ──► decode ──► Object + problems
//!                                                                     │
//!                      World: all of some texts together ◄────────────┘
//!                        │ what a cluster adds: namespaces, service accounts,
//!                        ▼ the pods of controllers
//!                      objects by key, and the file, line and column of each field
//! ```
//!
//! The types ([`core`], [`policy`], [`rule`]) hold what was meant: defaults are filled in, host bits
//! cleared, selectors parsed. A part that cannot be understood is a [`Problem`] with the path of its
//! field, and fails closed in the way that the type of its owner says; it never keeps other parts
//! or other objects from being read.
//!
//! ```
//! use ocicat_api::world::World;
//! use ocicat_api::{Kind, Object};
//!
//! let loaded = World::load([("shop.yaml", "
//! apiVersion: projectcalico.org/v3
//! kind: GlobalNetworkPolicy
//! metadata: {name: web}
//! spec:
//!   selector: app == 'web'
//!   ingress:
//!   - {action: Allow, protocol: TCP, destination: {ports: [80, 70000]}}
//! ")]);
//! let Some(Object::GlobalNetworkPolicy(policy)) =
//!     loaded.world.get(Kind::GlobalNetworkPolicy, None, "web")
//! else {
//!     panic!()
//! };
//! // The ports are left out and noted, so the rule allows nothing.
//! assert_eq!(policy.ingress[0].unreadable.len(), 1);
//! assert_eq!(
//!     loaded.problems[0].to_string(),
//!     "shop.yaml:8:62: GlobalNetworkPolicy web: spec.ingress[0].destination.ports[1]: \
//!      70000: expected 0-65535",
//! );
//! ```
//!
//! It opens no files, asks no server, and does not know what policy decides.

pub mod config;
pub mod core;
pub mod decode;
pub mod document;
pub mod expand;
mod kind;
pub mod limits;
pub mod meta;
pub mod net;
pub mod object;
pub mod policy;
pub mod problem;
#[cfg(test)]
mod properties;
pub mod rule;
pub mod schema;
pub mod world;

pub use kind::{KindInfo, Scope};
pub use meta::{Metadata, ObjectKey, Owner};
pub use net::{Family, PortSpec, Protocol};
pub use object::{Kind, Object};
pub use problem::{Position, Problem, Severity};
