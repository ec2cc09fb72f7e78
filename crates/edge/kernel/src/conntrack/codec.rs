//! `nfnetlink_conntrack.h` as bytes.

use std::net::IpAddr;

use super::{Counters, Entry, Filter, Key, Layer4, MarkChange, Tuple};
use crate::wire::{self, Message, NETFILTER_HEADER, put, put_nested};

const SUBSYSTEM: u16 = 1 << 8;
/// `IPCTNL_MSG_CT_NEW`: creates or, without `NLM_F_CREATE`, only changes.
pub(super) const NEW: u16 = SUBSYSTEM;
/// `IPCTNL_MSG_CT_GET`.
pub(super) const GET: u16 = SUBSYSTEM | 1;
/// `IPCTNL_MSG_CT_DELETE`. Without a tuple it would empty the table.
pub(super) const DELETE: u16 = SUBSYSTEM | 2;
/// `IPCTNL_MSG_CT_GET_STATS`.
pub(super) const STATS: u16 = SUBSYSTEM | 5;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_TIMEOUT: u16 = 7;
const CTA_MARK: u16 = 8;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_MARK_MASK: u16 = 21;

const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;

const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;

const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTO_ICMP_ID: u16 = 4;
const CTA_PROTO_ICMP_TYPE: u16 = 5;
const CTA_PROTO_ICMP_CODE: u16 = 6;
const CTA_PROTO_ICMPV6_ID: u16 = 7;
const CTA_PROTO_ICMPV6_TYPE: u16 = 8;
const CTA_PROTO_ICMPV6_CODE: u16 = 9;

const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
const CTA_PROTOINFO_TCP_FLAGS_ORIGINAL: u16 = 4;
const CTA_PROTOINFO_TCP_FLAGS_REPLY: u16 = 5;
/// `IP_CT_TCP_FLAG_BE_LIBERAL`.
const BE_LIBERAL: u8 = 0x08;

const CTA_COUNTERS_PACKETS: u16 = 1;
const CTA_COUNTERS_BYTES: u16 = 2;

const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;

const ANY_FAMILY: u8 = 0;
const INET: u8 = 2;
const INET6: u8 = 10;

/// The body of a dump of what `filter` wants.
pub(super) fn dump(filter: &Filter) -> Vec<u8> {
    let mut body = wire::netfilter_header(ANY_FAMILY, 0);
    if let Some(mark) = filter.mark {
        put(&mut body, CTA_MARK, &mark.value.to_be_bytes());
        put(&mut body, CTA_MARK_MASK, &mark.mask.to_be_bytes());
    }
    body
}

/// The body of a request about one entry.
pub(super) fn key(key: &Key) -> Vec<u8> {
    let mut body = lookup(key);
    if let Some(id) = key.id {
        put(&mut body, CTA_ID, &id.to_be_bytes());
    }
    body
}

/// The body of a change of one mark. The kernel computes `(mark & !mask) ^ value`.
pub(super) fn mark(change: &MarkChange) -> Vec<u8> {
    let mut body = lookup(&change.key);
    let value = change.value & change.mask;
    put(&mut body, CTA_MARK, &value.to_be_bytes());
    put(&mut body, CTA_MARK_MASK, &change.mask.to_be_bytes());
    body
}

/// The body of a [`DELETE`] of all entries, of both families.
pub(super) fn everything() -> Vec<u8> {
    wire::netfilter_header(ANY_FAMILY, 0)
}

/// The body of a question for the number of entries.
pub(super) fn stats() -> Vec<u8> {
    wire::netfilter_header(ANY_FAMILY, 0)
}

/// The number of entries, if the message says it.
pub(super) fn read_stats(message: Message<'_>) -> Option<u32> {
    let mut attributes = wire::attributes(message.body.get(NETFILTER_HEADER..)?);
    let (_, value) = attributes.find(|(kind, _)| *kind == CTA_STATS_GLOBAL_ENTRIES)?;
    wire::u32_be(value)
}

/// An entry, if the message is one and complete.
pub(super) fn read(message: Message<'_>) -> Option<Entry> {
    if message.kind != NEW {
        return None;
    }
    let mut original = None;
    let mut reply = None;
    let mut entry = Entry {
        original: NOWHERE,
        reply: NOWHERE,
        status: 0,
        mark: 0,
        zone: 0,
        id: 0,
        timeout_s: None,
        tcp_state: None,
        picked_up: false,
        sent: None,
        received: None,
    };
    for (kind, value) in wire::attributes(message.body.get(NETFILTER_HEADER..)?) {
        match kind {
            CTA_TUPLE_ORIG => original = read_tuple(value),
            CTA_TUPLE_REPLY => reply = read_tuple(value),
            CTA_STATUS => entry.status = wire::u32_be(value)?,
            CTA_MARK => entry.mark = wire::u32_be(value)?,
            CTA_ZONE => entry.zone = wire::u16_be(value)?,
            CTA_ID => entry.id = wire::u32_be(value)?,
            CTA_TIMEOUT => entry.timeout_s = wire::u32_be(value),
            CTA_PROTOINFO => (entry.tcp_state, entry.picked_up) = read_tcp(value),
            CTA_COUNTERS_ORIG => entry.sent = read_counters(value),
            CTA_COUNTERS_REPLY => entry.received = read_counters(value),
            _ => {}
        }
    }
    entry.original = original?;
    entry.reply = reply?;
    Some(entry)
}

/// A placeholder until both tuples are read; never part of an entry that is returned.
const NOWHERE: Tuple = Tuple {
    source: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
    destination: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
    protocol: 0,
    layer4: Layer4::None,
};

fn lookup(key: &Key) -> Vec<u8> {
    let family = if key.original.source.is_ipv4() {
        INET
    } else {
        INET6
    };
    let mut body = wire::netfilter_header(family, 0);
    put_nested(&mut body, CTA_TUPLE_ORIG, |tuple| {
        put_tuple(tuple, &key.original);
    });
    if key.zone != 0 {
        put(&mut body, CTA_ZONE, &key.zone.to_be_bytes());
    }
    body
}

fn put_tuple(body: &mut Vec<u8>, tuple: &Tuple) {
    let v4 = tuple.source.is_ipv4();
    put_nested(body, CTA_TUPLE_IP, |ip| {
        let (source, destination) = if v4 {
            (CTA_IP_V4_SRC, CTA_IP_V4_DST)
        } else {
            (CTA_IP_V6_SRC, CTA_IP_V6_DST)
        };
        wire::put_address(ip, source, tuple.source);
        wire::put_address(ip, destination, tuple.destination);
    });
    put_nested(body, CTA_TUPLE_PROTO, |proto| {
        put(proto, CTA_PROTO_NUM, &[tuple.protocol]);
        match tuple.layer4 {
            Layer4::Ports {
                source,
                destination,
            } => {
                put(proto, CTA_PROTO_SRC_PORT, &source.to_be_bytes());
                put(proto, CTA_PROTO_DST_PORT, &destination.to_be_bytes());
            }
            Layer4::Icmp { kind, code, id } => {
                let v4 = i32::from(tuple.protocol) == libc::IPPROTO_ICMP;
                let (id_attr, kind_attr, code_attr) = if v4 {
                    (CTA_PROTO_ICMP_ID, CTA_PROTO_ICMP_TYPE, CTA_PROTO_ICMP_CODE)
                } else {
                    (
                        CTA_PROTO_ICMPV6_ID,
                        CTA_PROTO_ICMPV6_TYPE,
                        CTA_PROTO_ICMPV6_CODE,
                    )
                };
                put(proto, id_attr, &id.to_be_bytes());
                put(proto, kind_attr, &[kind]);
                put(proto, code_attr, &[code]);
            }
            Layer4::None => {}
        }
    });
}

fn read_tuple(bytes: &[u8]) -> Option<Tuple> {
    let mut source = None;
    let mut destination = None;
    let mut layer4 = None;
    for (kind, value) in wire::attributes(bytes) {
        match kind {
            CTA_TUPLE_IP => {
                for (kind, value) in wire::attributes(value) {
                    match kind {
                        CTA_IP_V4_SRC | CTA_IP_V6_SRC => source = wire::address(value),
                        CTA_IP_V4_DST | CTA_IP_V6_DST => destination = wire::address(value),
                        _ => {}
                    }
                }
            }
            CTA_TUPLE_PROTO => layer4 = read_layer4(value),
            _ => {}
        }
    }
    let (protocol, layer4) = layer4?;
    Some(Tuple {
        source: source?,
        destination: destination?,
        protocol,
        layer4,
    })
}

fn read_layer4(bytes: &[u8]) -> Option<(u8, Layer4)> {
    let mut protocol = None;
    let (mut source, mut destination) = (None, None);
    let (mut id, mut icmp_kind, mut code) = (None, None, None);
    for (kind, value) in wire::attributes(bytes) {
        match kind {
            CTA_PROTO_NUM => protocol = value.first().copied(),
            CTA_PROTO_SRC_PORT => source = wire::u16_be(value),
            CTA_PROTO_DST_PORT => destination = wire::u16_be(value),
            CTA_PROTO_ICMP_ID | CTA_PROTO_ICMPV6_ID => id = wire::u16_be(value),
            CTA_PROTO_ICMP_TYPE | CTA_PROTO_ICMPV6_TYPE => icmp_kind = value.first().copied(),
            CTA_PROTO_ICMP_CODE | CTA_PROTO_ICMPV6_CODE => code = value.first().copied(),
            _ => {}
        }
    }
    let layer4 = match (source, destination, id, icmp_kind, code) {
        (Some(source), Some(destination), ..) => Layer4::Ports {
            source,
            destination,
        },
        (_, _, Some(id), Some(kind), Some(code)) => Layer4::Icmp { kind, code, id },
        _ => Layer4::None,
    };
    Some((protocol?, layer4))
}

/// The state, and whether the connection was taken up on its way.
fn read_tcp(bytes: &[u8]) -> (Option<u8>, bool) {
    let (mut state, mut liberal) = (None, [false; 2]);
    let tcp = wire::attributes(bytes).find(|(kind, _)| *kind == CTA_PROTOINFO_TCP);
    for (kind, value) in tcp.into_iter().flat_map(|(_, tcp)| wire::attributes(tcp)) {
        // `struct nf_ct_tcp_flags`: the flags, then a mask.
        let is_liberal = value.first().is_some_and(|flags| flags & BE_LIBERAL != 0);
        match kind {
            CTA_PROTOINFO_TCP_STATE => state = value.first().copied(),
            CTA_PROTOINFO_TCP_FLAGS_ORIGINAL => liberal[0] = is_liberal,
            CTA_PROTOINFO_TCP_FLAGS_REPLY => liberal[1] = is_liberal,
            _ => {}
        }
    }
    (state, liberal == [true; 2])
}

fn read_counters(bytes: &[u8]) -> Option<Counters> {
    let mut counters = Counters::default();
    for (kind, value) in wire::attributes(bytes) {
        match kind {
            CTA_COUNTERS_PACKETS => counters.packets = wire::u64_be(value)?,
            CTA_COUNTERS_BYTES => counters.bytes = wire::u64_be(value)?,
            _ => {}
        }
    }
    Some(counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(protocol: u8, layer4: Layer4, v6: bool) -> Tuple {
        let (source, destination) = if v6 {
            ("fd00::1", "fd00::2")
        } else {
            ("10.0.0.1", "10.0.0.2")
        };
        Tuple {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            layer4,
        }
    }

    fn samples() -> [Tuple; 5] {
        let ports = Layer4::Ports {
            source: 40_000,
            destination: 443,
        };
        let icmp = Layer4::Icmp {
            kind: 8,
            code: 0,
            id: 77,
        };
        [
            sample(6, ports, false),
            sample(17, ports, true),
            sample(1, icmp, false),
            sample(58, icmp, true),
            sample(47, Layer4::None, false),
        ]
    }

    fn message(body: &[u8]) -> Message<'_> {
        Message {
            kind: NEW,
            flags: 0,
            sequence: 0,
            body,
        }
    }

    #[test]
    fn tuples_read_as_written() {
        for tuple in samples() {
            let mut body = wire::netfilter_header(INET, 0);
            put_nested(&mut body, CTA_TUPLE_ORIG, |bytes| put_tuple(bytes, &tuple));
            put_nested(&mut body, CTA_TUPLE_REPLY, |bytes| put_tuple(bytes, &tuple));
            put(&mut body, CTA_MARK, &0x00ab_0001_u32.to_be_bytes());
            let entry = read(message(&body)).unwrap();
            assert_eq!((entry.original, entry.reply), (tuple, tuple));
            assert_eq!(entry.mark, 0x00ab_0001);
        }
    }

    #[test]
    fn cut_and_changed_bytes_never_panic() {
        let mut body = wire::netfilter_header(INET, 0);
        for tuple in samples() {
            put_nested(&mut body, CTA_TUPLE_ORIG, |bytes| put_tuple(bytes, &tuple));
        }
        for end in 0..body.len() {
            let _ = read(message(&body[..end]));
            for byte in [0, 3, 0x7f, 0xff] {
                let mut changed = body.clone();
                changed[end] = byte;
                let _ = read(message(&changed));
            }
        }
    }

    #[test]
    fn a_deletion_always_names_a_tuple() {
        for original in samples() {
            let body = key(&Key {
                original,
                zone: 0,
                id: None,
            });
            let first = wire::attributes(&body[NETFILTER_HEADER..]).next().unwrap();
            assert_eq!(read_tuple(first.1), Some(original));
        }
    }
}
