//! Failures and the exit codes they mean.

use std::fmt;
use std::process::ExitCode;

use ocicat_client::Error;

use ocicat_input::{Unreadable, paint};

/// Why a command did not do what it was asked, by exit code.
#[derive(Debug)]
pub enum Failure {
    /// The answer is no: exit code 1.
    No(String),
    /// What the user gave cannot be used: exit code 2.
    Input(String),
    /// Nobody could be asked, or nobody answered: exit code 3.
    Unasked(String),
    /// All of it has been said already; with this exit code.
    Said(u8),
}

impl Failure {
    /// Prints the failure, if it has not been, and returns its exit code.
    pub fn print(&self) -> ExitCode {
        if !matches!(self, Self::Said(_)) {
            eprintln!("{} {self}", paint::error("error:"));
        }
        ExitCode::from(self.code())
    }

    pub fn code(&self) -> u8 {
        match self {
            Self::No(_) => 1,
            Self::Input(_) => 2,
            Self::Unasked(_) => 3,
            Self::Said(code) => *code,
        }
    }

    /// Errors of manifests, which have been printed.
    pub fn of_manifests(errors: usize) -> Result<(), Self> {
        if errors == 0 {
            Ok(())
        } else {
            Err(Self::Said(2))
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No(text) | Self::Input(text) | Self::Unasked(text) => f.write_str(text),
            Self::Said(_) => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound { .. } | Error::AlreadyExists { .. } | Error::Conflict { .. } => {
                Self::No(text)
            }
            Error::Invalid { .. } => Self::Input(text),
            _ => Self::Unasked(text),
        }
    }
}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        Self::Input(error.to_string())
    }
}

/// Whatever another crate could not do.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Unasked(format!("{error:#}"))
    }
}
