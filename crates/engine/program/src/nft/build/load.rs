//! What rules can load.

use super::super::expression::{CtKey, Expression, MetaKey, PayloadBase, Register};
use super::super::value::KeyType;

/// Something a rule can load: a property of the packet or of its connection, or bytes of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    source: Source,
    key_type: KeyType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Meta(MetaKey),
    Ct(CtKey),
    Payload { base: PayloadBase, offset: u32 },
}

impl Load {
    /// The type of what is loaded, as a field of a set's key.
    #[must_use]
    pub const fn key_type(self) -> KeyType {
        self.key_type
    }

    const fn meta(key: MetaKey, key_type: KeyType) -> Self {
        Self {
            source: Source::Meta(key),
            key_type,
        }
    }

    const fn header(base: PayloadBase, offset: u32, key_type: KeyType) -> Self {
        Self {
            source: Source::Payload { base, offset },
            key_type,
        }
    }

    /// The expression that loads it.
    pub(super) fn load(self, to: Register) -> Expression {
        self.prefix(to, self.key_type.len())
    }

    /// Loads only the first `len` bytes where that is possible.
    pub(super) fn prefix(self, to: Register, len: usize) -> Expression {
        match self.source {
            Source::Meta(key) => Expression::MetaLoad { key, to },
            Source::Ct(key) => Expression::CtLoad {
                key,
                direction: None,
                to,
            },
            Source::Payload { base, offset } => {
                // No key type is longer than 255 bytes.
                let len = u32::try_from(len).unwrap_or(u32::MAX);
                Expression::PayloadLoad {
                    base,
                    offset,
                    len,
                    to,
                }
            }
        }
    }
}

/// `iifname`
pub const IIFNAME: Load = Load::meta(MetaKey::IifName, KeyType::IfName);
/// `oifname`
pub const OIFNAME: Load = Load::meta(MetaKey::OifName, KeyType::IfName);
/// `iif`
pub const IIF: Load = Load::meta(MetaKey::Iif, KeyType::IfaceIndex);
/// `oif`
pub const OIF: Load = Load::meta(MetaKey::Oif, KeyType::IfaceIndex);
/// `meta priority`
pub const PRIORITY: Load = Load::meta(MetaKey::Priority, KeyType::ClassId);
/// `meta mark`
pub const MARK: Load = Load::meta(MetaKey::Mark, KeyType::Mark);
/// `ct mark`
pub const CT_MARK: Load = Load {
    source: Source::Ct(CtKey::Mark),
    key_type: KeyType::Mark,
};
/// `meta l4proto`
pub const L4PROTO: Load = Load::meta(MetaKey::L4Proto, KeyType::InetProto);
/// `meta protocol`
pub const PROTOCOL: Load = Load::meta(MetaKey::Protocol, KeyType::EtherType);
/// `ether daddr`
pub const ETHER_DADDR: Load = Load::header(PayloadBase::Link, 0, KeyType::EtherAddr);
/// `ether saddr`
pub const ETHER_SADDR: Load = Load::header(PayloadBase::Link, 6, KeyType::EtherAddr);
/// `ether type`
pub const ETHER_TYPE: Load = Load::header(PayloadBase::Link, 12, KeyType::EtherType);
/// `ip protocol`
pub const IP_PROTOCOL: Load = Load::header(PayloadBase::Network, 9, KeyType::InetProto);
/// `ip saddr`
pub const IP_SADDR: Load = Load::header(PayloadBase::Network, 12, KeyType::Ipv4Addr);
/// `ip daddr`
pub const IP_DADDR: Load = Load::header(PayloadBase::Network, 16, KeyType::Ipv4Addr);
/// `ip6 saddr`
pub const IP6_SADDR: Load = Load::header(PayloadBase::Network, 8, KeyType::Ipv6Addr);
/// `ip6 daddr`
pub const IP6_DADDR: Load = Load::header(PayloadBase::Network, 24, KeyType::Ipv6Addr);
/// `th sport`, and `tcp sport` or `udp sport` after [`l4proto`].
pub const TH_SPORT: Load = Load::header(PayloadBase::Transport, 0, KeyType::InetService);
/// `th dport`, and `tcp dport` or `udp dport` after [`l4proto`].
pub const TH_DPORT: Load = Load::header(PayloadBase::Transport, 2, KeyType::InetService);
/// `icmp type`
pub const ICMP_TYPE: Load = Load::header(PayloadBase::Transport, 0, KeyType::IcmpType);
/// `icmp code`
pub const ICMP_CODE: Load = Load::header(PayloadBase::Transport, 1, KeyType::IcmpCode);
/// `icmpv6 type`
pub const ICMPV6_TYPE: Load = Load::header(PayloadBase::Transport, 0, KeyType::Icmpv6Type);
/// `icmpv6 code`
pub const ICMPV6_CODE: Load = Load::header(PayloadBase::Transport, 1, KeyType::Icmpv6Code);

/// `ct state` bit: part of no connection that makes sense.
pub const CT_STATE_INVALID: u32 = 1;
/// `ct state` bit: seen in both directions.
pub const CT_STATE_ESTABLISHED: u32 = 2;
/// `ct state` bit: begun by another connection, or an error about one.
pub const CT_STATE_RELATED: u32 = 4;
/// `ct state` bit: the first packet.
pub const CT_STATE_NEW: u32 = 8;
/// `ct state` bit: kept out of connection tracking.
pub const CT_STATE_UNTRACKED: u32 = 64;

/// `ct status` bit: the source is translated.
pub const CT_STATUS_SNAT: u32 = 1 << 4;
/// `ct status` bit: the destination is translated.
pub const CT_STATUS_DNAT: u32 = 1 << 5;
