//! One request: from HTTP to a verb on objects and back.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HOST, ORIGIN, WARNING};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::response::Response;
use bytes::Bytes;
use ocicat_store::Store;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore, watch};

use crate::admission::Admission;
use crate::failure::Failure;
use crate::params::{Accept, Params};
use crate::random::Random;
use crate::route::{self, Part, Route, Target};
use crate::{discovery, openapi};

mod delete;
mod read;
mod watching;
mod write;

/// Longest request body, in bytes, as in Kubernetes.
const BODY_BYTES: usize = 3 << 20;

/// Watches that may be open at once.
pub(crate) const WATCHES: usize = 10_000;

/// What all requests share.
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) admission: Arc<dyn Admission>,
    pub(crate) random: Random,
    /// Becomes true when the server stops.
    pub(crate) stop: watch::Receiver<bool>,
    /// Told when a namespace may be ready to go.
    pub(crate) unfinished: Notify,
    /// One permit for each open watch.
    pub(crate) watches: Arc<Semaphore>,
}

/// A request about objects, read as far as all verbs need it.
pub(crate) struct Call {
    target: Target,
    params: Params,
    accept: Accept,
    /// The media type of the body, without parameters.
    media_type: String,
    body: Bytes,
}

/// An answer.
pub(crate) struct Reply {
    code: u16,
    media_type: &'static str,
    body: Body,
    warnings: Vec<String>,
}

impl Reply {
    fn new(code: u16, body: Body) -> Self {
        Self {
            code,
            media_type: "application/json",
            body,
            warnings: Vec::new(),
        }
    }

    fn json(code: u16, value: &Value) -> Self {
        Self::new(code, Body::from(value.to_string()))
    }
}

/// Answers a request.
pub(crate) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let started = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = match serve(&api, request).await {
        Ok(reply) => respond(reply),
        Err(failure) => {
            let mut response = respond(Reply::json(failure.code, &failure.status()));
            if failure.code == 405 {
                response.headers_mut().insert(
                    ALLOW,
                    HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"),
                );
            }
            response
        }
    };
    let (code, micros) = (response.status().as_u16(), started.elapsed().as_micros());
    tracing::debug!(%method, %uri, code, micros, "request");
    response
}

fn respond(reply: Reply) -> Response {
    let mut response = Response::new(reply.body);
    // Every code here is a constant of this crate.
    *response.status_mut() = axum::http::StatusCode::from_u16(reply.code).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.media_type));
    for warning in reply.warnings {
        let text = warning
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace(['\n', '\r'], " ");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            headers.append(WARNING, value);
        }
    }
    response
}

async fn serve(api: &Arc<Api>, request: Request) -> Result<Reply, Failure> {
    let (parts, body) = request.into_parts();
    refuse_browsers(&parts.headers)?;
    let route = route::parse(parts.uri.path())?;
    let accept = header(&parts.headers, &ACCEPT);
    let target = match route {
        Route::Objects(target) => target,
        other if parts.method == Method::GET => return document(&other, accept, &parts.headers),
        _ => return Err(Failure::method_not_allowed()),
    };
    let body = axum::body::to_bytes(body, BODY_BYTES)
        .await
        .map_err(|_| Failure::too_large(BODY_BYTES))?;
    let media_type = header(&parts.headers, &CONTENT_TYPE)
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_owned();
    let accept = Accept::parse(accept)?;
    let call = Call {
        target,
        params: params(&parts.uri)?,
        accept,
        media_type,
        body,
    };
    dispatch(api, &parts.method, call).await
}

/// Refuses what pages of other sites make a browser on this machine send: without authentication,
/// only this tells them from our clients. A page gives itself away by its `Origin`, or, if it had its own
/// name resolved to the loopback, by the name in `Host`.
fn refuse_browsers(headers: &HeaderMap) -> Result<(), Failure> {
    let host = header(headers, &HOST);
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let local = match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => !name.contains('.'),
    };
    let origin = header(headers, &ORIGIN);
    if local && (origin.is_empty() || origin == format!("http://{host}")) {
        return Ok(());
    }
    Err(Failure::foreign())
}

async fn dispatch(api: &Arc<Api>, method: &Method, call: Call) -> Result<Reply, Failure> {
    let one = !call.target.name.is_empty();
    match (method.as_str(), one, call.target.part) {
        ("GET", _, Part::Whole) if call.params.watch => api.watch(call).await,
        ("GET", true, _) => api.get(&call).await,
        ("GET", false, _) => api.list(&call).await,
        ("POST", false, _) => api.create(&call).await,
        ("PUT", true, _) => api.replace(&call).await,
        ("PATCH", true, _) => api.patch(&call).await,
        ("DELETE", true, Part::Whole) => api.delete(&call).await,
        ("DELETE", false, _) => api.delete_collection(&call).await,
        _ => Err(Failure::method_not_allowed()),
    }
}

/// Answers what does not concern objects.
fn document(route: &Route, accept: &str, headers: &HeaderMap) -> Result<Reply, Failure> {
    let aggregated = Accept::parse(accept).is_ok_and(|accept| accept.aggregated);
    let host = headers
        .get(axum::http::header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("");
    let typed = |media_type, mut reply: Reply| {
        reply.media_type = media_type;
        reply
    };
    Ok(match route {
        Route::Health => typed(
            "text/plain; charset=utf-8",
            Reply::new(200, Body::from("ok")),
        ),
        Route::Version => Reply::json(200, &discovery::version()),
        Route::CoreVersions if aggregated => typed(
            discovery::AGGREGATED,
            Reply::json(200, &discovery::aggregated_core()),
        ),
        Route::Groups if aggregated => typed(
            discovery::AGGREGATED,
            Reply::json(200, &discovery::aggregated_groups()),
        ),
        Route::CoreVersions => Reply::json(200, &discovery::core_versions(host)),
        Route::Groups => Reply::json(200, &discovery::groups()),
        Route::Group(group) => Reply::json(
            200,
            &discovery::group(group).ok_or_else(Failure::no_such_path)?,
        ),
        Route::Resources(group, version) => Reply::json(200, &discovery::resources(group, version)),
        Route::OpenApiV2 if accept.contains("+protobuf") => {
            let (media_type, document) = openapi::V2_PROTOBUF;
            typed(media_type, Reply::new(200, Body::from(document)))
        }
        Route::OpenApiV2 => Reply::json(200, &openapi::v2()),
        Route::OpenApiV3Index => Reply::json(200, &openapi::v3_index()),
        Route::OpenApiV3(group, version) => Reply::json(200, &openapi::v3(group, version)),
        Route::Objects(_) => return Err(Failure::no_such_path()),
    })
}

fn header<'h>(headers: &'h HeaderMap, name: &axum::http::HeaderName) -> &'h str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
}

fn params(uri: &Uri) -> Result<Params, Failure> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|error| Failure::bad_request(format!("query: {error}")))?;
    Params::parse(pairs)
}

/// The `Status` of a request that did what it was asked.
fn success(target: &Target, name: &str, uid: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": { "name": name, "group": target.resource.group, "kind": target.resource.plural, "uid": uid },
    })
}
