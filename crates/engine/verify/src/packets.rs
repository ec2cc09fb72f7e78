//! Many packets at once: a set of values for each field that a program may look at.

use std::sync::Arc;

use crate::Ranges;
use crate::ranges::ones;

/// A field that takes any of a set of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    SourceMac,
    Source,
    Destination,
    Protocol,
    SourcePort,
    DestinationPort,
    IcmpType,
    IcmpCode,
}

/// How many fields there are.
pub(crate) const FIELDS: usize = 8;

impl Field {
    pub(crate) const ALL: [Self; FIELDS] = [
        Self::SourceMac,
        Self::Source,
        Self::Destination,
        Self::Protocol,
        Self::SourcePort,
        Self::DestinationPort,
        Self::IcmpType,
        Self::IcmpCode,
    ];

    fn bits(self, family: IpFamily) -> u32 {
        match (self, family) {
            (Self::SourceMac, _) => 48,
            (Self::Source | Self::Destination, IpFamily::V4) => 32,
            (Self::Source | Self::Destination, IpFamily::V6) => 128,
            (Self::SourcePort | Self::DestinationPort, _) => 16,
            (Self::Protocol | Self::IcmpType | Self::IcmpCode, _) => 8,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    V4,
    V6,
}

impl IpFamily {
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// What connection tracking says of the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connection {
    /// `CT_STATE_*` bits.
    pub state: u32,
    /// `None` where there is no connection.
    pub mark: Option<u32>,
    /// They go to whom the connection came from.
    pub is_reply: bool,
}

/// All packets whose fields have values of these sets. What is not a set is the same for all.
#[derive(Debug, Clone)]
pub struct Packets {
    pub family: IpFamily,
    /// Names of interfaces, padded with zeros.
    pub iif: [u8; 16],
    pub oif: [u8; 16],
    pub connection: Connection,
    /// The destination is an address of the host.
    pub to_host: bool,
    /// What `meta priority` and `meta mark` hold.
    pub priority: u32,
    pub mark: u32,
    pub(crate) sets: [Arc<Ranges>; FIELDS],
}

impl Packets {
    /// Every packet of a family between two interfaces, the first of its connection.
    #[must_use]
    pub fn all(family: IpFamily, iif: &str, oif: &str) -> Self {
        Self {
            family,
            iif: padded(iif),
            oif: padded(oif),
            connection: Connection {
                state: ocicat_program::nft::build::CT_STATE_NEW,
                mark: Some(0),
                is_reply: false,
            },
            to_host: false,
            priority: 0,
            mark: 0,
            sets: Field::ALL.map(|field| Arc::new(Ranges::of_bits(field.bits(family)))),
        }
    }

    /// The same between two other interfaces.
    #[must_use]
    pub fn between(&self, iif: &str, oif: &str) -> Self {
        Self {
            iif: padded(iif),
            oif: padded(oif),
            ..self.clone()
        }
    }

    /// Those of them whose field is in the set; `None` if there are none.
    #[must_use]
    pub fn with(&self, field: Field, set: &Ranges) -> Option<Self> {
        let common = self.get(field).intersect(set);
        if common.is_empty() {
            return None;
        }
        let mut packets = self.clone();
        if common != *self.sets[field as usize] {
            packets.sets[field as usize] = Arc::new(common);
        }
        Some(packets)
    }

    /// Those of them whose field is one value.
    #[must_use]
    pub fn with_one(&self, field: Field, value: u128) -> Option<Self> {
        self.with(field, &Ranges::one(value))
    }

    /// The same with other values of a field, whatever it had.
    pub(crate) fn given(&self, field: Field, set: &Arc<Ranges>) -> Self {
        let mut packets = self.clone();
        packets.sets[field as usize] = Arc::clone(set);
        packets
    }

    /// Whether any of them has a value of the set.
    pub(crate) fn meets(&self, field: Field, set: &Ranges) -> bool {
        !self.get(field).intersect(set).is_empty()
    }

    /// The values of a field.
    #[must_use]
    pub fn get(&self, field: Field) -> &Ranges {
        &self.sets[field as usize]
    }

    /// Whether every value of a field is one of these.
    pub(crate) fn is_within(&self, field: Field, values: &[u128]) -> bool {
        let values = Ranges::of(values.iter().map(|v| (*v, *v)).collect());
        self.get(field).without(&values).is_empty()
    }

    pub(crate) fn bits(&self, field: Field) -> u32 {
        field.bits(self.family)
    }

    /// The mask of a field that keeps all of it.
    pub(crate) fn full_mask(&self, field: Field) -> u128 {
        ones(self.bits(field))
    }
}

fn padded(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    let length = name.len().min(15);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}
