//! Protocols, ports and address families, as rules name them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Ipv4,
    Ipv6,
}

/// An IP protocol number, 1–255 (IANA "Protocol Numbers"). Rules write it as a number or as one
/// of TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub u8);

impl Protocol {
    pub const ICMP: Self = Self(1);
    pub const TCP: Self = Self(6);
    pub const UDP: Self = Self(17);
    pub const ICMPV6: Self = Self(58);
    pub const SCTP: Self = Self(132);
    pub const UDPLITE: Self = Self(136);
}

/// One entry of a list of ports.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortSpec {
    /// Inclusive; a single port has equal ends. 0–65535 in Calico kinds, 1–65535 in Kubernetes'.
    Range { first: u16, last: u16 },
    /// The port of that name on the endpoint that the packet's address belongs to.
    Name(Arc<str>),
}

/// What a text should have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseNetError(pub String);

impl fmt::Display for ParseNetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseNetError {}

impl Family {
    /// The family of a prefix.
    #[must_use]
    pub fn of(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::Ipv4,
            IpNet::V6(_) => Self::Ipv6,
        }
    }
}

/// `IPv4` or `IPv6`.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// Protocols that rules may name, spelt as Calico spells them.
const PROTOCOL_NAMES: [(&str, Protocol); 6] = [
    ("TCP", Protocol::TCP),
    ("UDP", Protocol::UDP),
    ("ICMP", Protocol::ICMP),
    ("ICMPv6", Protocol::ICMPV6),
    ("SCTP", Protocol::SCTP),
    ("UDPLite", Protocol::UDPLITE),
];

impl Protocol {
    /// Whether rules may ask for ports of the protocol: TCP, UDP and SCTP.
    #[must_use]
    pub fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }
}

/// Reads a name in any case, or a number 1–255.
impl FromStr for Protocol {
    type Err = ParseNetError;

    fn from_str(text: &str) -> Result<Self, ParseNetError> {
        let named = PROTOCOL_NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((_, protocol)) = named {
            return Ok(*protocol);
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        match text.parse::<u8>() {
            Ok(number) if digits => Ok(Self(number)),
            _ => Err(ParseNetError(format!(
                "{text:?}: expected TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number 1-255"
            ))),
        }
    }
}

/// The name, or the number of a protocol without one.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PROTOCOL_NAMES.iter().find(|(_, protocol)| protocol == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl PortSpec {
    /// One port.
    #[must_use]
    pub fn single(port: u16) -> Self {
        Self::Range {
            first: port,
            last: port,
        }
    }
}

/// `80`, `8000:8080` or a name.
impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range { first, last } if first == last => write!(f, "{first}"),
            Self::Range { first, last } => write!(f, "{first}:{last}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Reads a CIDR, or an address as the prefix that holds only it. Host bits are cleared.
///
/// # Errors
///
/// Says what was expected: `10.0.0.0/33: prefix length is at most 32`.
pub fn parse_net(text: &str) -> Result<IpNet, ParseNetError> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<std::net::IpAddr>() else {
        let example = if address.contains(':') {
            "fd00::/64"
        } else {
            "10.0.0.0/8"
        };
        return Err(ParseNetError(format!(
            "{text:?}: expected a CIDR such as {example}"
        )));
    };
    let most: u8 = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(length) => {
            let digits = length.bytes().all(|byte| byte.is_ascii_digit());
            let plain = digits && !length.is_empty() && (length == "0" || !length.starts_with('0'));
            if !plain {
                let message = format!("{text:?}: expected a prefix length of 0-{most} after '/'");
                return Err(ParseNetError(message));
            }
            // Longer than any u8 is longer than any prefix.
            length.parse().unwrap_or(u8::MAX)
        }
    };
    match IpNet::new(address, length) {
        Ok(net) => Ok(net.trunc()),
        Err(_) => Err(ParseNetError(format!(
            "{text}: prefix length is at most {most}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols() {
        assert_eq!("tcp".parse(), Ok(Protocol::TCP));
        assert_eq!("UDPlite".parse(), Ok(Protocol::UDPLITE));
        assert_eq!("47".parse(), Ok(Protocol(47)));
        for bad in ["", "0", "06", "256", "-1", "+6", "http", "6 "] {
            assert!(bad.parse::<Protocol>().is_err(), "{bad}");
        }
        for number in 1..=255 {
            assert_eq!(Protocol(number).to_string().parse(), Ok(Protocol(number)));
        }
    }

    #[test]
    fn nets() {
        let ok = |text: &str| parse_net(text).unwrap().to_string();
        assert_eq!(ok("10.1.2.3/8"), "10.0.0.0/8");
        assert_eq!(ok("10.1.2.3"), "10.1.2.3/32");
        assert_eq!(ok("fd00::1/64"), "fd00::/64");
        assert_eq!(ok("::/0"), "::/0");
        let bad = |text: &str| parse_net(text).unwrap_err().to_string();
        assert_eq!(
            bad("10.0.0.0/33"),
            "10.0.0.0/33: prefix length is at most 32"
        );
        assert_eq!(
            bad("fd00::/129"),
            "fd00::/129: prefix length is at most 128"
        );
        assert_eq!(
            bad("10.0.0.0/999"),
            "10.0.0.0/999: prefix length is at most 32"
        );
        assert_eq!(
            bad("10.0.0/8"),
            "\"10.0.0/8\": expected a CIDR such as 10.0.0.0/8"
        );
        assert_eq!(
            bad("fd00:/8"),
            "\"fd00:/8\": expected a CIDR such as fd00::/64"
        );
        for text in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "010.0.0.0/8",
            "10.0.0.0/8 ",
        ] {
            assert!(parse_net(text).is_err(), "{text}");
        }
    }
}
