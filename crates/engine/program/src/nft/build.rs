//! Writes the expressions that the `nft` program generates for a piece of its language.
//!
//! Each function names that piece. What `nft` adds by itself before a piece, such as
//! `meta nfproto ipv4` before `ip daddr` in a table of family inet, is written out by the caller with
//! [`ipv4`], [`ipv6`], [`ether_ipv4`], [`ether_ipv6`] or [`l4proto`]; `nft` drops it again when it
//! lists the rule.
//!
//! ```
//! use ocicat_program::nft::{MetaKey, Rule, build};
//!
//! // meta priority set ip daddr map @class4 return
//! let rule = Rule::new("class_of_daddr")
//!     .with(build::ipv4())
//!     .with(build::meta_set_map(MetaKey::Priority, &[build::IP_DADDR], "class4"))
//!     .with(build::verdict(ocicat_program::nft::Verdict::Return));
//! assert_eq!(rule.expressions.len(), 6);
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use super::expression::{
    ByteorderOp, CmpOp, CtDirection, CtKey, Expression, LogStatement, LogTarget, LookupSet,
    MetaKey, PayloadBase, RangeOp, Register, Reject, nat_flag,
};
use super::object::Verdict;
use super::set::{AnonymousSet, Counter, Layout};
use super::text::Text;
use super::value::{KeyType, Value};

/// Something a rule can load: a property of the packet or of its connection, or bytes of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    source: Source,
    key_type: KeyType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Meta(MetaKey),
    Ct(CtKey),
    Payload { base: PayloadBase, offset: u32 },
}

impl Load {
    /// The type of what is loaded, as a field of a set's key.
    #[must_use]
    pub const fn key_type(self) -> KeyType {
        self.key_type
    }

    const fn meta(key: MetaKey, key_type: KeyType) -> Self {
        Self {
            source: Source::Meta(key),
            key_type,
        }
    }

    const fn header(base: PayloadBase, offset: u32, key_type: KeyType) -> Self {
        Self {
            source: Source::Payload { base, offset },
            key_type,
        }
    }

    fn load(self, to: Register) -> Expression {
        self.prefix(to, self.key_type.len())
    }

    /// Loads only the first `len` bytes where that is possible.
    fn prefix(self, to: Register, len: usize) -> Expression {
        match self.source {
            Source::Meta(key) => Expression::MetaLoad { key, to },
            Source::Ct(key) => Expression::CtLoad {
                key,
                direction: None,
                to,
            },
            Source::Payload { base, offset } => {
                // No key type is longer than 255 bytes.
                let len = u32::try_from(len).unwrap_or(u32::MAX);
                Expression::PayloadLoad {
                    base,
                    offset,
                    len,
                    to,
                }
            }
        }
    }
}

/// `iifname`
pub const IIFNAME: Load = Load::meta(MetaKey::IifName, KeyType::IfName);
/// `oifname`
pub const OIFNAME: Load = Load::meta(MetaKey::OifName, KeyType::IfName);
/// `iif`
pub const IIF: Load = Load::meta(MetaKey::Iif, KeyType::IfaceIndex);
/// `oif`
pub const OIF: Load = Load::meta(MetaKey::Oif, KeyType::IfaceIndex);
/// `meta priority`
pub const PRIORITY: Load = Load::meta(MetaKey::Priority, KeyType::ClassId);
/// `meta mark`
pub const MARK: Load = Load::meta(MetaKey::Mark, KeyType::Mark);
/// `ct mark`
pub const CT_MARK: Load = Load {
    source: Source::Ct(CtKey::Mark),
    key_type: KeyType::Mark,
};
/// `meta l4proto`
pub const L4PROTO: Load = Load::meta(MetaKey::L4Proto, KeyType::InetProto);
/// `meta protocol`
pub const PROTOCOL: Load = Load::meta(MetaKey::Protocol, KeyType::EtherType);
/// `ether daddr`
pub const ETHER_DADDR: Load = Load::header(PayloadBase::Link, 0, KeyType::EtherAddr);
/// `ether saddr`
pub const ETHER_SADDR: Load = Load::header(PayloadBase::Link, 6, KeyType::EtherAddr);
/// `ether type`
pub const ETHER_TYPE: Load = Load::header(PayloadBase::Link, 12, KeyType::EtherType);
/// `ip protocol`
pub const IP_PROTOCOL: Load = Load::header(PayloadBase::Network, 9, KeyType::InetProto);
/// `ip saddr`
pub const IP_SADDR: Load = Load::header(PayloadBase::Network, 12, KeyType::Ipv4Addr);
/// `ip daddr`
pub const IP_DADDR: Load = Load::header(PayloadBase::Network, 16, KeyType::Ipv4Addr);
/// `ip6 saddr`
pub const IP6_SADDR: Load = Load::header(PayloadBase::Network, 8, KeyType::Ipv6Addr);
/// `ip6 daddr`
pub const IP6_DADDR: Load = Load::header(PayloadBase::Network, 24, KeyType::Ipv6Addr);
/// `th sport`, and `tcp sport` or `udp sport` after [`l4proto`].
pub const TH_SPORT: Load = Load::header(PayloadBase::Transport, 0, KeyType::InetService);
/// `th dport`, and `tcp dport` or `udp dport` after [`l4proto`].
pub const TH_DPORT: Load = Load::header(PayloadBase::Transport, 2, KeyType::InetService);
/// `icmp type`
pub const ICMP_TYPE: Load = Load::header(PayloadBase::Transport, 0, KeyType::IcmpType);
/// `icmp code`
pub const ICMP_CODE: Load = Load::header(PayloadBase::Transport, 1, KeyType::IcmpCode);
/// `icmpv6 type`
pub const ICMPV6_TYPE: Load = Load::header(PayloadBase::Transport, 0, KeyType::Icmpv6Type);
/// `icmpv6 code`
pub const ICMPV6_CODE: Load = Load::header(PayloadBase::Transport, 1, KeyType::Icmpv6Code);

/// `ct state` bit: part of no connection that makes sense.
pub const CT_STATE_INVALID: u32 = 1;
/// `ct state` bit: seen in both directions.
pub const CT_STATE_ESTABLISHED: u32 = 2;
/// `ct state` bit: begun by another connection, or an error about one.
pub const CT_STATE_RELATED: u32 = 4;
/// `ct state` bit: the first packet.
pub const CT_STATE_NEW: u32 = 8;
/// `ct state` bit: kept out of connection tracking.
pub const CT_STATE_UNTRACKED: u32 = 64;

/// `ct status` bit: the source is translated.
pub const CT_STATUS_SNAT: u32 = 1 << 4;
/// `ct status` bit: the destination is translated.
pub const CT_STATUS_DNAT: u32 = 1 << 5;

/// `meta nfproto ipv4`: what `nft` writes before `ip ...` in a table of family inet.
#[must_use]
pub fn ipv4() -> Vec<Expression> {
    meta_eq(MetaKey::NfProto, vec![2])
}

/// `meta nfproto ipv6`: what `nft` writes before `ip6 ...` in a table of family inet.
#[must_use]
pub fn ipv6() -> Vec<Expression> {
    meta_eq(MetaKey::NfProto, vec![10])
}

/// What `nft` writes before `ether saddr` in a table of family inet: `meta iiftype ether`.
#[must_use]
pub fn ether() -> Vec<Expression> {
    meta_eq(MetaKey::IifType, 1u16.to_ne_bytes().to_vec())
}

/// What `nft` writes before a concatenation of `ether saddr` and `ip saddr` in a table of family inet:
/// Ethernet, and IPv4 by the frame's own protocol field.
#[must_use]
pub fn ether_ipv4() -> Vec<Expression> {
    [ether(), eq(ETHER_TYPE, &Value::EtherType(0x0800))].concat()
}

/// What `nft` writes before a concatenation of `ether saddr` and `ip6 saddr` in a table of family inet.
#[must_use]
pub fn ether_ipv6() -> Vec<Expression> {
    [ether(), eq(ETHER_TYPE, &Value::EtherType(0x86dd))].concat()
}

/// `meta l4proto NUMBER`
#[must_use]
pub fn l4proto(protocol: u8) -> Vec<Expression> {
    eq(L4PROTO, &Value::InetProto(protocol))
}

/// `iifname "NAME"`, or `iifname "NAM*"` for all names that begin so.
#[must_use]
pub fn iifname(pattern: &str) -> Vec<Expression> {
    name(MetaKey::IifName, CmpOp::Eq, pattern)
}

/// `iifname != "NAME"`, or a pattern as in [`iifname`].
#[must_use]
pub fn iifname_not(pattern: &str) -> Vec<Expression> {
    name(MetaKey::IifName, CmpOp::Neq, pattern)
}

/// `oifname "NAME"`, or a pattern as in [`iifname`].
#[must_use]
pub fn oifname(pattern: &str) -> Vec<Expression> {
    name(MetaKey::OifName, CmpOp::Eq, pattern)
}

/// `oifname != "NAME"`, or a pattern as in [`iifname`].
#[must_use]
pub fn oifname_not(pattern: &str) -> Vec<Expression> {
    name(MetaKey::OifName, CmpOp::Neq, pattern)
}

/// `LOAD VALUE`
#[must_use]
pub fn eq(load: Load, value: &Value) -> Vec<Expression> {
    cmp(load, CmpOp::Eq, value)
}

/// `LOAD != VALUE`
#[must_use]
pub fn neq(load: Load, value: &Value) -> Vec<Expression> {
    cmp(load, CmpOp::Neq, value)
}

/// `LOAD FIRST-LAST`, both included.
#[must_use]
pub fn between(load: Load, first: &Value, last: &Value) -> Vec<Expression> {
    let mut out = ordered(load);
    out.push(Expression::Cmp {
        op: CmpOp::Gte,
        from: Register::R1,
        value: ordered_bytes(first),
    });
    out.push(Expression::Cmp {
        op: CmpOp::Lte,
        from: Register::R1,
        value: ordered_bytes(last),
    });
    out
}

/// `LOAD != FIRST-LAST`, both included.
#[must_use]
pub fn not_between(load: Load, first: &Value, last: &Value) -> Vec<Expression> {
    let mut out = ordered(load);
    let (first, last) = (ordered_bytes(first), ordered_bytes(last));
    out.push(Expression::Range {
        op: RangeOp::Neq,
        from: Register::R1,
        first,
        last,
    });
    out
}

/// `ip saddr ADDRESS/LEN` and the like. A `len` above 32 counts as 32; 0 matches all and writes nothing.
#[must_use]
pub fn ipv4_prefix(load: Load, address: Ipv4Addr, len: u8) -> Vec<Expression> {
    prefix(load, CmpOp::Eq, &address.octets(), len)
}

/// `ip6 saddr ADDRESS/LEN` and the like. A `len` above 128 counts as 128; 0 matches all and writes nothing.
#[must_use]
pub fn ipv6_prefix(load: Load, address: Ipv6Addr, len: u8) -> Vec<Expression> {
    prefix(load, CmpOp::Eq, &address.octets(), len)
}

/// `LOAD & MASK == VALUE` for marks and classes.
#[must_use]
pub fn masked_eq(load: Load, mask: u32, value: u32) -> Vec<Expression> {
    masked(load, mask, CmpOp::Eq, value)
}

/// `LOAD & MASK != VALUE` for marks and classes.
#[must_use]
pub fn masked_neq(load: Load, mask: u32, value: u32) -> Vec<Expression> {
    masked(load, mask, CmpOp::Neq, value)
}

/// `ct state A,B`: any of the `CT_STATE_*` bits.
#[must_use]
pub fn ct_state(bits: u32) -> Vec<Expression> {
    ct_bits(CtKey::State, bits)
}

/// `ct status A,B`: any of the `CT_STATUS_*` bits.
#[must_use]
pub fn ct_status(bits: u32) -> Vec<Expression> {
    ct_bits(CtKey::Status, bits)
}

/// `ct direction original` or `ct direction reply`
#[must_use]
pub fn ct_direction(direction: CtDirection) -> Vec<Expression> {
    let value = vec![match direction {
        CtDirection::Original => 0,
        CtDirection::Reply => 1,
    }];
    vec![
        Expression::CtLoad {
            key: CtKey::Direction,
            direction: None,
            to: Register::R1,
        },
        Expression::Cmp {
            op: CmpOp::Eq,
            from: Register::R1,
            value,
        },
    ]
}

/// `LOAD . LOAD @set`: the key is in a set of exact keys.
#[must_use]
pub fn in_set(key: &[Load], set: &str) -> Vec<Expression> {
    lookup(key, Layout::Exact, LookupSet::Named(set.to_owned()), None)
}

/// `LOAD . LOAD != @set`: the key is not in a set of exact keys.
#[must_use]
pub fn not_in_set(key: &[Load], set: &str) -> Vec<Expression> {
    let mut out = in_set(key, set);
    if let Some(Expression::Lookup { invert, .. }) = out.last_mut() {
        *invert = true;
    }
    out
}

/// `LOAD { A, B }`: the key is one of these.
#[must_use]
pub fn one_of(key: &[Load], set: AnonymousSet) -> Vec<Expression> {
    let layout = set.layout();
    lookup(key, layout, LookupSet::Anonymous(set), None)
}

/// `LOAD . LOAD vmap @map`: the verdict that a map of exact keys has for it.
#[must_use]
pub fn vmap(key: &[Load], map: &str) -> Vec<Expression> {
    lookup(
        key,
        Layout::Exact,
        LookupSet::Named(map.to_owned()),
        Some(Register::Verdict),
    )
}

/// `LOAD . LOAD vmap @map` for a map of ranges.
#[must_use]
pub fn vmap_interval(key: &[Load], map: &str) -> Vec<Expression> {
    lookup(
        key,
        Layout::Interval,
        LookupSet::Named(map.to_owned()),
        Some(Register::Verdict),
    )
}

/// `meta KEY set LOAD . LOAD map @map` for a map of exact keys.
#[must_use]
pub fn meta_set_map(key: MetaKey, from: &[Load], map: &str) -> Vec<Expression> {
    let mut out = lookup(
        from,
        Layout::Exact,
        LookupSet::Named(map.to_owned()),
        Some(Register::R1),
    );
    out.push(Expression::MetaSet {
        key,
        from: Register::R1,
    });
    out
}

/// `meta KEY set LOAD . LOAD map @map` for a map of ranges.
#[must_use]
pub fn meta_set_map_interval(key: MetaKey, from: &[Load], map: &str) -> Vec<Expression> {
    let mut out = lookup(
        from,
        Layout::Interval,
        LookupSet::Named(map.to_owned()),
        Some(Register::R1),
    );
    out.push(Expression::MetaSet {
        key,
        from: Register::R1,
    });
    out
}

/// `meta KEY set LOAD & MASK map @map`, the mask being that of a prefix of `len` bits:
/// `meta priority set ip daddr & 255.255.255.0 map @p24`. A `len` of all bits or more masks nothing.
#[must_use]
pub fn meta_set_prefix_map(key: MetaKey, load: Load, len: u8, map: &str) -> Vec<Expression> {
    let bytes = load.key_type.len();
    let mut out = vec![load.load(Register::R1)];
    if usize::from(len) < bytes * 8 {
        out.push(bitwise(prefix_mask(bytes, len), vec![0; bytes]));
    }
    let set = LookupSet::Named(map.to_owned());
    out.push(Expression::Lookup {
        set,
        from: Register::R1,
        to: Some(Register::R1),
        invert: false,
    });
    out.push(Expression::MetaSet {
        key,
        from: Register::R1,
    });
    out
}

/// `meta KEY set VALUE`
#[must_use]
pub fn meta_set(key: MetaKey, value: &Value) -> Vec<Expression> {
    vec![
        immediate(value),
        Expression::MetaSet {
            key,
            from: Register::R1,
        },
    ]
}

/// `meta KEY set LOAD`. Types must agree for the listing to reload: `meta mark set ct mark` does,
/// `meta mark set meta priority` does not (a map from classes to marks does it).
#[must_use]
pub fn meta_set_from(key: MetaKey, load: Load) -> Vec<Expression> {
    vec![
        load.load(Register::R1),
        Expression::MetaSet {
            key,
            from: Register::R1,
        },
    ]
}

/// `ct mark set VALUE`
#[must_use]
pub fn ct_mark_set(value: u32) -> Vec<Expression> {
    vec![
        immediate(&Value::Mark(value)),
        Expression::CtSet {
            key: CtKey::Mark,
            from: Register::R1,
        },
    ]
}

/// `ct mark set ct mark & AND | OR`
#[must_use]
pub fn ct_mark_update(and: u32, or: u32) -> Vec<Expression> {
    vec![
        CT_MARK.load(Register::R1),
        and_or(and, or),
        Expression::CtSet {
            key: CtKey::Mark,
            from: Register::R1,
        },
    ]
}

/// `ct mark set LOAD`, of a mark.
#[must_use]
pub fn ct_mark_set_from(load: Load) -> Vec<Expression> {
    vec![
        load.load(Register::R1),
        Expression::CtSet {
            key: CtKey::Mark,
            from: Register::R1,
        },
    ]
}

/// `ct mark set LOAD . LOAD map @map` for a map of exact keys to marks.
#[must_use]
pub fn ct_mark_set_map(from: &[Load], map: &str) -> Vec<Expression> {
    let mut out = lookup(
        from,
        Layout::Exact,
        LookupSet::Named(map.to_owned()),
        Some(Register::R1),
    );
    out.push(Expression::CtSet {
        key: CtKey::Mark,
        from: Register::R1,
    });
    out
}

/// `meta mark set meta mark & AND | OR`
#[must_use]
pub fn meta_mark_update(and: u32, or: u32) -> Vec<Expression> {
    vec![
        MARK.load(Register::R1),
        and_or(and, or),
        Expression::MetaSet {
            key: MetaKey::Mark,
            from: Register::R1,
        },
    ]
}

/// `accept`, `drop`, `return`, `jump CHAIN`, `goto CHAIN`
#[must_use]
pub fn verdict(verdict: Verdict) -> Vec<Expression> {
    vec![Expression::Verdict(verdict)]
}

/// `counter`
#[must_use]
pub fn counter() -> Vec<Expression> {
    vec![Expression::Counter(Counter::default())]
}

/// `log group GROUP snaplen SNAPLEN`, with a prefix or without. 0 copies whole packets.
#[must_use]
pub fn log_group(group: u16, snaplen: u32, prefix: Option<Text>) -> Vec<Expression> {
    let target = LogTarget::Group {
        group,
        snaplen,
        queue_threshold: 0,
    };
    vec![Expression::Log(LogStatement { prefix, target })]
}

/// `reject with icmpx admin-prohibited` and the like.
#[must_use]
pub fn reject(reject: Reject) -> Vec<Expression> {
    vec![Expression::Reject(reject)]
}

/// `notrack`
#[must_use]
pub fn notrack() -> Vec<Expression> {
    vec![Expression::Notrack]
}

/// `masquerade`
#[must_use]
pub fn masquerade() -> Vec<Expression> {
    vec![Expression::Masquerade {
        flags: 0,
        ports: None,
    }]
}

/// `masquerade fully-random`
#[must_use]
pub fn masquerade_fully_random() -> Vec<Expression> {
    vec![Expression::Masquerade {
        flags: nat_flag::FULLY_RANDOM,
        ports: None,
    }]
}

/// Loads the fields of a key one after the other and looks it up. Fields begin at multiples of four
/// bytes; those that an interval set stores big-endian are turned.
#[must_use]
pub fn lookup(
    key: &[Load],
    layout: Layout,
    set: LookupSet,
    to: Option<Register>,
) -> Vec<Expression> {
    let mut out = Vec::with_capacity(key.len() + 2);
    let mut word = 0u8;
    for load in key {
        let at = Register::Word(word);
        out.push(load.load(at));
        if layout != Layout::Exact && load.key_type.needs_swap() {
            out.push(hton(at));
        }
        // A key of more words than registers is refused by the kernel.
        word =
            word.saturating_add(u8::try_from(load.key_type.len().div_ceil(4)).unwrap_or(u8::MAX));
    }
    out.push(Expression::Lookup {
        set,
        from: Register::R1,
        to,
        invert: false,
    });
    out
}

fn meta_eq(key: MetaKey, value: Vec<u8>) -> Vec<Expression> {
    vec![
        Expression::MetaLoad {
            key,
            to: Register::R1,
        },
        Expression::Cmp {
            op: CmpOp::Eq,
            from: Register::R1,
            value,
        },
    ]
}

fn cmp(load: Load, op: CmpOp, value: &Value) -> Vec<Expression> {
    let mut bytes = Vec::new();
    value.write(&mut bytes);
    vec![
        load.load(Register::R1),
        Expression::Cmp {
            op,
            from: Register::R1,
            value: bytes,
        },
    ]
}

/// A whole name is compared over 16 bytes, a pattern over those it gives.
fn name(key: MetaKey, op: CmpOp, pattern: &str) -> Vec<Expression> {
    let value = if let Some(beginning) = pattern.strip_suffix('*') {
        beginning.as_bytes().to_vec()
    } else {
        let mut bytes = pattern.as_bytes().to_vec();
        bytes.resize(16, 0);
        bytes
    };
    vec![
        Expression::MetaLoad {
            key,
            to: Register::R1,
        },
        Expression::Cmp {
            op,
            from: Register::R1,
            value,
        },
    ]
}

fn prefix(load: Load, op: CmpOp, address: &[u8], len: u8) -> Vec<Expression> {
    let bits = usize::from(len).min(address.len() * 8);
    if bits == 0 {
        return Vec::new();
    }
    let mask = prefix_mask(address.len(), len);
    let network: Vec<u8> = address.iter().zip(&mask).map(|(a, m)| a & m).collect();
    if bits % 8 == 0 {
        let value = network[..bits / 8].to_vec();
        return vec![
            load.prefix(Register::R1, bits / 8),
            Expression::Cmp {
                op,
                from: Register::R1,
                value,
            },
        ];
    }
    let xor = vec![0; mask.len()];
    vec![
        load.load(Register::R1),
        bitwise(mask, xor),
        Expression::Cmp {
            op,
            from: Register::R1,
            value: network,
        },
    ]
}

fn prefix_mask(bytes: usize, len: u8) -> Vec<u8> {
    let bit = |i: usize| u8::from(i < usize::from(len));
    (0..bytes)
        .map(|b| (0..8).fold(0, |byte, i| byte << 1 | bit(b * 8 + i)))
        .collect()
}

fn masked(load: Load, mask: u32, op: CmpOp, value: u32) -> Vec<Expression> {
    vec![
        load.load(Register::R1),
        bitwise(mask.to_ne_bytes().to_vec(), vec![0; 4]),
        Expression::Cmp {
            op,
            from: Register::R1,
            value: value.to_ne_bytes().to_vec(),
        },
    ]
}

fn ct_bits(key: CtKey, bits: u32) -> Vec<Expression> {
    vec![
        Expression::CtLoad {
            key,
            direction: None,
            to: Register::R1,
        },
        bitwise(bits.to_ne_bytes().to_vec(), vec![0; 4]),
        Expression::Cmp {
            op: CmpOp::Neq,
            from: Register::R1,
            value: vec![0; 4],
        },
    ]
}

/// `x & and | or` as the one mask and flip that the kernel has.
fn and_or(and: u32, or: u32) -> Expression {
    bitwise(
        (and & !or).to_ne_bytes().to_vec(),
        or.to_ne_bytes().to_vec(),
    )
}

fn bitwise(mask: Vec<u8>, xor: Vec<u8>) -> Expression {
    Expression::Bitwise {
        from: Register::R1,
        to: Register::R1,
        mask,
        xor,
    }
}

fn hton(at: Register) -> Expression {
    Expression::Byteorder {
        from: at,
        to: at,
        op: ByteorderOp::Hton,
        len: 4,
        size: 4,
    }
}

fn ordered(load: Load) -> Vec<Expression> {
    let mut out = vec![load.load(Register::R1)];
    if load.key_type.needs_swap() {
        out.push(hton(Register::R1));
    }
    out
}

fn ordered_bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.write_ordered(&mut bytes);
    bytes
}

fn immediate(value: &Value) -> Expression {
    let mut bytes = Vec::new();
    value.write(&mut bytes);
    Expression::Immediate {
        to: Register::R1,
        value: bytes,
    }
}
