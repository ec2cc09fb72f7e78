//! What of the program can be chosen.

use ipnet::IpNet;
use ocicat_node::Protocol;

/// Bytes of a log prefix that go to the kernel, so that a number and a word fit behind it.
const PREFIX_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The names of all workload interfaces begin so; at most 12 bytes.
    pub interface_prefix: String,
    /// Other beginnings of names of workload interfaces; at most 14 bytes each. What is not attached
    /// there is dropped.
    pub other_prefixes: Vec<String>,
    /// Bits of the conntrack mark and of the packet mark that are ours. At least three must be set;
    /// others are left alone.
    pub mark_mask: u32,
    /// NFLOG group of denied packets (`nfnetlink_log.h`).
    pub deny_group: u16,
    /// NFLOG group of packets that a Log rule matched and that were allowed.
    pub log_group: u16,
    /// What the prefix of NFLOG messages begins with.
    pub log_prefix: String,
    pub deny_action: DenyAction,
    /// What happens to packets of a workload to its own host after its egress policy allowed them.
    pub endpoint_to_host: EndpointToHost,
    /// Ports of the host that no policy of host endpoints closes.
    pub failsafe_inbound: Vec<Failsafe>,
    /// Ports of others that no policy of host endpoints closes to the host.
    pub failsafe_outbound: Vec<Failsafe>,
    /// What workloads may send from besides their addresses.
    pub sources: Vec<Source>,
}

/// Something that a workload may send from besides its addresses. It is judged as if it came from its
/// first address of that family; rules that ask about the near side see that one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Host-side interface.
    pub interface: String,
    /// MAC of the workload's side.
    pub mac: [u8; 6],
    pub net: IpNet,
}

/// `defaultEndpointToHostAction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointToHost {
    Accept,
    Drop,
}

/// What happens to a packet that policy denies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DenyAction {
    #[default]
    Drop,
    /// A TCP reset, or the ICMP error "administratively prohibited".
    Reject,
}

/// A port that no policy of host endpoints closes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failsafe {
    /// One that has ports.
    pub protocol: Protocol,
    pub port: u16,
    /// The far addresses that it is open for; `None` for all.
    pub net: Option<IpNet>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interface_prefix: "ocw".to_owned(),
            other_prefixes: Vec::new(),
            mark_mask: 0xe000_0000,
            deny_group: 7,
            log_group: 8,
            log_prefix: "calico-packet".to_owned(),
            deny_action: DenyAction::Drop,
            endpoint_to_host: EndpointToHost::Drop,
            failsafe_inbound: Vec::new(),
            failsafe_outbound: Vec::new(),
            sources: Vec::new(),
        }
    }
}

impl Config {
    /// The bit of the conntrack mark that ends a connection: the highest of the mask.
    #[must_use]
    pub fn ended(&self) -> u32 {
        highest(self.mark_mask)
    }

    /// The bit of the conntrack mark that says policy has allowed this connection.
    #[must_use]
    pub fn decided(&self) -> u32 {
        highest(self.mark_mask & !self.ended())
    }

    /// The bit of the packet mark that says that the side on which the packet came in has allowed it.
    #[must_use]
    pub fn passed(&self) -> u32 {
        highest(self.mark_mask & !self.ended() & !self.decided())
    }

    /// What the workload of an interface may send from besides its addresses.
    pub fn sources_of(&self, interface: &str) -> impl Iterator<Item = &Source> {
        let sources = self.sources.iter();
        sources.filter(move |source| source.interface == interface)
    }

    /// Whether an interface of that name is a workload's.
    #[must_use]
    pub fn is_workload(&self, interface: &str) -> bool {
        self.prefixes().any(|prefix| interface.starts_with(prefix))
    }

    pub(crate) fn prefixes(&self) -> impl Iterator<Item = &str> {
        let own = std::iter::once(&self.interface_prefix);
        own.chain(&self.other_prefixes).map(String::as_str)
    }

    /// The log prefix as far as there is room for it.
    pub(crate) fn kernel_prefix(&self) -> String {
        let mut text = self.log_prefix.clone();
        while text.len() > PREFIX_MAX {
            text.pop();
        }
        text
    }
}

fn highest(mask: u32) -> u32 {
    mask.checked_ilog2().map_or(0, |bit| 1 << bit)
}
