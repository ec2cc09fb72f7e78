//! Ends of traffic as people write them.

use std::net::IpAddr;

use ocicat_analysis::End;
use ocicat_api::world::World;
use ocicat_api::{Kind, Object, ObjectKey, Protocol};

use super::world::OWNER_ANNOTATION;

/// One end, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Address(IpAddr),
    /// A host itself, by the name of its node: `host/NODE`.
    Host(String),
    /// A host itself, by one of its HostEndpoints: `hep/NAME`.
    HostEndpoint(String),
    Workload {
        /// Of `-n` without it.
        namespace: Option<String>,
        /// Pod, WorkloadEndpoint or a controller's kind; any of them without it.
        kind: Option<Kind>,
        name: String,
    },
}

/// Port and protocol, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceText {
    pub port: Option<PortText>,
    pub protocol: Option<Protocol>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortText {
    Number(u16),
    /// A port of that name, which the destination must have.
    Name(String),
    /// ICMP type and code.
    Icmp(u8, u8),
}

impl Target {
    /// Reads a workload or an address without port.
    pub fn read(text: &str) -> Result<Self, String> {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Self::Address(address));
        }
        let kind = |word: &str| Kind::parse(word).filter(|kind| runs(*kind));
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            ["host", name] if is_name(name) => return Ok(Self::Host(name.into())),
            [word, name] if Kind::parse(word) == Some(Kind::HostEndpoint) && is_name(name) => {
                return Ok(Self::HostEndpoint(name.into()));
            }
            _ => {}
        }
        let (namespace, kind, name) = match parts[..] {
            [name] => (None, None, name),
            [first, name] => match kind(first) {
                Some(kind) => (None, Some(kind), name),
                None => (Some(first), None, name),
            },
            [first, second, name] => match (kind(first), kind(second)) {
                (Some(kind), _) => (Some(second), Some(kind), name),
                (None, Some(kind)) => (Some(first), Some(kind), name),
                (None, None) => {
                    return Err(format!(
                        "{text:?}: {second:?} is no kind of workload; expected namespace/deploy/name"
                    ));
                }
            },
            _ => return Err(expected(text)),
        };
        if !is_name(name) || !namespace.is_none_or(is_name) {
            return Err(expected(text));
        }
        Ok(Self::Workload {
            namespace: namespace.map(Into::into),
            kind,
            name: name.into(),
        })
    }

    /// Reads `TARGET[:PORT[/PROTO]]`, or `TARGET/PROTO`.
    pub fn read_with_service(text: &str) -> Result<(Self, ServiceText), String> {
        if text.parse::<IpAddr>().is_ok() {
            return Ok((Self::read(text)?, ServiceText::default()));
        }
        if let Some((target, protocol)) = target_and_protocol(text) {
            let service = ServiceText {
                port: None,
                protocol: Some(read_protocol(protocol)?),
            };
            return Ok((Self::read(target)?, service));
        }
        let (target, service) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, "")) => (address, None),
            Some((address, rest)) => match rest.strip_prefix(':') {
                Some(service) => (address, Some(service)),
                None => return Err(format!("{text:?}: expected ':' after ']'")),
            },
            None => match text.split_once(':') {
                Some((_, service)) if service.contains(':') => {
                    return Err(format!(
                        "{text:?}: expected brackets around an IPv6 address: [fd00::1]:443/TCP"
                    ));
                }
                Some((target, service)) => (target, Some(service)),
                None => (text, None),
            },
        };
        let service = service.map_or(Ok(ServiceText::default()), ServiceText::read)?;
        Ok((Self::read(target)?, service))
    }

    /// The endpoints or the address that are meant; replicas of a controller are all meant.
    pub fn resolve(&self, world: &World, default_namespace: &str) -> Result<Vec<End>, String> {
        let (namespace, kind, name) = match self {
            Self::Address(address) => return Ok(vec![End::Address(*address)]),
            Self::Host(name) => return Ok(vec![End::Host(name.as_str().into())]),
            Self::HostEndpoint(name) => {
                let key = ObjectKey {
                    kind: Kind::HostEndpoint,
                    namespace: None,
                    name: name.as_str().into(),
                };
                return Ok(vec![End::HostEndpoint(key)]);
            }
            Self::Workload {
                namespace,
                kind,
                name,
            } => (
                namespace.as_deref().unwrap_or(default_namespace),
                *kind,
                name,
            ),
        };
        let there = |kind: Kind| world.get(kind, Some(namespace), name).map(Object::key);
        let kinds: Vec<Kind> = match kind {
            Some(kind) => vec![kind],
            None => [ENDPOINTS.as_slice(), CONTROLLERS.as_slice()].concat(),
        };
        let found: Vec<ObjectKey> = kinds.iter().filter_map(|kind| there(*kind)).collect();
        let Some(first) = found.first() else {
            return Err(missing(world, namespace, kind, name));
        };
        if ENDPOINTS.contains(&first.kind) {
            return Ok(vec![End::Endpoint(first.clone())]);
        }
        let pods = pods_of(world, first);
        if pods.is_empty() {
            return Err(format!("{first} has no pods"));
        }
        Ok(pods.into_iter().map(End::Endpoint).collect())
    }
}

/// Splits `TARGET/PROTO`. What may be a workload is one: `web/47` is a name and its namespace.
fn target_and_protocol(text: &str) -> Option<(&str, &str)> {
    let (target, protocol) = text.rsplit_once('/')?;
    let bare = target.strip_prefix('[');
    let bare = bare.and_then(|bare| bare.strip_suffix(']'));
    match bare.unwrap_or(target).parse() {
        // With a port in mind it would be `fd00::1:80/TCP`, which is an address too.
        Ok(IpAddr::V6(_)) if bare.is_none() => {
            let parsed = protocol.parse::<Protocol>();
            let portless = parsed.is_ok_and(|protocol| !protocol.has_ports());
            return portless.then_some((target, protocol));
        }
        Ok(_) => return Some((target, protocol)),
        Err(_) => {}
    }
    let meant = !target.contains(':')
        && protocol.parse::<Protocol>().is_ok()
        && Target::read(text).is_err()
        && Target::read(target).is_ok();
    meant.then_some((target, protocol))
}

const ENDPOINTS: [Kind; 2] = [Kind::Pod, Kind::WorkloadEndpoint];
const CONTROLLERS: [Kind; 5] = [
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::ReplicaSet,
    Kind::Job,
];

fn is_name(part: &str) -> bool {
    let middle = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    !part.is_empty() && part.len() <= 253 && part.bytes().all(middle)
}

fn runs(kind: Kind) -> bool {
    ENDPOINTS.contains(&kind) || CONTROLLERS.contains(&kind)
}

/// Pods that run, of a controller.
fn pods_of(world: &World, controller: &ObjectKey) -> Vec<ObjectKey> {
    let owner = format!("{}/{}", controller.kind.short(), controller.name);
    let made = |object: &&Object| match object {
        Object::Pod(pod) => {
            let named = pod.metadata.annotations.get(OWNER_ANNOTATION);
            pod.metadata.namespace == controller.namespace
                && !pod.finished
                && named.is_some_and(|name| **name == *owner)
        }
        _ => false,
    };
    world
        .objects
        .values()
        .filter(made)
        .map(Object::key)
        .collect()
}

fn missing(world: &World, namespace: &str, kind: Option<Kind>, name: &str) -> String {
    let what = kind.map_or("workload", |kind| kind.info().name);
    let mut names: Vec<String> = Vec::new();
    for key in world.objects.keys() {
        let here = key.namespace.as_deref() == Some(namespace);
        if here && kind.map_or(runs(key.kind), |kind| kind == key.kind) {
            names.push(format!("{}/{}", key.kind.short(), key.name));
        }
    }
    let known = world.get(Kind::Namespace, None, namespace).is_some();
    match (&names[..], known) {
        ([], false) => format!("no {what} {namespace}/{name}: there is no namespace {namespace}"),
        ([], true) => format!("no {what} {namespace}/{name}: namespace {namespace} has none"),
        (names, _) => {
            const SHOWN: usize = 12;
            let more = if names.len() > SHOWN { ", …" } else { "" };
            let list = names[..names.len().min(SHOWN)].join(", ");
            format!("no {what} {namespace}/{name}; namespace {namespace} has {list}{more}")
        }
    }
}

fn expected(text: &str) -> String {
    format!(
        "{text:?}: expected namespace/name, name, deploy/name, namespace/deploy/name, host/node, \
         hep/name or an address"
    )
}

impl ServiceText {
    /// Reads `PORT[/PROTO]`, or `PROTO` for protocols without ports. Of these a port is ignored.
    pub fn read(text: &str) -> Result<Self, String> {
        let (port, protocol) = match text.split_once('/') {
            Some((port, protocol)) => (port, Some(read_protocol(protocol)?)),
            None => (text, None),
        };
        if let (None, Ok(protocol), false) = (
            protocol,
            port.parse::<Protocol>(),
            port.starts_with(|x: char| x.is_ascii_digit()),
        ) && !protocol.has_ports()
        {
            return Ok(Self {
                port: None,
                protocol: Some(protocol),
            });
        }
        let port = match protocol {
            Some(Protocol::ICMP | Protocol::ICMPV6) => read_icmp(port)?,
            Some(protocol) if !protocol.has_ports() => {
                return Ok(Self {
                    port: None,
                    protocol: Some(protocol),
                });
            }
            _ => read_port(port)?,
        };
        Ok(Self {
            port: Some(port),
            protocol,
        })
    }
}

/// Reads a protocol's name or number.
pub fn read_protocol(text: &str) -> Result<Protocol, String> {
    text.parse().map_err(|error| format!("protocol {error}"))
}

fn read_port(text: &str) -> Result<PortText, String> {
    let wrong = || format!("port {text:?}: expected 0-65535 or the name of a port");
    if text.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        return text.parse().map(PortText::Number).map_err(|_| wrong());
    }
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if text.is_empty() || text.len() > 63 || !text.bytes().all(fine) {
        return Err(wrong());
    }
    Ok(PortText::Name(text.into()))
}

fn read_icmp(text: &str) -> Result<PortText, String> {
    let (kind, code) = text.split_once('.').unwrap_or((text, "0"));
    match (kind.parse(), code.parse()) {
        (Ok(kind), Ok(code)) => Ok(PortText::Icmp(kind, code)),
        _ => Err(format!(
            "ICMP {text:?}: expected TYPE or TYPE.CODE, each 0-255"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(namespace: Option<&str>, kind: Option<Kind>, name: &str) -> Target {
        Target::Workload {
            namespace: namespace.map(Into::into),
            kind,
            name: name.into(),
        }
    }

    #[test]
    fn ends_are_read() {
        let read = |text| Target::read(text).unwrap();
        assert_eq!(read("shop/web"), workload(Some("shop"), None, "web"));
        assert_eq!(read("web"), workload(None, None, "web"));
        assert_eq!(
            read("deploy/web"),
            workload(None, Some(Kind::Deployment), "web")
        );
        assert_eq!(
            read("shop/sts/db"),
            workload(Some("shop"), Some(Kind::StatefulSet), "db")
        );
        assert_eq!(
            read("pod/shop/web"),
            workload(Some("shop"), Some(Kind::Pod), "web")
        );
        assert_eq!(
            read("10.0.0.1"),
            Target::Address("10.0.0.1".parse().unwrap())
        );
        assert_eq!(
            read("[fd00::1]"),
            Target::Address("fd00::1".parse().unwrap())
        );
        assert_eq!(read("host/n1"), Target::Host("n1".into()));
        assert_eq!(read("hep/n1-eth0"), Target::HostEndpoint("n1-eth0".into()));
        for bad in ["", "a/b/c/d", "Shop/web", "shop/", "a/b/c"] {
            assert!(Target::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn services_are_read() {
        let read = |text| Target::read_with_service(text).unwrap().1;
        let tcp = |port| ServiceText {
            port: Some(PortText::Number(port)),
            protocol: None,
        };
        assert_eq!(read("shop/web"), ServiceText::default());
        assert_eq!(read("fd00::1"), ServiceText::default());
        assert_eq!(read("shop/web:80"), tcp(80));
        assert_eq!(read("[fd00::1]:443"), tcp(443));
        let udp = ServiceText {
            protocol: Some(Protocol::UDP),
            ..tcp(53)
        };
        assert_eq!(read("10.0.0.1:53/udp"), udp);
        assert_eq!(read("web:http").port, Some(PortText::Name("http".into())));
        let echo = ServiceText {
            port: Some(PortText::Icmp(8, 0)),
            protocol: Some(Protocol::ICMP),
        };
        assert_eq!(read("web:8/icmp"), echo);
        let ping = ServiceText { port: None, ..echo };
        for text in [
            "web:icmp",
            "web/ICMP",
            "1.1.1.1/icmp",
            "[fd00::1]/ICMP",
            "fd00::1/ICMP",
        ] {
            assert_eq!(read(text), ping, "{text}");
        }
        let gre = ServiceText {
            port: None,
            protocol: Some(Protocol(47)),
        };
        for text in ["1.2.3.9/47", "shop/web/47", "web:8/47", "1.2.3.9:x/47"] {
            assert_eq!(read(text), gre, "{text}");
        }
        assert_eq!(
            Target::read_with_service("shop/47").unwrap().0,
            workload(Some("shop"), None, "47")
        );
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (text, part) in [
            ("web:99999", "expected 0-65535"),
            ("web:80/xyz", "expected TCP, UDP"),
            ("fd00::1:80/TCP", "expected brackets"),
            ("[fd00::1]80", "expected ':'"),
            ("web:8.x/ICMP", "TYPE.CODE"),
            ("1.2.3.4/24a", "expected TCP, UDP"),
        ] {
            let error = Target::read_with_service(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
