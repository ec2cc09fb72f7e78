//! What can go wrong.

use std::fmt;
use std::io;

use crate::object::TableId;

/// Why a transaction was not done. Nothing of it is in force.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The kernel refused operations.
    #[error("{}", Refused(.0))]
    Rejected(Vec<Rejection>),
    /// Something else was committed since the generation on which this transaction was based.
    #[error("the ruleset has changed since generation {0}")]
    Stale(u32),
    /// One part of an operation, such as the expressions of a rule, exceeds the 65,535 bytes of an
    /// attribute, or the whole transaction exceeds the limit on a batch.
    #[error("{object} is too large: more than {limit} bytes")]
    TooLarge {
        /// Index of the operation, or `None` for the transaction.
        op: Option<usize>,
        /// The operation, or the transaction.
        object: String,
        /// The limit.
        limit: usize,
    },
    /// The kernel refused the transaction as a whole, or could not be asked.
    #[error("{table}: {source}")]
    Io {
        /// The table.
        table: TableId,
        /// Why.
        source: io::Error,
    },
}

/// An operation that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The table.
    pub table: TableId,
    /// Index of the operation in the transaction.
    pub op: usize,
    /// Index of the element in the operation, where the kernel said which.
    pub element: Option<usize>,
    /// The operation, or only the element, as text.
    pub object: String,
    /// The kernel's error number (`errno`), positive.
    pub errno: i32,
    /// What the kernel said besides, if anything.
    pub message: Option<String>,
}

impl Rejection {
    /// The error number as an I/O error.
    #[must_use]
    pub fn io_error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }
}

/// Why a ruleset was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel's answer has no such part, or one of the wrong size.
    #[error("the kernel's answer is not understood: {0}")]
    Malformed(&'static str),
    /// The ruleset, or the hash table of a set that has just grown, changed during each of several attempts.
    #[error("the ruleset kept changing while it was read, {attempts} times")]
    Unsettled {
        /// How many attempts.
        attempts: u32,
    },
    /// The kernel refused, or could not be asked.
    #[error("reading the ruleset: {0}")]
    Io(#[from] io::Error),
}

impl From<crate::decode::Malformed> for ReadError {
    fn from(malformed: crate::decode::Malformed) -> Self {
        Self::Malformed(malformed.0)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, operation {}: {}: {}",
            self.table,
            self.op,
            self.object,
            self.io_error()
        )?;
        match &self.message {
            Some(message) => write!(f, " ({message})"),
            None => Ok(()),
        }
    }
}

/// The first refusal and the number of others: the kernel goes on after the first, and what follows is
/// often only its consequence.
struct Refused<'a>(&'a [Rejection]);

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.first() else {
            return f.write_str("refused");
        };
        first.fmt(f)?;
        match self.0.len() - 1 {
            0 => Ok(()),
            more => write!(f, "; {more} more"),
        }
    }
}
