//! The Kubernetes API conventions over a store.
//!
//! A server for the resources that Ocicat reads and writes where there is no cluster: `kubectl` and every
//! Kubernetes client library work against it.
//!
//! ```text
//!   kubectl, agents, CNI ──HTTP──► route ──► verb: get, list, watch, create, update, patch, delete
//!                                              │ admission: is this object sound?
//!                                              ▼
//!                                            store: revision = resourceVersion
//! ```
//!
//! Served are the kinds of the table in `registry.rs`, with label and field selectors, pages, watches with
//! bookmarks and streaming lists, conflict detection, JSON, merge and strategic merge patches, status
//! paths, finalizers, dry runs, field validation, tables, discovery and `OpenAPI`.
//!
//! What it will not do: authenticate (so it listens only where the machine itself protects it, see
//! [`Listen`], and refuses what pages of other sites make a browser send), server-side apply (415),
//! garbage collection by owner, scheduling or any other controller. As in Kubernetes, `status` is ignored
//! when an object of a kind with a status path is created, and a deleted namespace stays for a moment (1 s)
//! and then goes with all that is in it. Bodies are JSON; of protobuf only what `kubectl create` sends for
//! namespaces, config maps and service accounts is read.
//!
//! Limits: bodies of 3 MiB (413 beyond), 10,000 open watches (429 beyond); a watcher that falls behind
//! the store's log gets 410 and lists again.
//!
//! ```
//! use std::sync::Arc;
//! use ocicat_apiserver::{AdmitAll, Config, Listen, serve};
//! use ocicat_store::{Options, Store};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), ocicat_apiserver::Error> {
//! let server = serve(Config {
//!     listen: vec![Listen::Tcp(([127, 0, 0, 1], 0).into())],
//!     store: Store::memory(Options::default()),
//!     admission: Arc::new(AdmitAll),
//! })
//! .await?;
//! println!("kubectl --server http://{}", server.addresses()[0]);
//! server.stop().await;
//! # Ok(())
//! # }
//! ```

mod admission;
mod discovery;
mod failure;
mod listen;
mod object;
mod openapi;
mod params;
mod patch;
mod protobuf;
mod random;
mod registry;
mod render;
mod rest;
mod route;
mod selector;
mod server;
mod time;

pub use admission::{Admission, AdmitAll, Admitted, Cause, FieldProblem};
pub use listen::Listen;
pub use server::{Config, Error, Handle, serve};
