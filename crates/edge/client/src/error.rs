//! What can go wrong with a request.

use serde::Deserialize;

/// Why a request did not do what it should.
///
/// `what` is the object or collection asked for, as `pods shop/web-1`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such object, or the server does not serve the kind.
    #[error("{what}: not found")]
    NotFound { what: String },
    /// Create of an object that is there.
    #[error("{what}: already exists")]
    AlreadyExists { what: String },
    /// Somebody else changed the object since it was read.
    #[error("{what}: changed by somebody else meanwhile: {message}")]
    Conflict { what: String, message: String },
    /// The server refuses the object; each cause names a field.
    #[error("{what}: {}", join(.message, .causes))]
    Invalid {
        what: String,
        message: String,
        causes: Vec<Cause>,
    },
    /// The resource version or continue token is too old: list again.
    #[error("{what}: too old: {message}")]
    Expired { what: String, message: String },
    /// Every other answer that is not success, with its HTTP status code.
    #[error("{what}: {message} (HTTP {code})")]
    Refused {
        what: String,
        code: u16,
        message: String,
    },
    /// No answer: no connection, a connection that broke, or a timeout.
    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable {
        endpoint: String,
        reason: String,
        /// Whether the server cannot have seen the request.
        unsent: bool,
    },
    /// An answer that is not what the Kubernetes API conventions say.
    #[error("{what}: unexpected answer: {message}")]
    Protocol { what: String, message: String },
    /// The endpoint, kubeconfig or credentials cannot be used.
    #[error("{0}")]
    Configuration(String),
}

/// One reason why an object is invalid: `details.causes` of a `Status`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Cause {
    /// Path of the field; empty where the server names none.
    #[serde(default)]
    pub field: String,
    #[serde(default)]
    pub message: String,
    /// Kubernetes' word for the reason: `FieldValueInvalid`.
    #[serde(default)]
    pub reason: String,
}

/// The parts of a `Status` that we read.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Status {
    #[serde(default)]
    pub code: u16,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
struct Details {
    #[serde(default)]
    causes: Vec<Cause>,
}

impl Error {
    /// Whether the object, or its kind, is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether no answer came.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// From an answer that is not success.
    pub(crate) fn from_answer(what: &str, code: u16, body: &[u8]) -> Self {
        let status = serde_json::from_slice(body).unwrap_or_else(|_| Status {
            code,
            message: String::from_utf8_lossy(&body[..body.len().min(200)])
                .trim()
                .to_owned(),
            ..Status::default()
        });
        Self::from_status(what, code, status)
    }

    pub(crate) fn from_status(what: &str, code: u16, status: Status) -> Self {
        let what = what.to_owned();
        let Status {
            reason,
            message,
            details,
            ..
        } = status;
        let causes = details.unwrap_or_default().causes;
        match (code, reason.as_str()) {
            (404, _) => Self::NotFound { what },
            (409, "AlreadyExists") => Self::AlreadyExists { what },
            (409, _) => Self::Conflict { what, message },
            (410, _) => Self::Expired { what, message },
            (400 | 422, _) if !causes.is_empty() || code == 422 => Self::Invalid {
                what,
                message,
                causes,
            },
            _ => Self::Refused {
                what,
                code,
                message,
            },
        }
    }
}

/// The causes where there are any: the message repeats them in a less readable way.
fn join(message: &str, causes: &[Cause]) -> String {
    let words = |cause: &Cause| match cause.field.as_str() {
        "" => cause.message.clone(),
        field => format!("{field}: {}", cause.message),
    };
    match causes {
        [] => message.to_owned(),
        causes => causes.iter().map(words).collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, body: &str) -> Error {
        Error::from_answer("pods a/b", code, body.as_bytes())
    }

    #[test]
    fn answers_become_the_right_kind() {
        assert!(of(404, "{}").is_not_found());
        let exists = of(409, r#"{"reason":"AlreadyExists"}"#);
        assert!(matches!(exists, Error::AlreadyExists { .. }));
        assert!(matches!(
            of(409, r#"{"reason":"Conflict"}"#),
            Error::Conflict { .. }
        ));
        assert!(matches!(of(410, "gone"), Error::Expired { .. }));
        assert_eq!(
            of(500, " broken ").to_string(),
            "pods a/b: broken (HTTP 500)"
        );
    }

    #[test]
    fn causes_name_their_fields() {
        let body = r#"{"message":"long","details":{"causes":[
            {"field":"spec.order","message":"expected a number"},{"message":"too long"}]}}"#;
        assert_eq!(
            of(422, body).to_string(),
            "pods a/b: spec.order: expected a number; too long"
        );
    }
}
