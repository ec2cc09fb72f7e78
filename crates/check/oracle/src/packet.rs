//! A packet, as far as policy looks at it.

use std::fmt;
use std::net::IpAddr;

/// What policy reads of a packet. Fields that its protocol does not have are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Packet {
    pub source: IpAddr,
    /// Of the family of `source`.
    pub destination: IpAddr,
    /// IANA protocol number.
    pub protocol: u8,
    /// For TCP, UDP and SCTP.
    pub source_port: u16,
    /// For TCP, UDP and SCTP.
    pub destination_port: u16,
    /// For ICMP and ICMPv6.
    pub icmp_type: u8,
    /// For ICMP and ICMPv6.
    pub icmp_code: u8,
}

impl Packet {
    /// A TCP packet from source port 40000.
    #[must_use]
    pub fn tcp(source: IpAddr, destination: IpAddr, destination_port: u16) -> Self {
        Self::with_ports(source, destination, 6, 40_000, destination_port)
    }

    /// A packet of TCP (6), UDP (17) or SCTP (132).
    #[must_use]
    pub fn with_ports(
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        source_port: u16,
        destination_port: u16,
    ) -> Self {
        let bare = Self::bare(source, destination, protocol);
        Self {
            source_port,
            destination_port,
            ..bare
        }
    }

    /// A packet of ICMP (1) or ICMPv6 (58).
    #[must_use]
    pub fn icmp(source: IpAddr, destination: IpAddr, protocol: u8, kind: u8, code: u8) -> Self {
        let bare = Self::bare(source, destination, protocol);
        Self {
            icmp_type: kind,
            icmp_code: code,
            ..bare
        }
    }

    /// A packet of a protocol without ports, types and codes.
    #[must_use]
    pub fn bare(source: IpAddr, destination: IpAddr, protocol: u8) -> Self {
        Self {
            source,
            destination,
            protocol,
            source_port: 0,
            destination_port: 0,
            icmp_type: 0,
            icmp_code: 0,
        }
    }

    /// Whether rules may ask for its ports: TCP, UDP and SCTP.
    #[must_use]
    pub fn has_ports(&self) -> bool {
        matches!(self.protocol, 6 | 17 | 132)
    }

    /// Whether rules may ask for its type and code: ICMP and ICMPv6.
    #[must_use]
    pub fn is_icmp(&self) -> bool {
        matches!(self.protocol, 1 | 58)
    }
}

/// `10.0.0.1:40000 > 10.0.0.2:80 protocol 6`, `10.0.0.1 > 10.0.0.2 protocol 1 type 8 code 0`.
impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            destination,
            protocol,
            ..
        } = self;
        if self.has_ports() {
            let source = std::net::SocketAddr::new(*source, self.source_port);
            let destination = std::net::SocketAddr::new(*destination, self.destination_port);
            return write!(f, "{source} > {destination} protocol {protocol}");
        }
        write!(f, "{source} > {destination} protocol {protocol}")?;
        if self.is_icmp() {
            write!(f, " type {} code {}", self.icmp_type, self.icmp_code)?;
        }
        Ok(())
    }
}
