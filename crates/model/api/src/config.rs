//! Configuration that people write as resources: of hosts, and of what watches over all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use ocicat_selector::Selector;

use crate::{Metadata, Protocol};

/// `projectcalico.org/v3` FelixConfiguration. Named `default` it is for all hosts; named `node.NAME`
/// for one, where each field that it sets goes before that of `default`.
///
/// A field that is absent is `None`. A field that has no effect here is in `ignored`, so that it can
/// be reported; its value is not read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FelixConfiguration {
    pub metadata: Metadata,
    pub default_endpoint_to_host: Option<EndpointToHost>,
    /// `nftablesFilterDenyAction`, or `iptablesFilterDenyAction` without it.
    pub deny_action: Option<DenyAction>,
    pub failsafe_inbound: Option<Vec<Failsafe>>,
    pub failsafe_outbound: Option<Vec<Failsafe>>,
    /// `workloadSourceSpoofing`.
    pub source_spoofing: Option<SourceSpoofing>,
    /// `logPrefix`, 1–127 bytes. Default `calico-packet`.
    pub log_prefix: Option<Arc<str>>,
    /// `nftablesRefreshInterval`, or `iptablesRefreshInterval` without it, in milliseconds; 0 is
    /// never. Default 90,000.
    pub refresh_interval_ms: Option<u64>,
    /// `interfacePrefix`: prefixes of workload interfaces besides our own.
    pub interface_prefixes: Option<Vec<Arc<str>>>,
    /// `nftablesMarkMask`, or `iptablesMarkMask` without it.
    pub mark_mask: Option<u32>,
    /// Fields that are set, known to Calico, and have no effect here; sorted.
    pub ignored: Vec<Arc<str>>,
}

/// `defaultEndpointToHostAction`: what happens to packets of a workload to its own host after its
/// egress policy allowed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointToHost {
    Drop,
    /// Goes on to the host's own policy and rules of others.
    Return,
    Accept,
}

/// What happens to a packet that policy denies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DenyAction {
    #[default]
    Drop,
    /// With an ICMP error, or a TCP reset.
    Reject,
}

/// Whether workloads may ask, by an annotation, to send from addresses that are not theirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceSpoofing {
    #[default]
    Disabled,
    Any,
}

/// A port of a host that no policy closes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Failsafe {
    /// TCP, UDP or SCTP; default TCP.
    pub protocol: Protocol,
    pub port: u16,
    /// The far addresses that it is open for; `None` for all.
    pub net: Option<IpNet>,
}

impl Failsafe {
    /// Ports that are open to a host where no configuration says otherwise.
    #[must_use]
    pub fn default_inbound() -> Vec<Self> {
        let tcp = [22, 179, 2379, 2380, 5473, 6443, 6666, 6667];
        Self::all(&tcp, &[68])
    }

    /// Ports that are open from a host where no configuration says otherwise.
    #[must_use]
    pub fn default_outbound() -> Vec<Self> {
        let tcp = [179, 2379, 2380, 5473, 6443, 6666, 6667];
        Self::all(&tcp, &[53, 67])
    }

    fn all(tcp: &[u16], udp: &[u16]) -> Vec<Self> {
        let of = |protocol: Protocol, port: &u16| Self {
            protocol,
            port: *port,
            net: None,
        };
        let tcp = tcp.iter().map(|port| of(Protocol::TCP, port));
        tcp.chain(udp.iter().map(|port| of(Protocol::UDP, port)))
            .collect()
    }
}

/// `projectcalico.org/v3` KubeControllersConfiguration, as far as it makes host endpoints. Only the
/// one named `default` counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KubeControllersConfiguration {
    pub metadata: Metadata,
    /// `controllers.node.hostEndpoint.autoCreate` is Enabled.
    pub auto_host_endpoints: bool,
    /// `createDefaultHostEndpoint` is not Disabled: each host gets `NODE-auto-hep` for all its
    /// interfaces.
    pub default_host_endpoint: bool,
    pub templates: Vec<HostEndpointTemplate>,
    /// Fields that are set, known to Calico, and have no effect here; sorted.
    pub ignored: Vec<Arc<str>>,
}

/// Host endpoints to make for each host that is selected.
#[derive(Debug, Clone, PartialEq)]
pub struct HostEndpointTemplate {
    /// The endpoint is named `NODE-GENERATENAME-auto-hep`.
    pub generate_name: Arc<str>,
    /// Of a host's address to be one of `expectedIPs`; empty for none.
    pub interface_cidrs: Vec<IpNet>,
    /// A regular expression of interface names; a host endpoint for each interface that matches.
    pub interface_pattern: Option<Arc<str>>,
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    pub node_selector: Selector,
}
