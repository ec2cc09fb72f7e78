//! What may be stored: the check that the server asks before each write.

use std::fmt;

use serde_json::Value;

/// Judges objects before they are stored. The server itself checks only what all kinds share
/// (metadata, paths, revisions); everything a kind means is judged here.
pub trait Admission: Send + Sync + 'static {
    /// Judges one whole object, which carries `apiVersion`, `kind` and `metadata`.
    ///
    /// # Errors
    /// All problems found; the client gets them as the causes of a 422 `Invalid`.
    fn admit(&self, object: &Value) -> Result<Admitted, Vec<FieldProblem>>;
}

/// An object that may be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    /// What is stored: the object, perhaps with defaults filled in.
    pub object: Value,
    /// Told to the client in `Warning` headers.
    pub warnings: Vec<String>,
    /// Paths of fields that the kind does not have, such as `spec.ordre`. A client that asks for
    /// `fieldValidation=Strict` (as `kubectl` does) is refused; with `Warn` or nothing it is told.
    pub unknown_fields: Vec<String>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// The path, such as `spec.ingress[0].action`.
    pub field: String,
    /// The kind of problem.
    pub cause: Cause,
    /// What is wrong and what was expected, in words, such as `"Alow": one of Allow, Deny, Log, Pass`.
    pub detail: String,
}

/// The kinds of problem that Kubernetes tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A field that must be there is not.
    Required,
    /// The value is not allowed.
    Invalid,
    /// The value is not one of the fixed ones.
    NotSupported,
    /// The field must not be set here.
    Forbidden,
}

impl Cause {
    /// The `reason` of a `StatusCause`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
        }
    }
}

impl FieldProblem {
    /// The problem without its field.
    pub(crate) fn text(&self) -> String {
        format!("{}: {}", self.cause.words(), self.detail)
    }
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text())
    }
}

/// Admits everything as it is. For tests of the conventions alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmitAll;

impl Admission for AdmitAll {
    fn admit(&self, object: &Value) -> Result<Admitted, Vec<FieldProblem>> {
        Ok(Admitted {
            object: object.clone(),
            warnings: Vec::new(),
            unknown_fields: Vec::new(),
        })
    }
}
