//! A change that the kernel is asked for, as a value.

use netlink_packet_core::Emitable;

use crate::Result;
use crate::netns::Namespace;
use crate::transport::{Outgoing, Refusal};

/// A change to links, addresses, routes or neighbours. Made by the functions of [`super`]; carried out
/// by [`super::Rtnl::apply`] and its siblings, as often as wanted and in any namespace.
#[derive(Debug, Clone)]
pub struct Request {
    object: String,
    kind: u16,
    flags: u16,
    body: Vec<u8>,
    /// Refusals that mean that the wanted state is there already.
    harmless: &'static [i32],
    /// Keeps a descriptor open that the body names by number.
    _namespace: Option<Namespace>,
}

impl Request {
    pub(super) fn new(object: String, kind: u16, flags: u16, message: &impl Emitable) -> Self {
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        Self {
            object,
            kind,
            flags,
            body,
            harmless: &[],
            _namespace: None,
        }
    }

    /// Takes these refusals as success.
    pub(super) fn tolerating(self, harmless: &'static [i32]) -> Self {
        Self { harmless, ..self }
    }

    pub(super) fn holding(self, namespace: &Namespace) -> Self {
        Self {
            _namespace: Some(namespace.clone()),
            ..self
        }
    }

    /// What the request is about, such as `route 10.0.0.1/32`.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.object
    }

    pub(super) fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            object: &self.object,
            kind: self.kind,
            flags: self.flags,
            body: &self.body,
        }
    }

    pub(super) fn judge(&self, answer: Option<Refusal>) -> Result<()> {
        match answer {
            Some(refusal) if !self.harmless.contains(&refusal.errno) => {
                Err(refusal.about(&self.object))
            }
            _ => Ok(()),
        }
    }
}
