//! Refusals, as the `Status` objects that Kubernetes clients print.

use serde_json::{Value, json};

use crate::admission::FieldProblem;
use crate::registry::Resource;

/// A request that was refused: HTTP code, reason and message as Kubernetes words them.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: u16,
    reason: &'static str,
    message: String,
    details: Value,
}

impl Failure {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
        }
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = json!({ "name": name, "group": resource.group, "kind": resource.plural });
        self
    }

    /// Nothing is served under this path.
    pub(crate) fn no_such_path() -> Self {
        let mut failure = Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        failure.details = json!({});
        failure
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::new(404, "NotFound", message).about(resource, name)
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            resource.qualified()
        );
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// The object is no longer what the caller saw.
    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", resource.qualified());
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    /// The request comes from a page of another site.
    pub(crate) fn foreign() -> Self {
        let message = "only clients of this machine are served: Host must be a loopback name, and Origin the same";
        Self::new(403, "Forbidden", message)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The object as a whole was understood, and these fields are wrong.
    pub(crate) fn invalid(resource: &Resource, name: &str, problems: &[FieldProblem]) -> Self {
        let texts: Vec<String> = problems.iter().map(FieldProblem::to_string).collect();
        let list = match texts.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let kind = match resource.group {
            "" => resource.kind.to_owned(),
            group => format!("{}.{group}", resource.kind),
        };
        let mut failure = Self::new(
            422,
            "Invalid",
            format!("{kind} {name:?} is invalid: {list}"),
        );
        let causes: Vec<Value> = problems
            .iter()
            .map(|problem| {
                json!({ "reason": problem.cause.reason(), "message": problem.text(), "field": problem.field })
            })
            .collect();
        failure.details = json!({ "name": name, "group": resource.group, "kind": resource.kind, "causes": causes });
        failure
    }

    /// The state or the changes asked for are no longer kept.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message)
    }

    pub(crate) fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, "NotAcceptable", message)
    }

    pub(crate) fn too_large(limit_bytes: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit_bytes} bytes");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    pub(crate) fn unsupported_media(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(crate) fn too_many(message: impl Into<String>) -> Self {
        let mut failure = Self::new(429, "TooManyRequests", message);
        failure.details = json!({ "retryAfterSeconds": 1 });
        failure
    }

    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
    }

    /// The server is on its way out, or its store is.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

impl From<ocicat_store::Error> for Failure {
    fn from(error: ocicat_store::Error) -> Self {
        use ocicat_store::Error;
        match error {
            Error::Compacted { requested, oldest } => {
                Self::expired(format!("too old resource version: {requested} ({oldest})"))
            }
            Error::Future { requested, newest } => Self::expired(format!(
                "resource version {requested} is not one of this server, which is at {newest}: list again"
            )),
            Error::Closed => Self::unavailable("the server is stopping"),
            Error::Invalid(text) => Self::bad_request(text),
            other => Self::internal(other),
        }
    }
}
