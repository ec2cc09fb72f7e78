//! Policies as a description, and what follows from it: written after the documentation of
//! Kubernetes, without a look at the oracle.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

pub type Labels = BTreeMap<String, String>;

/// A pod of a case. It serves TCP, UDP and SCTP at ports 80 and 81, each under the name
/// `serve-PORT-PROTOCOL`.
#[derive(Debug, Clone)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub labels: Labels,
    /// IPv4 and IPv6.
    pub addresses: [IpAddr; 2],
}

/// Who is there.
#[derive(Debug, Clone, Default)]
pub struct Cast {
    pub namespaces: BTreeMap<String, Labels>,
    pub pods: Vec<Pod>,
}

#[derive(Debug, Clone)]
pub struct Policy {
    pub namespace: String,
    pub name: String,
    pub target: Pick,
    /// `None` where the policy says nothing of this direction.
    pub ingress: Option<Vec<Rule>>,
    pub egress: Option<Vec<Rule>>,
}

/// Peers × ports; no entry is every one.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    pub ports: Vec<Port>,
    pub peers: Vec<Peer>,
}

/// A label selector.
#[derive(Debug, Clone)]
pub enum Pick {
    All,
    Is(&'static str, &'static str),
    In(&'static str, &'static [&'static str]),
    NotIn(&'static str, &'static [&'static str]),
}

#[derive(Debug, Clone)]
pub enum Spaces {
    /// That of the policy.
    Own,
    Of(Pick),
}

#[derive(Debug, Clone)]
pub enum Peer {
    Pods { spaces: Spaces, pods: Pick },
    Block { net: IpNet, except: Vec<IpNet> },
}

#[derive(Debug, Clone)]
pub struct Port {
    /// `None` is TCP.
    pub protocol: Option<&'static str>,
    pub place: Where,
}

#[derive(Debug, Clone)]
pub enum Where {
    Any,
    Number(u16),
    /// Both ends included.
    Range(u16, u16),
    Named(&'static str),
}

/// One end of a packet.
#[derive(Debug, Clone, Copy)]
pub struct Side<'c> {
    pub address: IpAddr,
    /// Whose it is; `None` for an address outside.
    pub pod: Option<&'c Pod>,
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: &'static str,
    pub port: u16,
}

/// Whether the source may send it and the destination may receive it.
pub fn is_allowed<'p>(
    cast: &Cast,
    policies: impl Iterator<Item = &'p Policy> + Clone,
    source: Side<'_>,
    destination: Side<'_>,
    sent: Sent,
) -> bool {
    let leaves = source.pod.is_none_or(|pod| {
        let of_pod = policies.clone().filter(|policy| policy.selects(pod));
        let rules = of_pod.filter_map(|policy| Some((policy, policy.egress.as_ref()?)));
        opens(cast, rules, destination, destination, sent)
    });
    let enters = destination.pod.is_none_or(|pod| {
        let of_pod = policies.filter(|policy| policy.selects(pod));
        let rules = of_pod.filter_map(|policy| Some((policy, policy.ingress.as_ref()?)));
        opens(cast, rules, source, destination, sent)
    });
    leaves && enters
}

/// Whether no policy governs the direction, or some rule allows it.
fn opens<'p>(
    cast: &Cast,
    governing: impl Iterator<Item = (&'p Policy, &'p Vec<Rule>)>,
    far: Side<'_>,
    destination: Side<'_>,
    sent: Sent,
) -> bool {
    let mut governing = governing.peekable();
    if governing.peek().is_none() {
        return true;
    }
    let mut rules = governing.flat_map(|(policy, rules)| rules.iter().map(move |x| (policy, x)));
    rules.any(|(policy, rule)| {
        let mut peers = rule.peers.iter();
        let mut ports = rule.ports.iter();
        let by_peer = rule.peers.is_empty() || peers.any(|peer| peer.is(cast, policy, far));
        let by_port = rule.ports.is_empty() || ports.any(|port| port.is(destination, sent));
        by_peer && by_port
    })
}

impl Policy {
    pub fn new(namespace: &str, name: &str, target: Pick) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            target,
            ingress: None,
            egress: None,
        }
    }

    fn selects(&self, pod: &Pod) -> bool {
        self.namespace == pod.namespace && self.target.holds(&pod.labels)
    }
}

impl Pick {
    fn holds(&self, labels: &Labels) -> bool {
        let value = |label: &str| labels.get(label).map(String::as_str);
        match self {
            Self::All => true,
            Self::Is(label, wanted) => value(label) == Some(*wanted),
            Self::In(label, wanted) => value(label).is_some_and(|value| wanted.contains(&value)),
            Self::NotIn(label, wanted) => !value(label).is_some_and(|x| wanted.contains(&x)),
        }
    }
}

impl Peer {
    pub fn block(net: &str, except: &[&str]) -> Self {
        let net_of = |text: &str| text.parse().expect("a net that is written here");
        Self::Block {
            net: net_of(net),
            except: except.iter().map(|text| net_of(text)).collect(),
        }
    }

    fn is(&self, cast: &Cast, policy: &Policy, far: Side<'_>) -> bool {
        match self {
            Self::Block { net, except } => {
                let excepted = except.iter().any(|net| net.contains(&far.address));
                net.contains(&far.address) && !excepted
            }
            Self::Pods { spaces, pods } => far.pod.is_some_and(|pod| {
                let in_space = match spaces {
                    Spaces::Own => pod.namespace == policy.namespace,
                    Spaces::Of(pick) => cast
                        .namespaces
                        .get(&pod.namespace)
                        .is_some_and(|labels| pick.holds(labels)),
                };
                in_space && pods.holds(&pod.labels)
            }),
        }
    }
}

impl Port {
    /// A port of TCP, which goes without saying.
    pub fn number(port: u16) -> Self {
        Self {
            protocol: None,
            place: Where::Number(port),
        }
    }

    pub fn udp(name: &'static str) -> Self {
        Self {
            protocol: Some("UDP"),
            place: Where::Named(name),
        }
    }

    fn is(&self, destination: Side<'_>, sent: Sent) -> bool {
        if self.protocol.unwrap_or("TCP") != sent.protocol {
            return false;
        }
        match self.place {
            Where::Any => true,
            Where::Number(port) => port == sent.port,
            Where::Range(first, last) => (first..=last).contains(&sent.port),
            Where::Named(name) => {
                let served = format!("serve-{}-{}", sent.port, sent.protocol.to_lowercase());
                destination.pod.is_some() && served == name
            }
        }
    }
}

/// `TCP 81`, `any port`, `UDP serve-80-udp`, `SCTP 80-81`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(protocol) = self.protocol {
            write!(f, "{protocol} ")?;
        }
        match self.place {
            Where::Any => f.write_str("any port"),
            Where::Number(port) => write!(f, "{port}"),
            Where::Range(first, last) => write!(f, "{first}-{last}"),
            Where::Named(name) => f.write_str(name),
        }
    }
}
