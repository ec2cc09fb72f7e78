//! Ethernet frames with an IP packet in them: made by hand, and taken apart.

use std::net::{IpAddr, Ipv6Addr};

use ocicat_kernel::Mac;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// A frame to be made.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    pub from_mac: Mac,
    pub to_mac: Mac,
    /// An 802.1Q tag of this number in front.
    pub vlan: Option<u16>,
    pub from: IpAddr,
    pub to: IpAddr,
    pub transport: Transport,
    pub payload: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp {
        from: u16,
        to: u16,
    },
    TcpSyn {
        from: u16,
        to: u16,
    },
    /// An ICMP or ICMPv6 echo request.
    Echo,
}

/// What was seen on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub from_mac: Mac,
    pub from: IpAddr,
    pub to: IpAddr,
    pub protocol: u8,
    /// Source and destination, of TCP and UDP.
    pub ports: Option<(u16, u16)>,
    /// Everything behind the Ethernet header.
    pub packet: Vec<u8>,
}

impl Frame<'_> {
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.to_mac.0);
        frame.extend(self.from_mac.0);
        if let Some(number) = self.vlan {
            frame.extend([0x81, 0x00]);
            frame.extend(number.to_be_bytes());
        }
        let kind: u16 = if self.from.is_ipv4() { 0x0800 } else { 0x86dd };
        frame.extend(kind.to_be_bytes());
        frame.extend(self.packet());
        frame
    }

    fn packet(&self) -> Vec<u8> {
        let (protocol, segment) = self.segment();
        let length = u16::try_from(segment.len()).unwrap();
        let mut packet = Vec::new();
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                packet.extend([0x45, 0]);
                packet.extend((length + 20).to_be_bytes());
                packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
                packet.extend(from.octets());
                packet.extend(to.octets());
                let sum = checksum(&[&packet]);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                packet.extend([0x60, 0, 0, 0]);
                packet.extend(length.to_be_bytes());
                packet.extend([protocol, 64]);
                packet.extend(from.octets());
                packet.extend(to.octets());
            }
            _ => panic!("both addresses are of one family"),
        }
        packet.extend(segment);
        packet
    }

    /// Protocol number and what follows the IP header, with its checksum.
    fn segment(&self) -> (u8, Vec<u8>) {
        let (protocol, mut segment, place) = match self.transport {
            Transport::Udp { from, to } => {
                let length = u16::try_from(self.payload.len() + 8).unwrap();
                let words = [from, to, length, 0];
                (UDP, words.map(u16::to_be_bytes).concat(), 6)
            }
            Transport::TcpSyn { from, to } => {
                let mut header = [from.to_be_bytes(), to.to_be_bytes()].concat();
                header.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
                (TCP, header, 16)
            }
            Transport::Echo => {
                let (protocol, kind) = if self.from.is_ipv4() {
                    (ICMP, 8)
                } else {
                    (ICMPV6, 128)
                };
                (protocol, vec![kind, 0, 0, 0, 0, 7, 0, 1], 2)
            }
        };
        segment.extend(self.payload);
        let sum = match protocol {
            ICMP => checksum(&[&segment]),
            _ => checksum(&[&self.pseudo_header(protocol, segment.len()), &segment]),
        };
        segment[place..place + 2].copy_from_slice(&sum.to_be_bytes());
        (protocol, segment)
    }

    fn pseudo_header(&self, protocol: u8, length: usize) -> Vec<u8> {
        let mut header = [octets(self.from), octets(self.to)].concat();
        header.extend(u32::try_from(length).unwrap().to_be_bytes());
        header.extend([0, 0, 0, protocol]);
        header
    }
}

impl Seen {
    /// `None` for what is not IP, or too short.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let from_mac = Mac::from_slice(frame.get(6..12)?)?;
        let kind = u16::from_be_bytes(frame.get(12..14)?.try_into().ok()?);
        let packet = frame.get(14..)?;
        let (from, to, protocol, header): (IpAddr, IpAddr, u8, usize) = match kind {
            0x0800 => {
                let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
                let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
                let header = usize::from(packet[0] & 0x0f) * 4;
                (source.into(), destination.into(), packet[9], header)
            }
            0x86dd => {
                let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
                let destination: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
                (source.into(), destination.into(), packet[6], 40)
            }
            _ => return None,
        };
        let port = |at: usize| {
            let bytes = packet.get(header + at..header + at + 2)?;
            Some(u16::from_be_bytes(bytes.try_into().ok()?))
        };
        let ports = match protocol {
            TCP | UDP => port(0).zip(port(2)),
            _ => None,
        };
        Some(Self {
            from_mac,
            from,
            to,
            protocol,
            ports,
            packet: packet.to_vec(),
        })
    }

    pub fn carries(&self, bytes: &[u8]) -> bool {
        self.packet
            .windows(bytes.len())
            .any(|window| window == bytes)
    }
}

/// Tells `to_mac` that `address` is at `from_mac`: an ARP reply, or a neighbour advertisement that
/// overrides what was known.
pub fn claim(from_mac: Mac, to_mac: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => {
            let mut frame = [to_mac.0, from_mac.0].concat();
            frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2]);
            frame.extend(from_mac.0);
            frame.extend(address.octets());
            frame.extend(to_mac.0);
            frame.extend(address.octets());
            frame
        }
        IpAddr::V6(target) => {
            let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let mut payload = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
            payload.extend(target.octets());
            payload.extend([2, 1]);
            payload.extend(from_mac.0);
            let mut packet = vec![0x60, 0, 0, 0, 0, 32, ICMPV6, 255];
            packet.extend(target.octets());
            packet.extend(all_nodes.octets());
            let pseudo = [&packet[8..40], &[0, 0, 0, 32, 0, 0, 0, ICMPV6]].concat();
            let sum = checksum(&[&pseudo, &payload]);
            payload[2..4].copy_from_slice(&sum.to_be_bytes());
            let mut frame = [to_mac.0, from_mac.0].concat();
            frame.extend([0x86, 0xdd]);
            frame.extend(packet);
            frame.extend(payload);
            frame
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// RFC 1071.
fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default()));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).expect("folded to sixteen bits")
}
