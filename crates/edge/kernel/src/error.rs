//! What can go wrong, always with the object it went wrong for.

use std::io;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure, naming the object: `link ocwabc: File exists (17)`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a netlink request.
    #[error("{object}: {} ({errno}){}", explain(*errno), suffix(detail.as_deref()))]
    Kernel {
        /// What the request was about, such as `route 10.0.0.1/32`.
        object: String,
        /// The kernel's error number, positive, as in `errno(3)`.
        errno: i32,
        /// The kernel's own words, where it sent an extended acknowledgement.
        detail: Option<String>,
    },
    /// A system call failed.
    #[error("{object}: {source}")]
    Io {
        /// What the call was about, often a path.
        object: String,
        /// Why it failed.
        source: io::Error,
    },
    /// An answer of the kernel could not be read.
    #[error("{object}: answer of the kernel cannot be read: {what}")]
    Malformed {
        /// What was asked for.
        object: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// The object is not there.
    #[error("{object}: not found")]
    NotFound {
        /// What was looked for.
        object: String,
    },
    /// The caller asked for something that cannot be.
    #[error("{object}: {what}")]
    Invalid {
        /// What was asked for.
        object: String,
        /// What is wrong with it.
        what: String,
    },
    /// The wanted state was not reached within its bound.
    #[error("{object}: {what}")]
    Unsettled {
        /// What was waited for.
        object: String,
        /// What was still missing, and after how long.
        what: String,
    },
}

impl Error {
    /// The error number behind this failure, as in `errno(3)`, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { errno, .. } => Some(*errno),
            Self::Io { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// Whether the object already exists.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// Whether the failure is that the object, or the interface it lies on, is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
            || matches!(
                self.errno(),
                Some(libc::ENOENT | libc::ENODEV | libc::ESRCH | libc::EADDRNOTAVAIL)
            )
    }

    /// Whether the caller lacks a privilege, most often root.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self.errno(), Some(libc::EPERM | libc::EACCES))
    }

    pub(crate) fn io(object: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            object: object.into(),
            source,
        }
    }

    pub(crate) fn malformed(object: impl Into<String>, what: impl std::fmt::Display) -> Self {
        Self::Malformed {
            object: object.into(),
            what: what.to_string(),
        }
    }

    pub(crate) fn invalid(object: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Invalid {
            object: object.into(),
            what: what.into(),
        }
    }
}

/// The C library's words for `errno`, without the number that the standard library appends.
fn explain(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn suffix(detail: Option<&str>) -> String {
    detail.map_or_else(String::new, |words| format!(": {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_object_and_the_number() {
        let error = Error::Kernel {
            object: "link ocwabc".to_owned(),
            errno: libc::EEXIST,
            detail: None,
        };
        assert_eq!(error.to_string(), "link ocwabc: File exists (17)");
        assert!(error.is_exists());
        assert!(!error.is_not_found());
    }

    #[test]
    fn carries_the_words_of_the_kernel() {
        let error = Error::Kernel {
            object: "route 10.0.0.1/32".to_owned(),
            errno: libc::ENETDOWN,
            detail: Some("Device for nexthop is not up".to_owned()),
        };
        assert_eq!(
            error.to_string(),
            "route 10.0.0.1/32: Network is down (100): Device for nexthop is not up"
        );
    }
}
