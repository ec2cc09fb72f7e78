//! Namespaces that remove themselves.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Namespace, delete};
use crate::Result;

/// A namespace for a test: unique to the process, deleted when dropped. Use it as a [`Namespace`].
#[derive(Debug)]
pub struct ScratchNamespace {
    namespace: Namespace,
    name: String,
}

impl ScratchNamespace {
    /// Creates `PREFIX-PID-COUNT` in [`super::DIRECTORY`], with loopback up.
    ///
    /// # Errors
    /// As for [`Namespace::create`].
    pub fn create(prefix: &str) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{}-{count}", std::process::id());
        let scratch = Self {
            namespace: Namespace::create(&name)?,
            name,
        };
        crate::rtnl::Rtnl::open_in(&scratch.namespace)?.apply(&crate::rtnl::link::up("lo"))?;
        Ok(scratch)
    }

    /// Its name, for `ip netns exec NAME`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Deref for ScratchNamespace {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for ScratchNamespace {
    fn drop(&mut self) {
        if let Err(error) = delete(&self.name) {
            eprintln!("{error}");
        }
    }
}
