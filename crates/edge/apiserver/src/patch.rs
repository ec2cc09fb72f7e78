//! Patches: how a client says what should differ, without sending the whole object.

mod json;
mod merge;
pub(crate) mod strategic;

use serde_json::Value;

use crate::failure::Failure;
use crate::registry::Resource;

/// A patch of one of the kinds that are served.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// RFC 6902.
    Json(json::Operations),
    /// Kubernetes' own: a merge patch that knows lists with keys.
    Strategic(Value),
}

impl Patch {
    /// Reads a patch of this media type.
    ///
    /// # Errors
    /// 415 for a type that is not served for the resource, 400 for a body that is not such a patch.
    pub(crate) fn parse(
        media_type: &str,
        body: &[u8],
        resource: &Resource,
    ) -> Result<Self, Failure> {
        let value = || {
            serde_json::from_slice::<Value>(body)
                .map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))
        };
        let object = || match value()? {
            object @ Value::Object(_) => Ok(object),
            _ => Err(Failure::bad_request(
                "error decoding patch: a JSON object is expected",
            )),
        };
        match media_type {
            "application/merge-patch+json" => Ok(Self::Merge(object()?)),
            "application/json-patch+json" => json::Operations::parse(value()?)
                .map(Self::Json)
                .map_err(bad),
            "application/strategic-merge-patch+json" if resource.shape.is_some() => {
                Ok(Self::Strategic(object()?))
            }
            "application/strategic-merge-patch+json" => Err(Failure::unsupported_media(format!(
                "strategic merge patches are not supported for {}: use application/merge-patch+json",
                resource.qualified()
            ))),
            "application/apply-patch+yaml" | "application/apply-patch+cbor" => {
                Err(Failure::unsupported_media(
                    "server-side apply is not supported by this server: use client-side apply (kubectl apply without \
                 --server-side)",
                ))
            }
            other => Err(Failure::unsupported_media(format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, \
                 application/strategic-merge-patch+json; got {other:?}"
            ))),
        }
    }

    /// The object as the patch wants it.
    ///
    /// # Errors
    /// 400 if the patch does not fit the object.
    pub(crate) fn apply(&self, object: Value, resource: &Resource) -> Result<Value, Failure> {
        match self {
            Self::Merge(patch) => Ok(merge::apply(object, patch)),
            Self::Json(operations) => operations.apply(object).map_err(bad),
            Self::Strategic(patch) => {
                let shape = resource.shape.unwrap_or(&strategic::PLAIN);
                strategic::apply(object, patch, shape).map_err(bad)
            }
        }
    }
}

fn bad(message: String) -> Failure {
    Failure::bad_request(message)
}
