//! Matches: what ends a rule unless the packet is such.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::expression::{
    CmpOp, CtDirection, CtKey, Expression, FibResult, MetaKey, RangeOp, Register, fib_flag,
};
use super::super::value::Value;
use super::load::{ETHER_TYPE, L4PROTO, Load};
use super::{bitwise, hton, prefix_mask};

/// `RTN_LOCAL` of `linux/rtnetlink.h`.
const RTN_LOCAL: u32 = 2;

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

/// `fib daddr type local`: the packet is for an address of this host.
#[must_use]
pub fn fib_daddr_local() -> Vec<Expression> {
    vec![
        Expression::Fib {
            result: FibResult::AddrType,
            flags: fib_flag::DADDR,
            to: Register::R1,
        },
        Expression::Cmp {
            op: CmpOp::Eq,
            from: Register::R1,
            value: RTN_LOCAL.to_ne_bytes().to_vec(),
        },
    ]
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

fn ordered(load: Load) -> Vec<Expression> {
    let mut out = vec![load.load(Register::R1)];
    if load.key_type().needs_swap() {
        out.push(hton(Register::R1));
    }
    out
}

fn ordered_bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.write_ordered(&mut bytes);
    bytes
}
