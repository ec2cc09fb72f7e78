//! Netlink attributes as bytes: `struct nlattr` of `linux/netlink.h`. Used where we write messages by
//! hand (conntrack, NFLOG); links and routes use `netlink-packet-route`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 4;
const NESTED: u16 = 0x8000;
/// Without the flags for nesting and byte order.
const KIND: u16 = 0x3fff;

/// Length of `struct nlmsghdr`.
pub(crate) const MESSAGE_HEADER: usize = 16;
/// Length of `struct nfgenmsg` of `linux/netfilter/nfnetlink.h`.
pub(crate) const NETFILTER_HEADER: usize = 4;

/// Rounds up to the four bytes that netlink aligns to.
pub(crate) const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// `struct nfgenmsg`: family, version 0, resource in network order.
pub(crate) fn netfilter_header(family: u8, resource: u16) -> Vec<u8> {
    let [high, low] = resource.to_be_bytes();
    vec![family, 0, high, low]
}

/// Appends an attribute.
pub(crate) fn put(buffer: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(HEADER + value.len()).expect("attributes written here are short");
    buffer.extend_from_slice(&length.to_ne_bytes());
    buffer.extend_from_slice(&kind.to_ne_bytes());
    buffer.extend_from_slice(value);
    buffer.resize(align(buffer.len()), 0);
}

/// Appends an attribute that holds attributes.
pub(crate) fn put_nested(buffer: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    put(buffer, kind | NESTED, &[]);
    fill(buffer);
    let length = u16::try_from(buffer.len() - start).expect("attributes written here are short");
    buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

/// Appends an IP address in network order.
pub(crate) fn put_address(buffer: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => put(buffer, kind, &address.octets()),
        IpAddr::V6(address) => put(buffer, kind, &address.octets()),
    }
}

/// Walks the attributes in `bytes`: kind without flags, value. Ends at the first that does not fit.
pub(crate) fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, kind) = (get_u16_ne(self.rest, 0)?, get_u16_ne(self.rest, 2)?);
        let length = usize::from(length);
        let value = self.rest.get(HEADER..length)?;
        self.rest = self.rest.get(align(length)..).unwrap_or_default();
        Some((kind & KIND, value))
    }
}

/// Walks the messages in a datagram. Ends at the first that does not fit.
pub(crate) fn messages(bytes: &[u8]) -> Messages<'_> {
    Messages { rest: bytes }
}

pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

/// One message of a datagram: `struct nlmsghdr` and what follows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub body: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(get_u32_ne(self.rest, 0)?).ok()?;
        let message = Message {
            kind: get_u16_ne(self.rest, 4)?,
            flags: get_u16_ne(self.rest, 6)?,
            sequence: get_u32_ne(self.rest, 8)?,
            body: self.rest.get(MESSAGE_HEADER..length)?,
        };
        self.rest = self.rest.get(align(length)..).unwrap_or_default();
        Some(message)
    }
}

pub(crate) fn get_u16_ne(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn get_u32_ne(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A whole attribute value of two bytes in network order.
pub(crate) fn u16_be(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(value.try_into().ok()?))
}

/// A whole attribute value of four bytes in network order.
pub(crate) fn u32_be(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

/// A whole attribute value of eight bytes in network order.
pub(crate) fn u64_be(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// A whole attribute value that is an IP address of either family.
pub(crate) fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_read_as_written() {
        let mut buffer = Vec::new();
        put(&mut buffer, 7, b"abcde");
        put_nested(&mut buffer, 9, |inner| {
            put(inner, 1, &[1]);
            put(inner, 2, &[]);
        });
        assert_eq!(buffer.len() % 4, 0);
        let read: Vec<_> = attributes(&buffer).collect();
        assert_eq!(read[0], (7, &b"abcde"[..]));
        assert_eq!(read[1].0, 9);
        let inner: Vec<_> = attributes(read[1].1).collect();
        assert_eq!(inner, [(1, &[1][..]), (2, &[][..])]);
    }

    /// No prefix and no single changed byte of a valid buffer may panic or loop.
    #[test]
    fn hostile_bytes_end_the_walk() {
        let mut buffer = Vec::new();
        put(&mut buffer, 1, &[0; 9]);
        put(&mut buffer, 2, &[0; 4]);
        for end in 0..buffer.len() {
            assert!(attributes(&buffer[..end]).count() <= 2);
        }
        for at in 0..buffer.len() {
            for byte in [0, 1, 3, 4, 0xff] {
                let mut changed = buffer.clone();
                changed[at] = byte;
                assert!(attributes(&changed).count() <= changed.len());
                assert!(messages(&changed).count() <= changed.len());
            }
        }
    }
}
