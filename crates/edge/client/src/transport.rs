//! Connections: kube's for what needs a kubeconfig or TLS, plain HTTP for the rest.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

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
        Endpoint::Unix(path) => plain(
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

/// The authority that requests over a unix socket name.
const LOCALHOST: &str = "http://localhost";

fn over_tcp(mut config: Config) -> Result<kube::Client, Error> {
    config.default_retry = false;
    if config.cluster_url.scheme_str() == Some("http") && config.proxy_url.is_none() {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(config.connect_timeout);
        plain(&config, connector)
    } else {
        kube::Client::try_from(config).map_err(|error| Error::Configuration(error.to_string()))
    }
}

/// Without TLS, whose set-up reads the certificates of the system.
fn plain<C>(config: &Config, connector: C) -> Result<kube::Client, Error>
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
