//! One request, one answer.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

use crate::resource::{Name, Resource};
use crate::retry::Repeat;
use crate::{Endpoint, Error, Retry, transport};

/// A client of one API server. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    inner: kube::Client,
    endpoint: String,
    retry: Retry,
}

/// How long a request other than a watch may take.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Client {
    /// Prepares a client; must be called inside a tokio runtime. The server is first asked by the
    /// first request.
    ///
    /// # Errors
    /// [`Error::Configuration`] if there is no usable kubeconfig or certificate.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, Error> {
        let (inner, endpoint) = transport::open(endpoint).await?;
        Ok(Self {
            inner,
            endpoint,
            retry: Retry::default(),
        })
    }

    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Where requests go: a URL or `unix:/path`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The namespace of the kubeconfig's context, else `default`.
    #[must_use]
    pub fn default_namespace(&self) -> &str {
        self.inner.default_namespace()
    }

    /// Asks `/readyz`.
    ///
    /// # Errors
    /// [`Error::Unreachable`] without an answer, [`Error::Refused`] while the server starts.
    pub async fn ready(&self) -> Result<(), Error> {
        let call = Call::new(Method::GET, "/readyz".into(), "/readyz");
        self.send(&call).await.map(drop)
    }

    /// Reads one object.
    ///
    /// # Errors
    /// [`Error::NotFound`], or any that concerns the connection.
    pub async fn get(
        &self,
        resource: impl Into<Resource>,
        name: impl Into<Name>,
    ) -> Result<Value, Error> {
        self.object(Method::GET, &resource.into(), &name.into(), "")
            .await
    }

    /// Writes a new object and returns it as stored. Its namespace is `metadata.namespace`.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::Invalid`], [`Error::NotFound`] if its namespace is not
    /// there, or any that concerns the connection.
    pub async fn create(
        &self,
        resource: impl Into<Resource>,
        object: &Value,
    ) -> Result<Value, Error> {
        self.create_with(&resource.into(), object, "").await
    }

    pub(crate) async fn create_with(
        &self,
        resource: &Resource,
        object: &Value,
        query: &str,
    ) -> Result<Value, Error> {
        let name = named(object)?;
        let namespace = name.namespace.as_deref().or(Some("default"));
        let path = format!("{}?{FIELD_MANAGER}{query}", resource.collection(namespace));
        let call = Call::new(Method::POST, path, &resource.describe(&name)).json(object, JSON);
        self.value(&call).await
    }

    /// Writes an object over the one that is there. If `metadata.resourceVersion` is present, it
    /// must still be the current one.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::NotFound`], [`Error::Invalid`], or any that concerns the
    /// connection.
    pub async fn replace(
        &self,
        resource: impl Into<Resource>,
        object: &Value,
    ) -> Result<Value, Error> {
        let (resource, name) = (resource.into(), named(object)?);
        let path = format!("{}?{FIELD_MANAGER}", resource.path(&name));
        let call = Call::new(Method::PUT, path, &resource.describe(&name)).json(object, JSON);
        self.value(&call).await
    }

    /// Applies an RFC 7396 merge patch.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::Conflict`] if the patch holds a
    /// `metadata.resourceVersion` that is not current, or any that concerns the connection.
    pub async fn merge_patch(
        &self,
        resource: impl Into<Resource>,
        name: impl Into<Name>,
        patch: &Value,
    ) -> Result<Value, Error> {
        self.patch_with(&resource.into(), &name.into(), patch, "", "")
            .await
    }

    /// Applies an RFC 7396 merge patch to the `status` subresource; the patch starts at the
    /// object, as `{"status": {…}}`.
    ///
    /// # Errors
    /// As [`Client::merge_patch`].
    pub async fn patch_status(
        &self,
        resource: impl Into<Resource>,
        name: impl Into<Name>,
        patch: &Value,
    ) -> Result<Value, Error> {
        self.patch_with(&resource.into(), &name.into(), patch, "/status", "")
            .await
    }

    pub(crate) async fn patch_with(
        &self,
        resource: &Resource,
        name: &Name,
        patch: &Value,
        subresource: &str,
        query: &str,
    ) -> Result<Value, Error> {
        let path = format!(
            "{}{subresource}?{FIELD_MANAGER}{query}",
            resource.path(name)
        );
        let call = Call::new(Method::PATCH, path, &resource.describe(name)).json(patch, MERGE);
        self.value(&call).await
    }

    /// Deletes one object; what depends on it goes in the background.
    ///
    /// # Errors
    /// [`Error::NotFound`], or any that concerns the connection.
    pub async fn delete(
        &self,
        resource: impl Into<Resource>,
        name: impl Into<Name>,
    ) -> Result<(), Error> {
        let query = "?propagationPolicy=Background";
        self.object(Method::DELETE, &resource.into(), &name.into(), query)
            .await
            .map(drop)
    }

    /// Reads an object, lets `change` change it, and writes it back; begins again if somebody
    /// else wrote meanwhile, at most [`Client::MODIFY_ATTEMPTS`] times. An object left as it was
    /// is not written. Returns the object as stored.
    ///
    /// # Errors
    /// [`Error::Conflict`] after the last attempt, and those of [`Client::get`] and
    /// [`Client::replace`].
    pub async fn modify(
        &self,
        resource: impl Into<Resource>,
        name: impl Into<Name>,
        mut change: impl FnMut(&mut Value),
    ) -> Result<Value, Error> {
        let (resource, name) = (resource.into(), name.into());
        let mut attempt = 1;
        loop {
            let before = self.get(resource, &name).await?;
            let mut after = before.clone();
            change(&mut after);
            if after == before {
                return Ok(before);
            }
            match self.replace(resource, &after).await {
                Err(Error::Conflict { .. }) if attempt < Self::MODIFY_ATTEMPTS => attempt += 1,
                answer => return answer,
            }
        }
    }

    /// How often [`Client::modify`] reads and writes before it gives up.
    pub const MODIFY_ATTEMPTS: u32 = 10;

    async fn object(
        &self,
        method: Method,
        resource: &Resource,
        name: &Name,
        query: &str,
    ) -> Result<Value, Error> {
        let path = format!("{}{query}", resource.path(name));
        self.value(&Call::new(method, path, &resource.describe(name)))
            .await
    }

    async fn value(&self, call: &Call) -> Result<Value, Error> {
        let body = self.send(call).await?;
        serde_json::from_slice(&body).map_err(|error| call.protocol(&error.to_string()))
    }

    /// The body of a successful answer; tries again as the client's [`Retry`] says.
    pub(crate) async fn send(&self, call: &Call) -> Result<Bytes, Error> {
        let mut failures = 0;
        loop {
            let answer = tokio::time::timeout(TIMEOUT, self.send_once(call)).await;
            let answer = answer.unwrap_or_else(|_| Err(self.unreachable("no answer in 30 s")));
            failures += 1;
            match answer {
                Err(error) if failures < self.retry.attempts && call.repeat().allows(&error) => {
                    tracing::debug!(%error, failures, "request failed, trying again");
                    tokio::time::sleep(Retry::wait(failures)).await;
                }
                answer => return answer,
            }
        }
    }

    async fn send_once(&self, call: &Call) -> Result<Bytes, Error> {
        let answer = self.open(call).await?;
        let body = answer.into_body().collect().await;
        Ok(body
            .map_err(|error| self.unreachable(&chain(&error)))?
            .to_bytes())
    }

    /// A successful answer whose body is still to be read.
    pub(crate) async fn open(&self, call: &Call) -> Result<Response<Body>, Error> {
        let request = call.request()?;
        let answer = self
            .inner
            .send(request)
            .await
            .map_err(|error| self.broken(&error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let code = answer.status().as_u16();
        let body = answer
            .into_body()
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        Err(Error::from_answer(
            &call.what,
            code,
            &body.unwrap_or_default(),
        ))
    }

    pub(crate) fn unreachable(&self, reason: &str) -> Error {
        Error::Unreachable {
            endpoint: self.endpoint.clone(),
            reason: reason.into(),
            unsent: false,
        }
    }

    fn broken(&self, error: &kube::Error) -> Error {
        let mut unsent = false;
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(link) = cause {
            let http = link.downcast_ref::<hyper_util::client::legacy::Error>();
            unsent |= http.is_some_and(hyper_util::client::legacy::Error::is_connect);
            cause = link.source();
        }
        Error::Unreachable {
            endpoint: self.endpoint.clone(),
            reason: chain(error),
            unsent,
        }
    }
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const FIELD_MANAGER: &str = "fieldManager=ocicat";

/// A request that can be sent more than once.
pub(crate) struct Call {
    method: Method,
    path: String,
    pub(crate) what: String,
    body: Option<(Bytes, &'static str)>,
}

impl Call {
    pub(crate) fn new(method: Method, path: String, what: &str) -> Self {
        Self {
            method,
            path,
            what: what.to_owned(),
            body: None,
        }
    }

    fn json(mut self, value: &Value, media: &'static str) -> Self {
        self.body = Some((value.to_string().into(), media));
        self
    }

    fn repeat(&self) -> Repeat {
        if self.method == Method::GET {
            Repeat::Freely
        } else {
            Repeat::IfUnseen
        }
    }

    pub(crate) fn protocol(&self, message: &str) -> Error {
        Error::Protocol {
            what: self.what.clone(),
            message: message.into(),
        }
    }

    fn request(&self) -> Result<Request<Body>, Error> {
        let builder = Request::builder()
            .method(&self.method)
            .uri(&self.path)
            .header(http::header::ACCEPT, JSON)
            .header(
                http::header::USER_AGENT,
                concat!("ocicat/", env!("CARGO_PKG_VERSION")),
            );
        let request = match &self.body {
            Some((body, media)) => builder
                .header(http::header::CONTENT_TYPE, *media)
                .body(body.clone().into()),
            None => builder.body(Body::empty()),
        };
        request.map_err(|error| self.protocol(&error.to_string()))
    }
}

fn named(object: &Value) -> Result<Name, Error> {
    Name::of(object).ok_or_else(|| Error::Protocol {
        what: "object to write".into(),
        message: "it has no metadata.name".into(),
    })
}

/// The innermost cause says the most: "Connection refused", not "client error (Connect)".
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
