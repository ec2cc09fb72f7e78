//! FelixConfiguration.

use std::sync::Arc;

use super::duration::milliseconds;
use super::entity::net;
use super::node::{Node, Path, Problems, Read, Unreadable};
use crate::config::{DenyAction, EndpointToHost, Failsafe, FelixConfiguration, SourceSpoofing};
use crate::limits::LOG_PREFIX_BYTES;
use crate::{Metadata, Protocol};

pub(crate) mod ignored;

use ignored::IGNORED;

/// What is said of a field that has no effect here.
pub(super) const NO_EFFECT: &str = "has no effect in Ocicat";

/// Fields that are read.
pub(crate) const READ: &[&str] = &[
    "defaultEndpointToHostAction",
    "failsafeInboundHostPorts",
    "failsafeOutboundHostPorts",
    "interfacePrefix",
    "iptablesFilterDenyAction",
    "iptablesMarkMask",
    "iptablesRefreshInterval",
    "logPrefix",
    "nftablesFilterDenyAction",
    "nftablesMarkMask",
    "nftablesRefreshInterval",
    "workloadSourceSpoofing",
];

/// Reads a FelixConfiguration. What cannot be read is as good as absent.
pub(super) fn configuration(
    root: &Node<'_>,
    metadata: Metadata,
    problems: &mut Problems,
) -> FelixConfiguration {
    let spec = super::spec(root);
    let mut ignored = Vec::new();
    if let Ok(fields) = spec.mapping(problems) {
        spec.has_unknown(&[READ, IGNORED].concat(), problems);
        for (name, _) in fields.iter().filter(|(_, value)| !value.is_null()) {
            if IGNORED.binary_search(&name.as_str()).is_ok() {
                problems.warning(&Path::Key(&spec.path, name), NO_EFFECT);
                ignored.push(Arc::from(name.as_str()));
            }
        }
    }
    if &*metadata.name != "default" && !metadata.name.starts_with("node.") {
        let path = Path::Key(&root.path, "metadata");
        let message = "has no effect: expected default, or node.NAME for one host";
        problems.warning(&Path::Key(&path, "name"), message);
    }
    let mut read = Reader {
        spec: &spec,
        ignored: &mut ignored,
        problems,
    };
    let mut configuration = FelixConfiguration {
        metadata,
        default_endpoint_to_host: read.field("defaultEndpointToHostAction", endpoint_to_host),
        deny_action: read.either("FilterDenyAction", deny_action),
        failsafe_inbound: read.failsafes("failsafeInboundHostPorts"),
        failsafe_outbound: read.failsafes("failsafeOutboundHostPorts"),
        source_spoofing: read.field("workloadSourceSpoofing", source_spoofing),
        log_prefix: read.field("logPrefix", log_prefix),
        refresh_interval_ms: read.either("RefreshInterval", |node, problems| {
            milliseconds(node, problems).map(Some)
        }),
        interface_prefixes: read.field("interfacePrefix", interface_prefixes),
        mark_mask: read.either("MarkMask", |node, problems| {
            node.integer(0, i64::from(u32::MAX), problems).map(Some)
        }),
        ignored: Vec::new(),
    };
    ignored.sort();
    configuration.ignored = ignored;
    configuration
}

struct Reader<'a> {
    spec: &'a Node<'a>,
    ignored: &'a mut Vec<Arc<str>>,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    /// Reads a field; `None` of `read` is as good as absent.
    fn field<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Node<'_>, &mut Problems) -> Read<Option<T>>,
    ) -> Option<T> {
        self.spec.lenient(name, self.problems, read).flatten()
    }

    /// Reads `nftables…`, or `iptables…` without it.
    fn either<T>(
        &mut self,
        name: &str,
        read: impl Fn(Node<'_>, &mut Problems) -> Read<Option<T>>,
    ) -> Option<T> {
        let (ours, other) = (format!("nftables{name}"), format!("iptables{name}"));
        let first = self.field(&ours, &read);
        let second = self.field(&other, &read);
        if first.is_some() && second.is_some() {
            let message = format!("has no effect beside {ours}");
            self.problems
                .warning(&Path::Key(&self.spec.path, &other), message);
            self.ignored.push(other.into());
        }
        first.or(second)
    }

    /// Entries that cannot be read are left out.
    fn failsafes(&mut self, name: &str) -> Option<Vec<Failsafe>> {
        if !self.spec.field(name)?.value.is_array() {
            let _ = self.spec.field(name)?.items(self.problems);
            return None;
        }
        Some(self.spec.each(name, self.problems, failsafe))
    }
}

fn failsafe(node: Node<'_>, problems: &mut Problems) -> Read<Failsafe> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["net", "port", "protocol"], problems);
    let protocol = node.optional("protocol", problems, |node, problems| {
        if node.value == "" {
            return Ok(Protocol::TCP);
        }
        super::core::port_protocol(node, problems)
    });
    let net = node.optional("net", problems, |node, problems| {
        if node.value == "" {
            return Ok(None);
        }
        net(node, problems).map(Some)
    });
    let Some(port) = node.field("port") else {
        return Err(problems.error(&node.path, "missing port: expected 0-65535"));
    };
    let port = port.integer(0, 65_535, problems);
    if unknown {
        return Err(Unreadable);
    }
    Ok(Failsafe {
        protocol: protocol?.unwrap_or(Protocol::TCP),
        port: port?,
        net: net?.flatten(),
    })
}

/// One of the words in any case; an empty text is as good as absent.
fn word(node: Node<'_>, words: &[&'static str], problems: &mut Problems) -> Read<Option<usize>> {
    let text = node.value.as_str().unwrap_or_default();
    if node.value == "" {
        return Ok(None);
    }
    match words
        .iter()
        .position(|word| word.eq_ignore_ascii_case(text))
    {
        Some(index) => Ok(Some(index)),
        None => node.one_of(words, problems).map(|_| None),
    }
}

fn endpoint_to_host(node: Node<'_>, problems: &mut Problems) -> Read<Option<EndpointToHost>> {
    let actions = [
        EndpointToHost::Drop,
        EndpointToHost::Return,
        EndpointToHost::Accept,
    ];
    let index = word(node, &["Drop", "Return", "Accept"], problems)?;
    Ok(index.map(|index| actions[index]))
}

fn deny_action(node: Node<'_>, problems: &mut Problems) -> Read<Option<DenyAction>> {
    let index = word(node, &["Drop", "Reject"], problems)?;
    Ok(index.map(|index| [DenyAction::Drop, DenyAction::Reject][index]))
}

fn source_spoofing(node: Node<'_>, problems: &mut Problems) -> Read<Option<SourceSpoofing>> {
    let index = word(node, &["Disabled", "Any"], problems)?;
    Ok(index.map(|index| [SourceSpoofing::Disabled, SourceSpoofing::Any][index]))
}

fn log_prefix(node: Node<'_>, problems: &mut Problems) -> Read<Option<Arc<str>>> {
    let text = node.text(problems)?;
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    match text.len() {
        0 => Ok(None),
        1..=LOG_PREFIX_BYTES if printable => Ok(Some(text.into())),
        _ => {
            let expected = format!("at most {LOG_PREFIX_BYTES} printable ASCII characters");
            Err(node.expected(&expected, problems))
        }
    }
}

/// Separated by commas.
fn interface_prefixes(node: Node<'_>, problems: &mut Problems) -> Read<Option<Vec<Arc<str>>>> {
    let text = node.text(problems)?;
    let parts = || text.split(',').map(str::trim);
    if text.is_empty() {
        return Ok(None);
    }
    if !parts().all(super::names::is_interface_name) {
        let expected = "prefixes of interface names, separated by commas";
        return Err(node.expected(expected, problems));
    }
    Ok(Some(parts().map(Arc::from).collect()))
}

#[cfg(test)]
mod tests;
