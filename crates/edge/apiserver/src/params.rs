//! What a request asks for beside its path: query parameters and the `Accept` header.

use crate::failure::Failure;

/// The query parameters that are read; others are ignored, as Kubernetes does.
#[derive(Clone, Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the query and independent of the others"
)]
pub(crate) struct Params {
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    pub(crate) limit: Option<usize>,
    pub(crate) continue_token: String,
    pub(crate) resource_version: String,
    pub(crate) exact_version: bool,
    pub(crate) watch: bool,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) bookmarks: bool,
    pub(crate) initial_events: bool,
    pub(crate) dry_run: bool,
    pub(crate) unknown_fields: UnknownFields,
    pub(crate) include: Include,
}

/// What is done about fields that a kind does not have (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UnknownFields {
    #[default]
    Warn,
    Ignore,
    Refuse,
}

/// What the rows of a table carry beside their cells (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Include {
    #[default]
    Metadata,
    Object,
    Nothing,
}

impl Params {
    /// Reads decoded pairs.
    ///
    /// # Errors
    /// 400 for a value that cannot be read.
    pub(crate) fn parse(pairs: Vec<(String, String)>) -> Result<Self, Failure> {
        let mut params = Self::default();
        for (key, value) in pairs {
            let refuse = |expected: &str| {
                Err(Failure::bad_request(format!(
                    "query parameter {key}: expected {expected}, not {value:?}"
                )))
            };
            let number = || value.parse::<u64>().ok();
            match key.as_str() {
                "labelSelector" => params.label_selector = value,
                "fieldSelector" => params.field_selector = value,
                "continue" => params.continue_token = value,
                "resourceVersion" => {
                    if value.is_empty() || number().is_some() {
                        params.resource_version = value;
                    } else {
                        return refuse("a number");
                    }
                }
                "resourceVersionMatch" => params.exact_version = value == "Exact",
                "limit" => match number() {
                    Some(limit) => {
                        params.limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
                    }
                    None => return refuse("a number"),
                },
                "timeoutSeconds" => match number() {
                    Some(seconds) => {
                        params.timeout_seconds = Some(seconds).filter(|seconds| *seconds > 0);
                    }
                    None => return refuse("a number of seconds"),
                },
                "watch" => params.watch = truth(&value),
                "allowWatchBookmarks" => params.bookmarks = truth(&value),
                "sendInitialEvents" => params.initial_events = truth(&value),
                "dryRun" => match value.as_str() {
                    "All" => params.dry_run = true,
                    "" => {}
                    _ => return refuse("All"),
                },
                "fieldValidation" => match value.as_str() {
                    "Strict" => params.unknown_fields = UnknownFields::Refuse,
                    "Warn" | "" => params.unknown_fields = UnknownFields::Warn,
                    "Ignore" => params.unknown_fields = UnknownFields::Ignore,
                    _ => return refuse("Strict, Warn or Ignore"),
                },
                "includeObject" => match value.as_str() {
                    "Object" => params.include = Include::Object,
                    "None" => params.include = Include::Nothing,
                    _ => params.include = Include::Metadata,
                },
                _ => {}
            }
        }
        Ok(params)
    }
}

fn truth(value: &str) -> bool {
    !matches!(value, "false" | "0" | "f" | "F" | "False" | "FALSE")
}

/// The form in which a client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// As they are.
    Object,
    /// Only their metadata.
    Metadata,
    /// As rows of a table.
    Table,
}

/// What an `Accept` header allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) view: View,
    /// Whether discovery may answer for all groups at once.
    pub(crate) aggregated: bool,
}

impl Accept {
    /// Reads the header: the first form in it that is served.
    ///
    /// # Errors
    /// 406 if none is.
    pub(crate) fn parse(header: &str) -> Result<Self, Failure> {
        if header.trim().is_empty() {
            return Ok(Self {
                view: View::Object,
                aggregated: false,
            });
        }
        for range in header.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or("");
            if !matches!(media_type, "application/json" | "application/*" | "*/*") {
                continue;
            }
            let parts: Vec<&str> = parts.collect();
            let value = |name: &str| {
                parts
                    .iter()
                    .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
            };
            let group = value("g");
            let view = match value("as") {
                None => View::Object,
                Some("Table") if group == Some("meta.k8s.io") => View::Table,
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => View::Metadata,
                Some("APIGroupDiscoveryList") if value("v") == Some("v2") => {
                    return Ok(Self {
                        view: View::Object,
                        aggregated: true,
                    });
                }
                Some(_) => continue,
            };
            return Ok(Self {
                view,
                aggregated: false,
            });
        }
        Err(Failure::not_acceptable(
            "only the following media types are accepted: application/json",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers_of_real_clients() {
        let view = |header| Accept::parse(header).map(|accept| accept.view).ok();
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                     application/json";
        assert_eq!(view(table), Some(View::Table));
        assert_eq!(
            view("application/vnd.kubernetes.protobuf,application/json"),
            Some(View::Object)
        );
        assert_eq!(
            view("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
            Some(View::Metadata)
        );
        assert_eq!(view("application/vnd.kubernetes.protobuf"), None);
        assert_eq!(view("*/*"), Some(View::Object));
        let discovery =
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert!(Accept::parse(discovery).is_ok_and(|accept| accept.aggregated));
    }

    #[test]
    fn bad_parameters_are_refused() {
        for (key, value) in [
            ("limit", "x"),
            ("dryRun", "Some"),
            ("fieldValidation", "no"),
            ("resourceVersion", "a"),
        ] {
            assert!(
                Params::parse(vec![(key.to_owned(), value.to_owned())]).is_err(),
                "{key}={value}"
            );
        }
    }
}
