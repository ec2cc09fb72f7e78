//! When to ask again.

use std::time::Duration;

use crate::Error;

/// How often a request is tried, and how long to wait in between: the wait doubles from
/// [`Retry::FIRST`] to [`Retry::CEILING`].
///
/// Tried again is what was not answered or answered with 429 or 503; writes only where the server
/// cannot have acted on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How often to try, the first time included; at least 1.
    pub attempts: u32,
}

impl Retry {
    pub const FIRST: Duration = Duration::from_millis(100);
    pub const CEILING: Duration = Duration::from_secs(10);
    /// Ask once.
    pub const NONE: Self = Self { attempts: 1 };

    /// The wait after this many failures in a row, from 1.
    #[must_use]
    pub fn wait(failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        Self::FIRST
            .saturating_mul(1 << doublings)
            .min(Self::CEILING)
    }
}

impl Default for Retry {
    /// Five times within about 1.5 s.
    fn default() -> Self {
        Self { attempts: 5 }
    }
}

/// Whether a request may be sent twice without harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Reads.
    Freely,
    /// Writes.
    IfUnseen,
}

impl Repeat {
    pub(crate) fn allows(self, error: &Error) -> bool {
        match error {
            Error::Unreachable { unsent, .. } => self == Self::Freely || *unsent,
            Error::Refused {
                code: 429 | 503, ..
            } => true,
            Error::Refused {
                code: 500 | 502 | 504,
                ..
            } => self == Self::Freely,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_ceiling() {
        let waits: Vec<_> = (1..=9).map(|n| Retry::wait(n).as_millis()).collect();
        assert_eq!(
            waits,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        assert_eq!(Retry::wait(u32::MAX), Retry::CEILING);
    }

    #[test]
    fn writes_that_may_have_happened_are_not_repeated() {
        let broken = |unsent| Error::Unreachable {
            endpoint: "x".into(),
            reason: "y".into(),
            unsent,
        };
        assert!(Repeat::Freely.allows(&broken(false)));
        assert!(!Repeat::IfUnseen.allows(&broken(false)));
        assert!(Repeat::IfUnseen.allows(&broken(true)));
    }
}
