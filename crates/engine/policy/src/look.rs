//! What a pod looks like, as one text: pods that look alike have one identity.
//!
//! An identity is made of a name for each label and much else, each looked up in its place. Finding
//! it by one text instead is what lets a pod of a known deployment touch little memory.

use ocicat_api::core::Pod;

pub(crate) const DEFAULT_NAMESPACE: &str = "default";

pub(crate) fn namespace(pod: &Pod) -> &str {
    let namespace = pod.metadata.namespace.as_deref();
    namespace.unwrap_or(DEFAULT_NAMESPACE)
}

/// Writes all that the identity of a pod follows from: other texts are not equal, equal ones are
/// nearly always.
pub(crate) fn write(pod: &Pod, text: &mut Vec<u8>) {
    text.clear();
    put(namespace(pod), text);
    put(&pod.service_account, text);
    let count = u32::try_from(pod.metadata.labels.len()).unwrap_or(u32::MAX);
    text.extend_from_slice(&count.to_ne_bytes());
    for (key, value) in &pod.metadata.labels {
        put(key, text);
        put(value, text);
    }
    for port in pod.ports.iter().filter(|port| !port.name.is_empty()) {
        put(&port.name, text);
        let [high, low] = port.port.to_be_bytes();
        text.extend_from_slice(&[port.protocol.0, high, low]);
    }
}

/// A text with its length, so that it cannot be mistaken for two.
fn put(part: &str, text: &mut Vec<u8>) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    text.extend_from_slice(&length.to_ne_bytes());
    text.extend_from_slice(part.as_bytes());
}
