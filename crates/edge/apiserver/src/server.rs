//! Starting and stopping.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use ocicat_store::Store;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use crate::admission::Admission;
use crate::listen::{self, Bound, Listen};
use crate::random::Random;
use crate::rest::{Api, WATCHES, handle};

/// How long open requests may go on after the stop.
const GRACE: Duration = Duration::from_secs(3);

/// What a server needs.
pub struct Config {
    /// Where it listens: at least one place.
    pub listen: Vec<Listen>,
    /// What it serves.
    pub store: Store,
    /// What may be stored.
    pub admission: Arc<dyn Admission>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A TCP address that others than this machine can reach.
    #[error(
        "refusing to listen on {0}: there is no authentication, so only loopback addresses and unix sockets are served"
    )]
    Exposed(SocketAddr),
    /// No place to listen.
    #[error("nowhere to listen: name at least one address or socket")]
    Nowhere,
    /// A place cannot be listened on.
    #[error("cannot listen on {place}: {source}")]
    Bind {
        /// The place.
        place: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(std::io::Error),
    /// The store could not be made ready.
    #[error("the store cannot be served: {0}")]
    Store(String),
}

/// A running server. Dropping it stops the server at once; [`Handle::stop`] does so in order.
pub struct Handle {
    addresses: Vec<SocketAddr>,
    sockets: Vec<PathBuf>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Starts a server: binds every place, makes the namespaces `default` and `kube-system`, and serves. One
/// task for each place, one for each connection, and one that ends deleted namespaces.
///
/// # Errors
/// See [`Error`]; nothing listens then.
pub async fn serve(config: Config) -> Result<Handle, Error> {
    if config.listen.is_empty() {
        return Err(Error::Nowhere);
    }
    let (stop, stopped) = watch::channel(false);
    let api = Arc::new(Api {
        store: config.store,
        admission: config.admission,
        random: Random::open().map_err(Error::Random)?,
        stop: stopped.clone(),
        unfinished: Notify::new(),
        watches: Arc::new(Semaphore::new(WATCHES)),
    });
    let mut bound = Vec::new();
    for place in &config.listen {
        bound.push(listen::bind(place).await?);
    }
    api.prepare()
        .await
        .map_err(|failure| Error::Store(failure.status()["message"].to_string()))?;
    let router = Router::new().fallback(handle).with_state(Arc::clone(&api));
    let mut server = Handle {
        addresses: Vec::new(),
        sockets: Vec::new(),
        stop,
        tasks: JoinSet::new(),
    };
    let mut ending = stopped.clone();
    server.tasks.spawn(async move {
        tokio::select! {
            () = api.end_namespaces() => {}
            _ = ending.wait_for(|stop| *stop) => {}
        }
    });
    for place in bound {
        let (router, mut stopped) = (router.clone(), stopped.clone());
        let stopping = async move {
            // The sender is gone only when the server is.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        // `axum::serve` retries failed accepts and ends only by the signal.
        match place {
            Bound::Tcp(listener, address) => {
                server.addresses.push(address);
                server.tasks.spawn(async move {
                    let _ = axum::serve(listener, router)
                        .with_graceful_shutdown(stopping)
                        .await;
                });
            }
            Bound::Unix(listener, path) => {
                server.sockets.push(path);
                server.tasks.spawn(async move {
                    let _ = axum::serve(listener, router)
                        .with_graceful_shutdown(stopping)
                        .await;
                });
            }
        }
    }
    Ok(server)
}

impl Handle {
    /// The TCP addresses that are served, with their real ports, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The unix sockets that are served.
    #[must_use]
    pub fn sockets(&self) -> Vec<&Path> {
        self.sockets.iter().map(PathBuf::as_path).collect()
    }

    /// Stops: no new connections, watches end, open requests get 3 s, sockets are removed. The store
    /// stays open.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // What is not done by then is aborted when the tasks are dropped.
        let _ = tokio::time::timeout(GRACE, ended).await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        for path in &self.sockets {
            // Somebody else may have removed it.
            let _ = std::fs::remove_file(path);
        }
    }
}
