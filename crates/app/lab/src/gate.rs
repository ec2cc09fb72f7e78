//! Lets work on other threads be stopped before what it made is removed.

use std::sync::{PoisonError, RwLock};

/// Open until it is closed; work goes on inside only while it is open.
#[derive(Debug)]
pub struct Gate(RwLock<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(RwLock::new(true))
    }
}

impl Gate {
    /// Does a piece of work, unless the gate is closed.
    ///
    /// # Errors
    /// Those of the work, or that the gate is closed.
    pub fn pass<T>(&self, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let is_open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(*is_open, "interrupted");
        work()
    }

    /// Lets no more work begin, and waits for what has begun.
    pub fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_a_closed_gate() {
        let gate = Gate::default();
        assert_eq!(gate.pass(|| Ok(7)).unwrap(), 7);
        gate.close();
        assert!(gate.pass(|| Ok(7)).is_err());
    }
}
