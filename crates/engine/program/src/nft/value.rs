//! Typed values of set keys and map data.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The type of one field of a key, or of a map's data. Numbers are those of the `nft` program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// `ipv4_addr`
    Ipv4Addr,
    /// `ipv6_addr`
    Ipv6Addr,
    /// `ether_addr`
    EtherAddr,
    /// `ether_type`
    EtherType,
    /// `inet_proto`
    InetProto,
    /// `inet_service`: a port.
    InetService,
    /// `icmp_type`
    IcmpType,
    /// `icmp_code`
    IcmpCode,
    /// `icmpv6_type`
    Icmpv6Type,
    /// `icmpv6_code`
    Icmpv6Code,
    /// `mark`: of a packet or a connection.
    Mark,
    /// `classid`: what `meta priority` holds, printed `major:minor`.
    ClassId,
    /// `iface_index`
    IfaceIndex,
    /// `ifname`
    IfName,
    /// A type this crate does not name.
    Other {
        /// The number `nft` gives it.
        id: u8,
        /// Bytes of a value.
        len: u8,
    },
}

impl KeyType {
    /// The number the `nft` program gives this type (`enum datatypes`), below 64.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::EtherAddr => 9,
            Self::EtherType => 10,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::IcmpType => 14,
            Self::Mark => 19,
            Self::IfaceIndex => 20,
            Self::ClassId => 23,
            Self::Icmpv6Type => 29,
            Self::IcmpCode => 32,
            Self::Icmpv6Code => 33,
            Self::IfName => 41,
            Self::Other { id, .. } => id,
        }
    }

    /// The type of a number, or [`KeyType::Other`] with `len`.
    #[must_use]
    pub const fn from_id(id: u8, len: u8) -> Self {
        match id {
            7 => Self::Ipv4Addr,
            8 => Self::Ipv6Addr,
            9 => Self::EtherAddr,
            10 => Self::EtherType,
            12 => Self::InetProto,
            13 => Self::InetService,
            14 => Self::IcmpType,
            19 => Self::Mark,
            20 => Self::IfaceIndex,
            23 => Self::ClassId,
            29 => Self::Icmpv6Type,
            32 => Self::IcmpCode,
            33 => Self::Icmpv6Code,
            41 => Self::IfName,
            _ => Self::Other { id, len },
        }
    }

    /// Bytes of a value, without padding.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::InetProto
            | Self::IcmpType
            | Self::IcmpCode
            | Self::Icmpv6Type
            | Self::Icmpv6Code => 1,
            Self::EtherType | Self::InetService => 2,
            Self::Ipv4Addr | Self::Mark | Self::ClassId | Self::IfaceIndex => 4,
            Self::EtherAddr => 6,
            Self::Ipv6Addr | Self::IfName => 16,
            Self::Other { len, .. } => len as usize,
        }
    }

    /// Whether the type has no bytes; only an [`KeyType::Other`] can.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether packets and registers hold it in the byte order of the host.
    ///
    /// The keys of interval sets are ordered bytewise, so there such a field is stored big-endian and
    /// a rule must convert it before the look-up.
    #[must_use]
    pub const fn is_host_order(self) -> bool {
        matches!(
            self,
            Self::Mark | Self::ClassId | Self::IfaceIndex | Self::IfName
        )
    }

    /// Whether an interval set stores it big-endian although registers hold it in host order.
    #[must_use]
    pub const fn needs_swap(self) -> bool {
        matches!(self, Self::Mark | Self::ClassId | Self::IfaceIndex)
    }
}

/// A value of one field of a key, or of a map's data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// An IPv4 address.
    Ipv4Addr(Ipv4Addr),
    /// An IPv6 address.
    Ipv6Addr(Ipv6Addr),
    /// An Ethernet address.
    EtherAddr([u8; 6]),
    /// An Ethernet protocol.
    EtherType(u16),
    /// An IP protocol.
    InetProto(u8),
    /// A port.
    InetService(u16),
    /// An ICMP type.
    IcmpType(u8),
    /// An ICMP code.
    IcmpCode(u8),
    /// An `ICMPv6` type.
    Icmpv6Type(u8),
    /// An `ICMPv6` code.
    Icmpv6Code(u8),
    /// A packet or connection mark.
    Mark(u32),
    /// A traffic-control class: what `meta priority` holds.
    ClassId(u32),
    /// An interface's index.
    IfaceIndex(u32),
    /// An interface's name.
    IfName(IfName),
    /// A value of a type this crate does not name: the number of the type, and its bytes.
    Other(u8, Box<[u8]>),
}

impl Value {
    /// The type of this value. One of more than 255 bytes has none that a set could have.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        match self {
            Self::Ipv4Addr(_) => KeyType::Ipv4Addr,
            Self::Ipv6Addr(_) => KeyType::Ipv6Addr,
            Self::EtherAddr(_) => KeyType::EtherAddr,
            Self::EtherType(_) => KeyType::EtherType,
            Self::InetProto(_) => KeyType::InetProto,
            Self::InetService(_) => KeyType::InetService,
            Self::IcmpType(_) => KeyType::IcmpType,
            Self::IcmpCode(_) => KeyType::IcmpCode,
            Self::Icmpv6Type(_) => KeyType::Icmpv6Type,
            Self::Icmpv6Code(_) => KeyType::Icmpv6Code,
            Self::Mark(_) => KeyType::Mark,
            Self::ClassId(_) => KeyType::ClassId,
            Self::IfaceIndex(_) => KeyType::IfaceIndex,
            Self::IfName(_) => KeyType::IfName,
            Self::Other(id, bytes) => KeyType::Other {
                id: *id,
                len: u8::try_from(bytes.len()).unwrap_or(u8::MAX),
            },
        }
    }

    /// Appends the bytes as a register holds them, without padding.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ipv4Addr(a) => out.extend_from_slice(&a.octets()),
            Self::Ipv6Addr(a) => out.extend_from_slice(&a.octets()),
            Self::EtherAddr(a) => out.extend_from_slice(a),
            Self::EtherType(n) | Self::InetService(n) => out.extend_from_slice(&n.to_be_bytes()),
            Self::InetProto(n)
            | Self::IcmpType(n)
            | Self::IcmpCode(n)
            | Self::Icmpv6Type(n)
            | Self::Icmpv6Code(n) => out.push(*n),
            Self::Mark(n) | Self::ClassId(n) | Self::IfaceIndex(n) => {
                out.extend_from_slice(&n.to_ne_bytes());
            }
            Self::IfName(name) => out.extend_from_slice(name.padded()),
            Self::Other(_, bytes) => out.extend_from_slice(bytes),
        }
    }

    /// Appends the bytes in an order in which comparing bytes compares values: what the keys of
    /// interval sets hold.
    pub fn write_ordered(&self, out: &mut Vec<u8>) {
        match self {
            Self::Mark(n) | Self::ClassId(n) | Self::IfaceIndex(n) => {
                out.extend_from_slice(&n.to_be_bytes());
            }
            other => other.write(out),
        }
    }

    /// The value that [`Value::write`] wrote, or `None` if `bytes` is not of the type's length or not
    /// one of its values.
    #[must_use]
    pub fn read(key_type: KeyType, bytes: &[u8]) -> Option<Self> {
        Some(match key_type {
            KeyType::Ipv4Addr => Self::Ipv4Addr(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
            KeyType::Ipv6Addr => Self::Ipv6Addr(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
            KeyType::EtherAddr => Self::EtherAddr(bytes.try_into().ok()?),
            KeyType::EtherType => Self::EtherType(u16::from_be_bytes(bytes.try_into().ok()?)),
            KeyType::InetService => Self::InetService(u16::from_be_bytes(bytes.try_into().ok()?)),
            KeyType::InetProto => Self::InetProto(one(bytes)?),
            KeyType::IcmpType => Self::IcmpType(one(bytes)?),
            KeyType::IcmpCode => Self::IcmpCode(one(bytes)?),
            KeyType::Icmpv6Type => Self::Icmpv6Type(one(bytes)?),
            KeyType::Icmpv6Code => Self::Icmpv6Code(one(bytes)?),
            KeyType::Mark => Self::Mark(u32::from_ne_bytes(bytes.try_into().ok()?)),
            KeyType::ClassId => Self::ClassId(u32::from_ne_bytes(bytes.try_into().ok()?)),
            KeyType::IfaceIndex => Self::IfaceIndex(u32::from_ne_bytes(bytes.try_into().ok()?)),
            KeyType::IfName => Self::IfName(IfName::from_padded(bytes)?),
            KeyType::Other { id, len } => {
                if bytes.len() != usize::from(len) {
                    return None;
                }
                Self::Other(id, bytes.into())
            }
        })
    }

    /// The value that [`Value::write_ordered`] wrote.
    #[must_use]
    pub fn read_ordered(key_type: KeyType, bytes: &[u8]) -> Option<Self> {
        Some(match key_type {
            KeyType::Mark => Self::Mark(u32::from_be_bytes(bytes.try_into().ok()?)),
            KeyType::ClassId => Self::ClassId(u32::from_be_bytes(bytes.try_into().ok()?)),
            KeyType::IfaceIndex => Self::IfaceIndex(u32::from_be_bytes(bytes.try_into().ok()?)),
            other => return Self::read(other, bytes),
        })
    }
}

/// The name of a network interface: 1 to 15 bytes without NUL, `/`, `:` or white space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName([u8; 16]);

/// Said of a text that cannot be the name of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidIfName(pub String);

impl IfName {
    /// The name, if the kernel could give it to an interface.
    ///
    /// # Errors
    ///
    /// [`InvalidIfName`] for a text that is empty, longer than 15 bytes, `.`, `..`, or holds a byte
    /// that names may not (`dev_valid_name` of the kernel's `net/core/dev.c`).
    pub fn new(name: &str) -> Result<Self, InvalidIfName> {
        let bytes = name.as_bytes();
        let forbidden =
            |b: &u8| matches!(b, 0 | b'/' | b':') || b.is_ascii_whitespace() || *b == 0x0b;
        if bytes.is_empty()
            || bytes.len() > 15
            || name == "."
            || name == ".."
            || bytes.iter().any(forbidden)
        {
            return Err(InvalidIfName(name.to_owned()));
        }
        let mut padded = [0; 16];
        padded[..bytes.len()].copy_from_slice(bytes);
        Ok(Self(padded))
    }

    /// The name without padding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        &self.0[..len]
    }

    fn padded(&self) -> &[u8; 16] {
        &self.0
    }

    /// From 16 bytes of a key; bytes after the first NUL must be zero. An empty name is read, because
    /// the kernel's sets may hold one.
    fn from_padded(bytes: &[u8]) -> Option<Self> {
        let padded: [u8; 16] = bytes.try_into().ok()?;
        let len = padded.iter().position(|b| *b == 0)?;
        padded[len..]
            .iter()
            .all(|b| *b == 0)
            .then_some(Self(padded))
    }
}

impl std::str::FromStr for IfName {
    type Err = InvalidIfName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IfName({:?})", String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Display for InvalidIfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not the name of an interface: 1 to 15 bytes without '/', ':' or white space",
            self.0
        )
    }
}

impl std::error::Error for InvalidIfName {}

fn one(bytes: &[u8]) -> Option<u8> {
    <[u8; 1]>::try_from(bytes).ok().map(|[b]| b)
}
