//! Where the API is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

/// Where the API is: what `--api` and `OCICAT_API` say.
///
/// ```
/// use ocicat_client::Endpoint;
/// assert_eq!("unix:/run/a.sock".parse(), Ok(Endpoint::Unix("/run/a.sock".into())));
/// assert_eq!("".parse(), Ok(Endpoint::Environment));
/// assert!("ftp://host".parse::<Endpoint>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Endpoint {
    /// `unix:/path`: plain HTTP over a unix socket.
    Unix(PathBuf),
    /// `http://host:port` or `https://host:port`, without credentials.
    Url(http::Uri),
    /// The kubeconfig that `KUBECONFIG` names, `~/.kube/config`, or the service account of the
    /// pod that we run in.
    #[default]
    Environment,
}

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "API endpoint {text:?}: {reason}; expected unix:/path, http://host:port or https://host:port"
)]
pub struct EndpointError {
    text: String,
    reason: String,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// An empty text is [`Endpoint::Environment`].
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let fail = |reason: &str| EndpointError {
            text: text.into(),
            reason: reason.into(),
        };
        if text.is_empty() {
            return Ok(Self::Environment);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(fail("the path of a unix socket must be absolute"))
            };
        }
        let uri: http::Uri = text.parse().map_err(|error| fail(&format!("{error}")))?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(_)) => Ok(Self::Url(uri)),
            (Some(scheme), _) => Err(fail(&format!("unknown scheme {scheme:?}"))),
            (None, _) => Err(fail("no scheme")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Url(uri) => write!(f, "{}", uri.to_string().trim_end_matches('/')),
            Self::Environment => f.write_str("the API server of the kubeconfig"),
        }
    }
}

impl From<EndpointError> for Error {
    fn from(error: EndpointError) -> Self {
        Self::Configuration(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_each_form() {
        for text in [
            "unix:/run/x.sock",
            "http://127.0.0.1:8080",
            "https://[::1]:6443",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!("unix:///run/x".parse(), Ok(Endpoint::Unix("/run/x".into())));
    }

    #[test]
    fn says_what_was_expected() {
        for (text, part) in [
            ("unix:run/x", "must be absolute"),
            ("127.0.0.1:80", "no scheme"),
            ("ftp://x", "unknown scheme \"ftp\""),
            ("http://", "expected unix:/path"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
