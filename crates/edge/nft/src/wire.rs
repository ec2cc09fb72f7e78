//! Netlink messages and attributes, as bytes.
//!
//! Writing cannot fail half-way: an attribute that is too long is remembered and asked for at the end.
//! Reading never panics and never reads past what is there.

use crate::kernel::attr::{NLA_F_NESTED, NLA_TYPE_MASK};
use crate::kernel::msg::{NFGENMSG_LEN, NLMSG_HDRLEN};
use crate::kernel::{MAX_ATTRIBUTE, msg};

const ATTR_HDRLEN: usize = 4;

/// Appends messages to a buffer.
#[derive(Default)]
pub struct Writer {
    buffer: Vec<u8>,
    too_long: bool,
}

/// Where a message or a nested attribute began.
#[must_use]
#[derive(Clone, Copy)]
pub struct Open(usize);

impl Writer {
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.buffer
    }

    /// Whether an attribute since the last call did not fit its 16-bit length; the buffer is then unusable.
    pub fn take_too_long(&mut self) -> bool {
        std::mem::take(&mut self.too_long)
    }

    /// Begins a message of netfilter: `struct nlmsghdr` and `struct nfgenmsg`.
    pub fn begin(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        family: u8,
        resource: u16,
    ) -> Open {
        let open = Open(self.buffer.len());
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer.extend_from_slice(&flags.to_ne_bytes());
        self.buffer.extend_from_slice(&sequence.to_ne_bytes());
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.push(family);
        self.buffer.push(0);
        self.buffer.extend_from_slice(&resource.to_be_bytes());
        open
    }

    /// Begins a message of `nf_tables`.
    pub fn begin_nft(&mut self, kind: u16, flags: u16, sequence: u32, family: u8) -> Open {
        self.begin(
            msg::NFNL_SUBSYS_NFTABLES << 8 | kind,
            flags,
            sequence,
            family,
            0,
        )
    }

    pub fn end(&mut self, open: Open) {
        // A message longer than this is cut off by the sender's own limit, far below.
        let len = u32::try_from(self.buffer.len() - open.0).unwrap_or(u32::MAX);
        self.buffer[open.0..open.0 + 4].copy_from_slice(&len.to_ne_bytes());
    }

    /// Sets flags of a message that began at `start`.
    pub fn add_flags(&mut self, start: usize, flags: u16) {
        let at = start + 6;
        let old = u16::from_ne_bytes([self.buffer[at], self.buffer[at + 1]]);
        self.buffer[at..at + 2].copy_from_slice(&(old | flags).to_ne_bytes());
    }

    pub fn bytes(&mut self, kind: u16, payload: &[u8]) {
        let open = self.open(kind);
        self.buffer.extend_from_slice(payload);
        self.close(open);
    }

    /// An attribute whose payload is appended by `write`.
    pub fn written(&mut self, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let open = self.open(kind);
        write(&mut self.buffer);
        self.close(open);
    }

    /// Attributes that are encoded already, padding included.
    pub fn raw(&mut self, attributes: &[u8]) {
        self.buffer.extend_from_slice(attributes);
    }

    /// A text with the NUL that the kernel wants.
    pub fn string(&mut self, kind: u16, text: &str) {
        let open = self.open(kind);
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(0);
        self.close(open);
    }

    pub fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    pub fn be16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub fn be64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub fn nested(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let open = self.open_nested(kind);
        inside(self);
        self.close(open);
    }

    pub fn open_nested(&mut self, kind: u16) -> Open {
        self.open(kind | NLA_F_NESTED)
    }

    pub fn close(&mut self, open: Open) {
        let len = self.buffer.len() - open.0;
        if let (Ok(short), true) = (u16::try_from(len), len <= MAX_ATTRIBUTE) {
            self.buffer[open.0..open.0 + 2].copy_from_slice(&short.to_ne_bytes());
        } else {
            self.too_long = true;
        }
        self.buffer.resize(self.buffer.len().next_multiple_of(4), 0);
    }

    /// Bytes written since `open`, its header included.
    pub fn len_since(&self, open: Open) -> usize {
        self.buffer.len() - open.0
    }

    fn open(&mut self, kind: u16) -> Open {
        let open = Open(self.buffer.len());
        self.buffer.extend_from_slice(&[0; 2]);
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        open
    }
}

/// A received message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// What follows `struct nlmsghdr`.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The kind within `nf_tables`, or `None` for a message of something else.
    pub fn nft_kind(&self) -> Option<u16> {
        (self.kind >> 8 == msg::NFNL_SUBSYS_NFTABLES).then_some(self.kind & 0xff)
    }

    /// The family of `struct nfgenmsg`, if the message has one.
    pub fn family(&self) -> Option<u8> {
        self.payload.get(..NFGENMSG_LEN).map(|header| header[0])
    }

    /// The attributes after `struct nfgenmsg`.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.payload.get(NFGENMSG_LEN..).unwrap_or(&[]))
    }
}

/// The messages of a datagram. Ends at the first that is cut off.
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.rest.get(..NLMSG_HDRLEN)?;
        let len = usize::try_from(u32_ne(&header[..4])?).ok()?;
        let payload = self.rest.get(NLMSG_HDRLEN..len)?;
        let message = Message {
            kind: u16_ne(&header[4..6])?,
            flags: u16_ne(&header[6..8])?,
            sequence: u32_ne(&header[8..12])?,
            payload,
        };
        self.rest = self.rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    /// Its type without flags.
    pub kind: u16,
    pub payload: &'a [u8],
}

impl<'a> Attribute<'a> {
    pub fn nested(&self) -> Attributes<'a> {
        Attributes::new(self.payload)
    }

    pub fn u8(&self) -> Option<u8> {
        <[u8; 1]>::try_from(self.payload).ok().map(|[b]| b)
    }

    pub fn be16(&self) -> Option<u16> {
        self.payload.try_into().ok().map(u16::from_be_bytes)
    }

    pub fn be32(&self) -> Option<u32> {
        self.payload.try_into().ok().map(u32::from_be_bytes)
    }

    pub fn be64(&self) -> Option<u64> {
        self.payload.try_into().ok().map(u64::from_be_bytes)
    }

    /// A text up to its NUL; bytes that are not UTF-8 are replaced.
    pub fn string(&self) -> String {
        let end = self
            .payload
            .iter()
            .position(|b| *b == 0)
            .unwrap_or(self.payload.len());
        String::from_utf8_lossy(&self.payload[..end]).into_owned()
    }
}

/// Attributes one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub fn iter(self) -> AttributeIter<'a> {
        AttributeIter { rest: self.bytes }
    }

    /// The last attribute of a type: the one the kernel would use.
    pub fn find(self, kind: u16) -> Option<Attribute<'a>> {
        self.iter().filter(|a| a.kind == kind).last()
    }
}

impl<'a> IntoIterator for Attributes<'a> {
    type Item = Attribute<'a>;
    type IntoIter = AttributeIter<'a>;

    fn into_iter(self) -> AttributeIter<'a> {
        self.iter()
    }
}

/// Walks attributes. Ends at the first that is cut off.
pub struct AttributeIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for AttributeIter<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let header = self.rest.get(..ATTR_HDRLEN)?;
        let len = usize::from(u16_ne(&header[..2])?);
        let kind = u16_ne(&header[2..4])? & NLA_TYPE_MASK;
        let payload = self.rest.get(ATTR_HDRLEN..len)?;
        self.rest = self.rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Attribute { kind, payload })
    }
}

pub fn u32_ne(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

fn u16_ne(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut w = Writer::default();
        let open = w.begin_nft(msg::NFT_MSG_NEWRULE, msg::NLM_F_REQUEST, 7, 1);
        w.string(1, "abc");
        w.nested(2, |w| w.be32(3, 0x0102_0304));
        w.end(open);
        let bytes = w.into_bytes();
        let message = Messages::new(&bytes)
            .next()
            .expect("one message was written");
        assert_eq!(
            (message.nft_kind(), message.sequence, message.family()),
            (Some(6), 7, Some(1))
        );
        assert_eq!(
            message.attributes().find(1).map(|a| a.string()),
            Some("abc".into())
        );
        let inner = message
            .attributes()
            .find(2)
            .and_then(|a| a.nested().find(3))
            .and_then(|a| a.be32());
        assert_eq!(inner, Some(0x0102_0304));
    }

    #[test]
    fn a_long_attribute_is_noticed() {
        let mut w = Writer::default();
        w.bytes(1, &vec![0; 65_531]);
        assert!(!w.take_too_long());
        w.bytes(1, &vec![0; 65_532]);
        assert!(w.take_too_long());
        assert!(!w.take_too_long());
    }

    #[test]
    fn cut_bytes_end_the_iteration() {
        let mut w = Writer::default();
        let open = w.begin_nft(0, 0, 1, 1);
        w.string(1, "abc");
        w.end(open);
        let bytes = w.into_bytes();
        for len in 0..bytes.len() {
            assert_eq!(Messages::new(&bytes[..len]).count(), 0);
        }
        assert_eq!(
            Attributes::new(&[3, 0, 1, 0, 9]).iter().count(),
            0,
            "a length below that of the header"
        );
    }
}
