//! JSON to objects without a tree between, for the kinds of which there are many.
//!
//! The narrow types here read only what a clean object needs. Whatever they cannot read, and
//! whatever is not clean, goes the long way through [`super::decode`], which knows to say why. A
//! test keeps the two ways equal.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::core::{allowed_sources, annotated_addresses, parse_mac};
use super::{Decoded, names};
use crate::core::{EndpointPort, Namespace, Pod, WorkloadEndpoint};
use crate::limits::ANNOTATION_BYTES;
use crate::net::parse_net;
use crate::policy::NetworkSet;
use crate::{Kind, Metadata, Object, Owner, Problem, Protocol};

/// Reads one object from JSON. Equal to parsing the text and [`super::decode`], only faster.
#[must_use]
pub fn decode_json(json: &[u8]) -> Decoded {
    // Checked once, so that each text in it need not be.
    let value = match std::str::from_utf8(json) {
        Ok(text) => {
            if let Some(object) = fast(text) {
                return Decoded {
                    object: Some(object),
                    ..Decoded::default()
                };
            }
            serde_json::from_str(text)
        }
        Err(_) => serde_json::from_slice(json),
    };
    match value {
        Ok(value) => super::decode(&value),
        Err(error) => Decoded {
            problems: vec![Problem::error("", format!("not JSON: {error}"))],
            ..Decoded::default()
        },
    }
}

/// The object, if it is of a kind of which there are many, and has no problem.
fn fast(json: &str) -> Option<Object> {
    let Mapping(raw) = serde_json::from_str::<Mapping<Raw<'_>>>(json).ok()?;
    match Kind::of(&raw.api_version.0, &raw.kind.0)? {
        kind @ (Kind::NetworkSet | Kind::GlobalNetworkSet) => {
            let Mapping(raw) = serde_json::from_str(json).ok()?;
            clean_set(kind, raw)
        }
        kind => clean(kind, raw),
    }
}

/// Fields of Pod, Namespace and WorkloadEndpoint together; no two of them share a name with
/// another meaning.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow)]
    api_version: Text<'a>,
    #[serde(borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    metadata: Mapping<RawMetadata<'a>>,
    #[serde(borrow, default)]
    spec: Option<Mapping<RawSpec<'a>>>,
    #[serde(borrow, default)]
    status: Option<Mapping<RawStatus<'a>>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMetadata<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    namespace: Option<Text<'a>>,
    #[serde(borrow, default)]
    uid: Option<Text<'a>>,
    #[serde(borrow, default)]
    resource_version: Option<Text<'a>>,
    #[serde(default)]
    generation: Option<i64>,
    #[serde(default)]
    labels: Option<Strings>,
    #[serde(default)]
    annotations: Option<Strings>,
    #[serde(borrow, default)]
    owner_references: Option<Vec<Mapping<RawOwner<'a>>>>,
}

#[derive(serde::Deserialize)]
struct RawOwner<'a> {
    #[serde(borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(default)]
    controller: Option<bool>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec<'a> {
    #[serde(borrow, default)]
    node_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    service_account_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    service_account: Option<Text<'a>>,
    #[serde(default)]
    host_network: Option<bool>,
    #[serde(borrow, default)]
    init_containers: Option<Vec<Mapping<RawContainer<'a>>>>,
    #[serde(borrow, default)]
    containers: Option<Vec<Mapping<RawContainer<'a>>>>,
    // WorkloadEndpoint.
    #[serde(borrow, default)]
    node: Option<Text<'a>>,
    #[serde(borrow, default)]
    orchestrator: Option<Text<'a>>,
    #[serde(borrow, default)]
    pod: Option<Text<'a>>,
    #[serde(borrow, default)]
    interface_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    mac: Option<Text<'a>>,
    #[serde(borrow, default)]
    ip_networks: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    profiles: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    ports: Option<Vec<Mapping<RawPort<'a>>>>,
    #[serde(default)]
    allow_spoofed_source_prefixes: Option<IgnoredAny>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawContainer<'a> {
    #[serde(borrow, default)]
    restart_policy: Option<Text<'a>>,
    #[serde(borrow, default)]
    ports: Option<Vec<Mapping<RawPort<'a>>>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPort<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    protocol: Option<Text<'a>>,
    #[serde(default)]
    container_port: Option<u16>,
    #[serde(default)]
    port: Option<u16>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawStatus<'a> {
    #[serde(borrow, default)]
    phase: Option<Text<'a>>,
    #[serde(borrow, default, rename = "podIP")]
    pod_ip: Option<Text<'a>>,
    #[serde(borrow, default, rename = "podIPs")]
    pod_ips: Option<Vec<Mapping<RawAddress<'a>>>>,
}

#[derive(serde::Deserialize)]
struct RawAddress<'a> {
    #[serde(borrow, default)]
    ip: Option<Text<'a>>,
}

/// NetworkSet and GlobalNetworkSet, whose unknown fields are errors.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawSet<'a> {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    #[serde(borrow)]
    metadata: Mapping<RawSetMetadata<'a>>,
    #[serde(borrow)]
    spec: Mapping<RawNets<'a>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawSetMetadata<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    namespace: Option<Text<'a>>,
    #[serde(borrow, default)]
    uid: Option<Text<'a>>,
    #[serde(borrow, default)]
    resource_version: Option<Text<'a>>,
    #[serde(default)]
    generation: Option<i64>,
    #[serde(default)]
    labels: Option<Strings>,
    #[serde(default)]
    annotations: Option<Strings>,
    #[serde(default, rename = "creationTimestamp")]
    _creation_timestamp: Option<IgnoredAny>,
    #[serde(default, rename = "managedFields")]
    _managed_fields: Option<IgnoredAny>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNets<'a> {
    #[serde(borrow)]
    nets: Vec<Text<'a>>,
}

fn clean(kind: Kind, raw: Raw<'_>) -> Option<Object> {
    match kind {
        Kind::Pod => {
            let metadata = raw.metadata.0.clean(kind)?;
            pod(metadata, unwrapped(raw.spec), unwrapped(raw.status)).map(Object::Pod)
        }
        Kind::WorkloadEndpoint => {
            let metadata = raw.metadata.0.clean(kind)?;
            workload_endpoint(metadata, raw.spec?.0).map(Object::WorkloadEndpoint)
        }
        Kind::Namespace => {
            let mut metadata = raw.metadata.0.clean(kind)?;
            let name = Arc::clone(&metadata.name);
            metadata
                .labels
                .insert(super::NAMESPACE_NAME_LABEL.into(), name);
            Some(Object::Namespace(Namespace { metadata }))
        }
        _ => None,
    }
}

fn clean_set(kind: Kind, raw: RawSet<'_>) -> Option<Object> {
    let given = raw.metadata.0;
    let metadata = RawMetadata {
        name: given.name,
        namespace: given.namespace,
        uid: given.uid,
        resource_version: given.resource_version,
        generation: given.generation,
        labels: given.labels,
        annotations: given.annotations,
        owner_references: None,
    };
    let metadata = metadata.clean(kind)?;
    if metadata.labels.contains_key("projectcalico.org/namespace") {
        return None;
    }
    let nets = raw.spec.0.nets.iter();
    let nets = nets
        .map(|text| parse_net(&text.0).ok())
        .collect::<Option<_>>()?;
    let set = NetworkSet {
        metadata,
        nets,
        domains: Vec::new(),
    };
    Some(match kind {
        Kind::NetworkSet => Object::NetworkSet(set),
        _ => Object::GlobalNetworkSet(set),
    })
}

impl RawMetadata<'_> {
    fn clean(self, kind: Kind) -> Option<Metadata> {
        let name = self.name.0;
        let right = match kind {
            Kind::Namespace => names::is_rfc1123_label(&name),
            _ => names::is_rfc1123_subdomain(&name),
        };
        let namespace = match (kind.is_namespaced(), self.namespace) {
            (true, Some(namespace)) if names::is_rfc1123_label(&namespace.0) => {
                Some(namespace.shared())
            }
            (false, None) => None,
            _ => return None,
        };
        let labels = self.labels.unwrap_or_default().0;
        let annotations = self.annotations.unwrap_or_default().0;
        let labels_right = labels
            .iter()
            .all(|(key, value)| names::is_qualified_name(key) && names::is_label_value(value));
        let annotations_right = annotations
            .keys()
            .all(|key| names::is_qualified_name(&key.to_ascii_lowercase()));
        let bytes: usize = annotations
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if !right || !labels_right || !annotations_right || bytes > ANNOTATION_BYTES {
            return None;
        }
        if self.generation.is_some_and(|generation| generation < 0) {
            return None;
        }
        let mut owners = self.owner_references.unwrap_or_default().into_iter();
        let owner =
            owners.find_map(
                |Mapping(owner)| match (owner.controller, owner.kind, owner.name) {
                    (Some(true), Some(kind), Some(name)) => Some(Owner {
                        kind: kind.shared(),
                        name: name.shared(),
                    }),
                    _ => None,
                },
            );
        Some(Metadata {
            name: name.into(),
            namespace,
            labels,
            annotations,
            uid: self.uid.map(Text::shared),
            resource_version: self.resource_version.map(Text::shared),
            generation: self.generation,
            owner,
        })
    }
}

fn pod(metadata: Metadata, spec: RawSpec<'_>, status: RawStatus<'_>) -> Option<Pod> {
    let mut ports = Vec::new();
    for Mapping(container) in spec.init_containers.into_iter().flatten() {
        if container
            .restart_policy
            .is_some_and(|policy| policy.0 == "Always")
        {
            container_ports(container.ports, &mut ports)?;
        }
    }
    for Mapping(container) in spec.containers.into_iter().flatten() {
        container_ports(container.ports, &mut ports)?;
    }
    let mut addresses = Vec::new();
    for Mapping(entry) in status.pod_ips.into_iter().flatten() {
        if let Some(ip) = entry.ip {
            addresses.push(ip.0.parse::<IpAddr>().ok()?);
        }
    }
    if addresses.is_empty()
        && let Some(ip) = status.pod_ip.and_then(Text::not_empty)
    {
        addresses.push(ip.0.parse().ok()?);
    }
    if addresses.is_empty() {
        addresses = annotated_addresses(&metadata).ok()?;
    }
    allowed_sources(&metadata).ok()?;
    let account = spec
        .service_account_name
        .or(spec.service_account)
        .and_then(Text::not_empty);
    Some(Pod {
        metadata,
        node: spec.node_name.and_then(Text::not_empty).map(Text::shared),
        service_account: account.map_or_else(|| "default".into(), Text::shared),
        host_network: spec.host_network.unwrap_or_default(),
        finished: status
            .phase
            .is_some_and(|phase| matches!(&*phase.0, "Succeeded" | "Failed")),
        addresses,
        ports,
    })
}

fn container_ports(
    ports: Option<Vec<Mapping<RawPort<'_>>>>,
    found: &mut Vec<EndpointPort>,
) -> Option<()> {
    for Mapping(port) in ports.into_iter().flatten() {
        let number = port.container_port.filter(|number| *number > 0)?;
        let protocol = port
            .protocol
            .map_or(Some(Protocol::TCP), |text| port_protocol(&text))?;
        let name = port.name.map(Text::shared).unwrap_or_default();
        found.push(EndpointPort {
            name,
            protocol,
            port: number,
        });
    }
    Some(())
}

fn port_protocol(text: &Text<'_>) -> Option<Protocol> {
    text.0
        .parse()
        .ok()
        .filter(|protocol: &Protocol| protocol.has_ports())
}

fn workload_endpoint(metadata: Metadata, spec: RawSpec<'_>) -> Option<WorkloadEndpoint> {
    if spec.allow_spoofed_source_prefixes.is_some() {
        return None;
    }
    let mut addresses = Vec::new();
    for text in spec.ip_networks.into_iter().flatten() {
        let net = parse_net(&text.0).ok()?;
        if net.prefix_len() != net.max_prefix_len() {
            return None;
        }
        addresses.push(net.addr());
    }
    let mut ports = Vec::new();
    for Mapping(port) in spec.ports.into_iter().flatten() {
        ports.push(EndpointPort {
            name: port.name.map(Text::shared).unwrap_or_default(),
            protocol: port.protocol.as_ref().and_then(port_protocol)?,
            port: port.port.filter(|number| *number > 0)?,
        });
    }
    let mac = match spec.mac {
        Some(text) => Some(parse_mac(&text.0)?),
        None => None,
    };
    let text = |text: Option<Text<'_>>| text.and_then(Text::not_empty).map(Text::shared);
    Some(WorkloadEndpoint {
        metadata,
        node: text(spec.node)?,
        orchestrator: text(spec.orchestrator)?,
        pod: text(spec.pod),
        interface: text(spec.interface_name),
        mac,
        addresses,
        profiles: spec
            .profiles
            .into_iter()
            .flatten()
            .map(Text::shared)
            .collect(),
        service_account: text(spec.service_account_name).or_else(|| text(spec.service_account)),
        ports,
        allowed_sources: Vec::new(),
    })
}

/// A text that is borrowed from the JSON where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    fn shared(self) -> Arc<str> {
        Arc::from(&*self.0)
    }

    fn not_empty(self) -> Option<Self> {
        (!self.0.is_empty()).then_some(self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// A struct that is written as a mapping; serde's own would take a list of its fields too.
struct Mapping<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Mapping<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MappingVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for MappingVisitor<T> {
            type Value = Mapping<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Mapping<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Mapping)
            }
        }

        deserializer.deserialize_map(MappingVisitor(PhantomData))
    }
}

fn unwrapped<T: Default>(value: Option<Mapping<T>>) -> T {
    value.map(|Mapping(inner)| inner).unwrap_or_default()
}

/// Labels or annotations.
#[derive(Default)]
struct Strings(BTreeMap<Arc<str>, Arc<str>>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringsVisitor;

        impl<'de> Visitor<'de> for StringsVisitor {
            type Value = Strings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strings, A::Error> {
                let mut found = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    found.insert(key.shared(), value.shared());
                }
                Ok(Strings(found))
            }
        }

        deserializer.deserialize_map(StringsVisitor)
    }
}

#[cfg(test)]
pub(super) mod tests;
