//! A client of the Kubernetes API: get, list, watch and write.
//!
//! It speaks to a cluster's API server and to `ocicat apiserver` alike, over TCP, TLS or a unix
//! socket. [`Client`] is cheap to clone; all clones share their connections.
//!
//! ```text
//!   Endpoint ──► transport (kube: kubeconfig, in-cluster, TLS, exec; ours: http, unix) ──► Client
//!   Client   ──► get, list, create, replace, merge_patch, patch_status, delete, apply, modify
//!   Client   ──► watch ──► Restarted, Upsert.., Synced, Upsert, Deleted, ..   (for ever)
//! ```
//!
//! What is read comes back as the JSON bytes of one object, so that the reader picks its own
//! decoder; what is written is a [`serde_json::Value`]. Which objects mean what, this crate does
//! not know: it never decodes a policy, keeps no cache, and sorts nothing.
//!
//! ```no_run
//! use ocicat_api::Kind;
//! use ocicat_client::{Client, Endpoint, Event, Name, Selection};
//!
//! # async fn example() -> Result<(), ocicat_client::Error> {
//! let endpoint: Endpoint = "unix:/run/ocicat/lab/lab/api.sock".parse()?;
//! let client = Client::connect(&endpoint).await?;
//! let tier = client.get(Kind::Tier, Name::cluster("security")).await?;
//! println!("order {}", tier["spec"]["order"]);
//!
//! let mut pods = client.watch(Kind::Pod, Selection::all());
//! loop {
//!     match pods.next().await {
//!         Event::Restarted => println!("a complete list follows"),
//!         Event::Upsert(bytes) => println!("{} bytes", bytes.len()),
//!         Event::Deleted { name, .. } => println!("{name} is gone"),
//!         Event::Synced => println!("what the list did not name is gone"),
//!         Event::Interrupted(why) => println!("{why}; trying again"),
//!     }
//! }
//! # }
//! ```

mod apply;
mod endpoint;
mod error;
mod line;
mod list;
mod merge;
mod request;
mod resource;
mod retry;
mod transport;
mod watch;

pub use apply::{Applied, LAST_APPLIED, Mode};
pub use endpoint::Endpoint;
pub use error::{Cause, Error};
pub use list::{List, Selection};
pub use request::Client;
pub use resource::{Name, Resource};
pub use retry::Retry;
pub use watch::{Event, Watch};
