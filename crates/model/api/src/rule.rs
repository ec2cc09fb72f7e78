//! Rules of the `projectcalico.org/v3` policy kinds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_selector::Selector;

use crate::{Family, PortSpec, Problem, Protocol};

/// What a rule does with a packet that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    Allow,
    Deny,
    Log,
    Pass,
}

/// One rule. All present parts are ANDed; entries within a list are ORed.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// An action that cannot be read is `Deny`, with a problem in `unreadable`.
    pub action: Action,
    pub ip_version: Option<Family>,
    pub protocol: Option<Protocol>,
    pub not_protocol: Option<Protocol>,
    pub icmp: Option<Icmp>,
    pub not_icmp: Option<Icmp>,
    pub source: EntityRule,
    pub destination: EntityRule,
    /// Only in ingress Allow rules for TCP. Nothing enforces it yet, so it is noted in `unreadable`
    /// too and the rule matches nothing.
    pub http: Option<HttpMatch>,
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// Parts that could not be understood, unknown fields, and fields that nothing enforces yet
    /// (`http`, `domains`) included. If there are any,
    /// the rule fails closed: Allow and Log match nothing; Deny and Pass deny whatever the rest
    /// of the rule matches.
    pub unreadable: Vec<Problem>,
}

impl Rule {
    /// The rule that matches everything.
    #[must_use]
    pub fn of(action: Action) -> Self {
        Self {
            action,
            ip_version: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: EntityRule::default(),
            destination: EntityRule::default(),
            http: None,
            annotations: BTreeMap::new(),
            unreadable: Vec::new(),
        }
    }
}

/// `icmp` and `notICMP`. Code needs type; type alone means any code; neither means any ICMP.
/// Matches ICMP for IPv4 packets and ICMPv6 for IPv6 packets, as the rule's protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    pub icmp_type: Option<u8>,
    pub code: Option<u8>,
}

/// `source` or `destination` of a rule. Empty lists are absent lists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EntityRule {
    /// Host bits are cleared.
    pub nets: Vec<IpNet>,
    pub not_nets: Vec<IpNet>,
    pub selector: Option<Selector>,
    pub not_selector: Option<Selector>,
    /// As written; `all()` and `global()` have the meaning that `semantics` gives them here.
    pub namespace_selector: Option<Selector>,
    pub service_accounts: Option<ServiceAccountMatch>,
    pub ports: Vec<PortSpec>,
    pub not_ports: Vec<PortSpec>,
    /// `services`: in the destination of an egress rule the endpoints of the service with their
    /// ports, in the source of an ingress rule their addresses. Not together with selectors, nets
    /// or ports.
    pub service: Option<ServiceMatch>,
    /// `domains`, lower case, without the last dot; `*.` in front is any name below. Nobody
    /// observes names yet, so they are noted in [`Rule::unreadable`] too.
    pub domains: Vec<Arc<str>>,
}

/// `services`: one service by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceMatch {
    /// In a NetworkPolicy the policy's namespace if none is written; a GlobalNetworkPolicy or
    /// Profile must name it.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// `http`: methods and paths are ANDed; the entries of each are ORed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpMatch {
    pub methods: Vec<Arc<str>>,
    pub paths: Vec<HttpPath>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpPath {
    Exact(Arc<str>),
    Prefix(Arc<str>),
}

/// `serviceAccounts`: `names` and `selector` are ANDed.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceAccountMatch {
    /// Empty: any name.
    pub names: Vec<Arc<str>>,
    pub selector: Option<Selector>,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
            Self::Log => "Log",
            Self::Pass => "Pass",
        })
    }
}
