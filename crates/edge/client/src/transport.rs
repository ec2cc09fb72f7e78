//! Connections: kube's for what needs a kubeconfig or TLS, plain HTTP for the rest.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Config;
use kube::client::{Body, ConfigExt};
use tokio::net::UnixStream;
use tower::{BoxError, Service, ServiceBuilder};

use crate::{Endpoint, Error};

/// A client for the endpoint and the name of what it talks to. Asks nobody yet.
pub(crate) async fn open(endpoint: &Endpoint) -> Result<(kube::Client, String), Error> {
    let client = match endpoint {
        Endpoint::Unix(path) => over(
            &Config::new(http::Uri::from_static(LOCALHOST)),
            UnixConnector { path: path.clone() },
        )?,
        Endpoint::Url(uri) => over_tcp(Config::new(uri.clone()))?,
        Endpoint::Environment => {
            let config = Config::infer().await.map_err(|error| {
                Error::Configuration(format!(
                    "no API server given: use --api or OCICAT_API, or a kubeconfig ({error})"
                ))
            })?;
            let name = config
                .cluster_url
                .to_string()
                .trim_end_matches('/')
                .to_owned();
            return Ok((over_tcp(config)?, name));
        }
    };
    Ok((client, endpoint.to_string()))
}

/// A connection is asked this long after it was last heard of, and again until so many questions are
/// without an answer.
const KEEPALIVE: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// The authority that requests over a unix socket name.
const LOCALHOST: &str = "http://localhost";

fn over_tcp(mut config: Config) -> Result<kube::Client, Error> {
    config.default_retry = false;
    let fail = |error: kube::Error| Error::Configuration(error.to_string());
    if config.cluster_url.scheme_str() == Some("http") && config.proxy_url.is_none() {
        over(&config, connector(&config))
    } else if config.proxy_url.is_none() {
        let mut tcp = connector(&config);
        tcp.enforce_http(false);
        let tls = config.rustls_https_connector_with_connector(tcp);
        over(&config, tls.map_err(fail)?)
    } else {
        kube::Client::try_from(config).map_err(fail)
    }
}

/// Connections over TCP. Their keepalive notices one that is dead within 20 seconds, and lets connection
/// tracking that begins later see that it is ours: else a server that speaks first would seem to have
/// begun it.
fn connector(config: &Config) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE));
    connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    connector
}

/// A client whose connections `connector` makes.
fn over<C>(config: &Config, connector: C) -> Result<kube::Client, Error>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let fail = |error: kube::Error| Error::Configuration(error.to_string());
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(fail)?)
        .layer(config.extra_headers_layer().map_err(fail)?)
        .map_err(BoxError::from)
        .service(Http::builder(TokioExecutor::new()).build::<_, Body>(connector));
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

/// Connects to one unix socket, whatever address is asked for.
#[derive(Clone)]
struct UnixConnector {
    path: PathBuf,
}

impl Service<http::Uri> for UnixConnector {
    type Response = TokioIo<UnixStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let path = self.path.clone();
        Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
    }
}
