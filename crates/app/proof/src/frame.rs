//! Packets as the bytes of Ethernet frames: headers, check sums, extension headers, fragments.

use std::net::IpAddr;

use ocicat_kernel::Mac;
use ocicat_oracle::Packet;

mod sum;

use sum::{crc32c, internet};

/// What stands before a packet's number.
const MAGIC: [u8; 4] = *b"OCwX";
/// Bytes from the start of the transport header to the end of the packet. The last eight are the magic
/// and the number, so that they are in one fragment wherever it is cut.
const TRANSPORT: usize = 40;

/// How a packet is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    /// IPv4 options, or in IPv6 a hop-by-hop header.
    pub options: Options,
    /// A destination options header; IPv6 only.
    pub destination_options: Options,
    /// Where the packet is cut.
    pub cut: Cut,
}

/// Whether a header with options is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Options {
    #[default]
    Absent,
    /// Eight bytes that mean nothing.
    Padding,
}

/// Where a packet is cut into fragments, by bytes from the start of the transport header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Cut {
    #[default]
    Whole,
    /// After eight bytes, so that the first fragment holds the ports and little else.
    AfterPorts,
    /// After 24 bytes.
    Late,
    /// Five fragments of eight bytes.
    Often,
}

impl Cut {
    fn places(self) -> &'static [usize] {
        match self {
            Self::Whole => &[0, TRANSPORT],
            Self::AfterPorts => &[0, 8, TRANSPORT],
            Self::Late => &[0, 24, TRANSPORT],
            Self::Often => &[0, 8, 16, 24, 32, TRANSPORT],
        }
    }
}

/// The frames of a packet, in order: one, or its fragments.
#[must_use]
pub fn frames(packet: &Packet, shape: Shape, number: u32, from: Mac, to: Mac) -> Vec<Vec<u8>> {
    let transport = transport(packet, number);
    let places = shape.cut.places();
    let pieces = places.windows(2);
    pieces
        .map(|piece| {
            let (first, last) = (piece[0], piece[1]);
            let part = Part {
                offset: first,
                is_last: last == TRANSPORT,
                is_whole: places.len() == 2,
            };
            let mut frame = Vec::with_capacity(128);
            frame.extend(to.0);
            frame.extend(from.0);
            match (packet.source, packet.destination) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    let ends = (source.octets(), destination.octets());
                    frame.extend([0x08, 0x00]);
                    ipv4(
                        &mut frame,
                        ends,
                        packet.protocol,
                        shape,
                        number,
                        part,
                        last - first,
                    );
                }
                (IpAddr::V6(source), IpAddr::V6(destination)) => {
                    let ends = (source.octets(), destination.octets());
                    frame.extend([0x86, 0xdd]);
                    ipv6(
                        &mut frame,
                        ends,
                        packet.protocol,
                        shape,
                        number,
                        part,
                        last - first,
                    );
                }
                _ => unreachable!("both ends of a packet are of one family"),
            }
            frame.extend(&transport[first..last]);
            frame
        })
        .collect()
}

/// The number in the last bytes of a packet or frame, if it is one of ours.
#[must_use]
pub fn number_of(bytes: &[u8]) -> Option<u32> {
    let tail: [u8; 8] = bytes.get(bytes.len().checked_sub(8)?..)?.try_into().ok()?;
    let [a, b, c, d, number @ ..] = tail;
    ([a, b, c, d] == MAGIC).then(|| u32::from_be_bytes(number))
}

/// The frame of an ICMP or ICMPv6 error about the packet in another frame, from a router on the way.
#[cfg(test)]
pub(crate) fn error_about(
    frame: &[u8],
    (kind, code): (u8, u8),
    router: IpAddr,
    number: u32,
    from: Mac,
    to: Mac,
) -> Vec<u8> {
    let quoted = &frame[14..];
    let back_to: IpAddr = match router {
        IpAddr::V4(_) => <[u8; 4]>::try_from(&quoted[12..16])
            .expect("four bytes")
            .into(),
        IpAddr::V6(_) => <[u8; 16]>::try_from(&quoted[8..24])
            .expect("sixteen bytes")
            .into(),
    };
    let protocol = if router.is_ipv4() { 1 } else { 58 };
    let packet = Packet::icmp(router, back_to, protocol, kind, code);
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend(quoted);
    // Behind what connection tracking reads of it.
    let tail = message.len() - 4;
    message[tail..].copy_from_slice(&number.to_be_bytes());
    let sum = match protocol {
        1 => internet(&[&message]),
        _ => {
            let mut pseudo = pseudo_header(&packet);
            let length = short(message.len()).to_be_bytes();
            let end = pseudo.len() - 2;
            pseudo[end..].copy_from_slice(&length);
            internet(&[&pseudo, &message])
        }
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let whole = Part {
        offset: 0,
        is_last: true,
        is_whole: true,
    };
    let mut out = Vec::new();
    out.extend(to.0);
    out.extend(from.0);
    match (router, back_to) {
        (IpAddr::V4(router), IpAddr::V4(back_to)) => {
            let ends = (router.octets(), back_to.octets());
            out.extend([0x08, 0x00]);
            ipv4(
                &mut out,
                ends,
                protocol,
                Shape::default(),
                number,
                whole,
                message.len(),
            );
        }
        (IpAddr::V6(router), IpAddr::V6(back_to)) => {
            let ends = (router.octets(), back_to.octets());
            out.extend([0x86, 0xdd]);
            ipv6(
                &mut out,
                ends,
                protocol,
                Shape::default(),
                number,
                whole,
                message.len(),
            );
        }
        _ => unreachable!("both ends are of one family"),
    }
    out.extend(message);
    out
}

#[derive(Clone, Copy)]
struct Part {
    offset: usize,
    is_last: bool,
    is_whole: bool,
}

fn ipv4(
    out: &mut Vec<u8>,
    (source, destination): ([u8; 4], [u8; 4]),
    protocol: u8,
    shape: Shape,
    number: u32,
    part: Part,
    length: usize,
) {
    let options: &[u8] = match shape.options {
        Options::Absent => &[],
        // No operation, seven times, and the end of the list.
        Options::Padding => &[1, 1, 1, 1, 1, 1, 1, 0],
    };
    let header = 20 + options.len();
    let mut bytes = vec![0x40 | small(header / 4), 0];
    bytes.extend(short(header + length).to_be_bytes());
    bytes.extend(&number.to_be_bytes()[2..]);
    let more = if part.is_last { 0 } else { 0x2000 };
    bytes.extend((more | short(part.offset / 8)).to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend(source);
    bytes.extend(destination);
    bytes.extend(options);
    let sum = internet(&[&bytes]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    out.extend(bytes);
}

fn ipv6(
    out: &mut Vec<u8>,
    (source, destination): ([u8; 16], [u8; 16]),
    protocol: u8,
    shape: Shape,
    number: u32,
    part: Part,
    length: usize,
) {
    // Extension headers in their order: hop-by-hop, fragment, destination options. The last is in the
    // part that is cut, so it is whole in the first fragment.
    const PADDING: [u8; 6] = [1, 4, 0, 0, 0, 0];
    let mut chain: Vec<(u8, Vec<u8>)> = Vec::new();
    if shape.options == Options::Padding {
        chain.push((0, PADDING.to_vec()));
    }
    let destined = shape.destination_options == Options::Padding;
    if !part.is_whole {
        // The destination options come first in the fragmentable part and move the rest by eight.
        let moved = if destined && part.offset > 0 { 8 } else { 0 };
        let more = u16::from(!part.is_last);
        let mut header = (short(part.offset + moved) | more).to_be_bytes().to_vec();
        header.extend(number.to_be_bytes());
        chain.push((44, header));
    }
    if destined && part.offset == 0 {
        chain.push((60, PADDING.to_vec()));
    }
    // Later fragments name the first header of the fragmentable part.
    let last = if destined && part.offset > 0 {
        60
    } else {
        protocol
    };
    let next = chain.first().map_or(last, |(kind, _)| *kind);
    out.extend([0x60, 0, 0, 0]);
    out.extend(short(chain.len() * 8 + length).to_be_bytes());
    out.extend([next, 64]);
    out.extend(source);
    out.extend(destination);
    for (place, (_, content)) in chain.iter().enumerate() {
        let next = chain.get(place + 1).map_or(last, |(kind, _)| *kind);
        // A length of eight bytes, or what a fragment header keeps at zero.
        out.extend([next, 0]);
        out.extend(content);
    }
}

/// The transport header and what follows it, [`TRANSPORT`] bytes in all.
fn transport(packet: &Packet, number: u32) -> Vec<u8> {
    let mut bytes = vec![0; TRANSPORT];
    let ports = [packet.source_port, packet.destination_port].map(u16::to_be_bytes);
    match packet.protocol {
        6 => {
            bytes[..4].copy_from_slice(ports.as_flattened());
            bytes[4..8].copy_from_slice(&number.to_be_bytes());
            // A SYN with a header of 20 bytes.
            bytes[12..16].copy_from_slice(&[0x50, 0x02, 0x20, 0]);
        }
        17 => {
            bytes[..4].copy_from_slice(ports.as_flattened());
            bytes[4..6].copy_from_slice(&short(TRANSPORT).to_be_bytes());
        }
        132 => {
            bytes[..4].copy_from_slice(ports.as_flattened());
            // An INIT chunk of 28 bytes with its tag, window and streams, and a parameter.
            bytes[12..16].copy_from_slice(&[1, 0, 0, 28]);
            bytes[16..20].copy_from_slice(&(number | 1).to_be_bytes());
            bytes[20..28].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 1]);
        }
        1 | 58 => {
            bytes[0] = packet.icmp_type;
            bytes[1] = packet.icmp_code;
            // The identifier of an echo tells flows apart: what differs most stands there.
            bytes[4..8].copy_from_slice(&number.rotate_left(16).to_be_bytes());
        }
        // UDPLite has ports, which rules may not ask for; a check sum over all.
        136 => bytes[..4].copy_from_slice(&[0x9c, 0x40, 0, 80]),
        // What a reader of ports would take for port 80.
        _ => bytes[..4].copy_from_slice(&[0, 80, 0, 80]),
    }
    bytes[32..36].copy_from_slice(&MAGIC);
    bytes[36..].copy_from_slice(&number.to_be_bytes());
    let place = match packet.protocol {
        6 => 16,
        17 | 136 => 6,
        1 | 58 => 2,
        132 => {
            let sum = crc32c(&bytes);
            bytes[8..12].copy_from_slice(&sum.to_le_bytes());
            return bytes;
        }
        _ => return bytes,
    };
    let sum = match packet.protocol {
        1 => internet(&[&bytes]),
        _ => internet(&[&pseudo_header(packet), &bytes]),
    };
    // To UDP a sum of 0 means that there is none.
    let sum = if sum == 0 { 0xffff } else { sum };
    bytes[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn pseudo_header(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
        }
        _ => unreachable!("both ends of a packet are of one family"),
    }
    // Connection tracking checks UDPLite as if it were UDP (`udplite_error`), and refuses right sums.
    let protocol = match packet.protocol {
        136 => 17,
        protocol => protocol,
    };
    bytes.extend([0, protocol]);
    bytes.extend(short(TRANSPORT).to_be_bytes());
    bytes
}

fn short(number: usize) -> u16 {
    u16::try_from(number).expect("packets here are short")
}

fn small(number: usize) -> u8 {
    u8::try_from(number).expect("headers are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACS: (Mac, Mac) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));

    #[test]
    fn every_last_piece_carries_the_number() {
        let packet = Packet::tcp("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap(), 80);
        for cut in [Cut::Whole, Cut::AfterPorts, Cut::Late, Cut::Often] {
            let shape = Shape {
                cut,
                ..Shape::default()
            };
            let frames = frames(&packet, shape, 0xdead_beef, MACS.0, MACS.1);
            assert_eq!(frames.len(), cut.places().len() - 1);
            let numbers: Vec<_> = frames.iter().filter_map(|f| number_of(f)).collect();
            assert_eq!(numbers, [0xdead_beef]);
        }
    }

    #[test]
    fn sums_of_whole_packets_are_right() {
        let packet = Packet::with_ports(
            "fd00::1".parse().unwrap(),
            "fd00::2".parse().unwrap(),
            17,
            1,
            2,
        );
        let bytes = transport(&packet, 7);
        // The sum over a segment with its sum in it is zero.
        assert_eq!(internet(&[&pseudo_header(&packet), &bytes]), 0);
    }

    #[test]
    fn later_fragments_name_the_first_header_that_was_cut() {
        let packet = Packet::tcp("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap(), 80);
        let shape = Shape {
            destination_options: Options::Padding,
            cut: Cut::AfterPorts,
            ..Shape::default()
        };
        let frames = frames(&packet, shape, 1, MACS.0, MACS.1);
        // Behind Ethernet and IPv6: the fragment header, its next header and its offset.
        let header = |frame: &[u8]| (frame[54], u16::from_be_bytes([frame[56], frame[57]]));
        assert_eq!(header(&frames[0]), (60, 1));
        assert_eq!(header(&frames[1]), (60, 16));
    }
}
