//! Address pools and blocks.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;

use super::entity::net;
use super::meta::shared;
use super::node::{Node, Path, Problems, Read};
use super::selector;
use crate::Metadata;
use crate::core::{IpPool, IpamBlock};

const POOL_FIELDS: &[&str] = &[
    "allowedUses",
    "assignmentMode",
    "blockSize",
    "cidr",
    "disableBGPExport",
    "disabled",
    "ipipMode",
    "namespaceSelector",
    "natOutgoing",
    "nodeSelector",
    "vxlanMode",
];

const TUNNEL_MODES: &[&str] = &["Never", "Always", "CrossSubnet"];

/// Reads an IPPool; `None` without a CIDR that can be read.
pub(super) fn pool(root: &Node<'_>, metadata: Metadata, problems: &mut Problems) -> Option<IpPool> {
    let spec = super::spec(root);
    spec.mapping(problems).ok()?;
    spec.has_unknown(POOL_FIELDS, problems);
    for (field, expected) in [
        ("ipipMode", TUNNEL_MODES),
        ("vxlanMode", TUNNEL_MODES),
        ("assignmentMode", &["Automatic", "Manual"]),
    ] {
        spec.lenient(field, problems, |node, problems| {
            one_of(node, expected, problems)
        });
    }
    spec.each("allowedUses", problems, |node, problems| {
        one_of(node, &["Workload", "Tunnel", "LoadBalancer"], problems)
    });
    for field in ["nodeSelector", "namespaceSelector"] {
        // Noted if it cannot be read; which nodes use the pool is not decided here.
        let _ = selector::optional(&spec, field, problems);
    }
    let cidr = required_cidr(&spec, problems)?;
    Some(IpPool {
        metadata,
        cidr,
        block_size: block_size(&spec, &cidr, problems),
        disabled: spec
            .lenient("disabled", problems, Node::boolean)
            .unwrap_or_default(),
        nat_outgoing: spec
            .lenient("natOutgoing", problems, Node::boolean)
            .unwrap_or_default(),
    })
}

fn one_of(node: Node<'_>, expected: &[&str], problems: &mut Problems) -> Read<()> {
    match node.value.as_str() {
        Some(text) if expected.contains(&text) => Ok(()),
        _ => Err(node.expected(&expected.join(" or "), problems)),
    }
}

fn required_cidr(spec: &Node<'_>, problems: &mut Problems) -> Option<IpNet> {
    let Some(node) = spec.field("cidr") else {
        let message = "missing: expected a CIDR such as 10.244.0.0/16";
        problems.error(&Path::Key(&spec.path, "cidr"), message);
        return None;
    };
    let cidr = net(node, problems).ok()?;
    let given = node.value.as_str().unwrap_or_default();
    let address = given.split_once('/').map_or(given, |(address, _)| address);
    if address.parse() != Ok(cidr.network()) {
        problems.error(
            &node.path,
            format!("{given}: expected {cidr}, without host bits"),
        );
    }
    let link_local: [IpNet; 2] = [
        IpNet::new_assert([169, 254, 0, 0].into(), 16),
        IpNet::new_assert([0xfe80, 0, 0, 0, 0, 0, 0, 0].into(), 10),
    ];
    if link_local
        .iter()
        .any(|range| range.contains(&cidr) || cidr.contains(range))
    {
        problems.error(
            &node.path,
            format!("{cidr}: expected no link-local addresses"),
        );
    }
    Some(cidr)
}

/// The prefix length of a block: 26 or 122 unless given, within the bounds that Calico sets, and
/// not larger than the pool.
fn block_size(spec: &Node<'_>, cidr: &IpNet, problems: &mut Problems) -> u8 {
    let (default, first, last) = match cidr {
        IpNet::V4(_) => (26, 20, 32),
        IpNet::V6(_) => (122, 116, 128),
    };
    let given = spec.lenient("blockSize", problems, |node, problems| {
        node.integer::<u8>(0, 128, problems)
    });
    let size = match given {
        // Zero is what the API's Go type makes of an absent field.
        None | Some(0) => default,
        Some(size) if (first..=last).contains(&size) => size,
        Some(size) => {
            let message = format!("{size}: expected {first}-{last} for {cidr}");
            problems.error(&Path::Key(&spec.path, "blockSize"), message);
            default
        }
    };
    if cidr.prefix_len() > size {
        let message = format!("{cidr}: expected at least one block of /{size}");
        problems.error(&Path::Key(&spec.path, "cidr"), message);
    }
    size.max(cidr.prefix_len())
}

/// Reads an IPAMBlock; `None` without a CIDR that can be read.
pub(super) fn block(
    root: &Node<'_>,
    metadata: Metadata,
    problems: &mut Problems,
) -> Option<IpamBlock> {
    let spec = super::spec(root);
    spec.mapping(problems).ok()?;
    let cidr = required_cidr(&spec, problems)?;
    let affinity = spec.lenient("affinity", problems, shared);
    let node = affinity
        .as_deref()
        .and_then(|affinity| affinity.strip_prefix("host:"));
    let handles = spec.each("attributes", problems, |attribute, problems| {
        // One that cannot be read keeps its place: addresses name it by its index.
        let _ = attribute.mapping(problems);
        Ok(attribute.lenient("handle_id", problems, shared))
    });
    Some(IpamBlock {
        metadata,
        cidr,
        node: node.map(Arc::from),
        allocations: allocations(&spec, &handles, problems),
    })
}

/// Each allocated ordinal's index among the attributes is replaced by the handle found there.
fn allocations(
    spec: &Node<'_>,
    handles: &[Option<Arc<str>>],
    problems: &mut Problems,
) -> BTreeMap<u32, Arc<str>> {
    let mut found = BTreeMap::new();
    let Some(list) = spec.field("allocations") else {
        return found;
    };
    let Ok(items) = list.items(problems) else {
        return found;
    };
    for (ordinal, value) in items.iter().enumerate() {
        if *value == Value::Null {
            continue;
        }
        let item = list.item(ordinal, value);
        let Ok(index) = item.integer::<usize>(0, i64::from(u32::MAX), problems) else {
            continue;
        };
        let Ok(ordinal) = u32::try_from(ordinal) else {
            break;
        };
        if let Some(handle) = handles.get(index) {
            // Allocated without a handle is allocated all the same.
            found.insert(ordinal, handle.clone().unwrap_or_default());
        } else {
            item.expected("the index of one of the attributes", problems);
        }
    }
    found
}

#[cfg(test)]
mod tests;
