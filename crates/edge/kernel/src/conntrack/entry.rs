//! What an entry of the connection table says.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::Key;

/// Bits of [`Entry::status`], from `nf_conntrack_common.h`.
pub mod status {
    /// Packets went both ways.
    pub const SEEN_REPLY: u32 = 1 << 1;
    /// It will not be dropped early under pressure.
    pub const ASSURED: u32 = 1 << 2;
    /// Its first packet left the host.
    pub const CONFIRMED: u32 = 1 << 3;
    /// Its source is translated.
    pub const SRC_NAT: u32 = 1 << 4;
    /// Its destination is translated.
    pub const DST_NAT: u32 = 1 << 5;
    /// It is on its way out.
    pub const DYING: u32 = 1 << 9;
}

/// An entry of the connection table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The first packet's tuple, as it arrived.
    pub original: Tuple,
    /// The tuple its replies have; the original turned around, unless translated.
    pub reply: Tuple,
    /// Bits of [`status`].
    pub status: u32,
    /// The connection mark.
    pub mark: u32,
    /// The conntrack zone; 0 unless rules set one.
    pub zone: u16,
    /// The kernel's number for this entry; another connection with the same tuple has another.
    pub id: u32,
    /// Seconds until it ends without packets.
    pub timeout_s: Option<u32>,
    /// State of a TCP connection, a number of `nf_conntrack_tcp.h` (3 is established).
    pub tcp_state: Option<u8>,
    /// A TCP connection that was there before it was tracked (both sides have
    /// `IP_CT_TCP_FLAG_BE_LIBERAL`): which side began it is not known, and `original` is the direction of
    /// the first packet that was seen.
    pub picked_up: bool,
    /// What the originator sent, if accounting was on when it began.
    pub sent: Option<Counters>,
    /// What came back, if accounting was on when it began.
    pub received: Option<Counters>,
}

/// Source, destination and protocol of the packets of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Where they come from.
    pub source: IpAddr,
    /// Where they go.
    pub destination: IpAddr,
    /// The protocol number.
    pub protocol: u8,
    /// What tells connections of the two addresses apart.
    pub layer4: Layer4,
}

/// What tells connections between two addresses apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer4 {
    /// TCP, UDP, SCTP, DCCP, UDP-Lite.
    Ports {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// ICMP of either family.
    Icmp {
        /// Message type.
        kind: u8,
        /// Message code.
        code: u8,
        /// Identifier of an echo.
        id: u16,
    },
    /// Any other protocol.
    None,
}

/// What one direction carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes, with IP headers.
    pub bytes: u64,
}

impl Tuple {
    /// The tuple of answers, where nothing is translated. Types of ICMP stay as they are.
    #[must_use]
    pub fn turned(&self) -> Self {
        let layer4 = match self.layer4 {
            Layer4::Ports {
                source,
                destination,
            } => Layer4::Ports {
                source: destination,
                destination: source,
            },
            other => other,
        };
        Self {
            source: self.destination,
            destination: self.source,
            layer4,
            ..*self
        }
    }
}

impl Entry {
    /// What names this entry to the kernel.
    #[must_use]
    pub fn key(&self) -> Key {
        Key {
            original: self.original,
            zone: self.zone,
            id: Some(self.id),
        }
    }

    /// The four addresses: of the original tuple, then of the reply.
    #[must_use]
    pub fn addresses(&self) -> [IpAddr; 4] {
        [
            self.original.source,
            self.original.destination,
            self.reply.source,
            self.reply.destination,
        ]
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            destination,
            protocol,
            layer4,
        } = *self;
        match layer4 {
            Layer4::Ports {
                source: from,
                destination: to,
            } => {
                let from = SocketAddr::new(source, from);
                let to = SocketAddr::new(destination, to);
                write!(f, "protocol {protocol} {from} > {to}")
            }
            Layer4::Icmp { kind, code, id } => write!(
                f,
                "protocol {protocol} {source} > {destination} type {kind} code {code} id {id}"
            ),
            Layer4::None => write!(f, "protocol {protocol} {source} > {destination}"),
        }
    }
}
