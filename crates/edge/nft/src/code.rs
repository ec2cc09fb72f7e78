//! The kernel's numbers of our enumerations, both ways, each pair written once.

use crate::kernel::flag;
use crate::object::{
    ByteorderOp, ChainKind, CmpOp, CtDirection, CtKey, Family, FibResult, Hook, MetaKey,
    PayloadBase, Policy, RangeOp,
};

/// Pairs of a value and the kernel's number or word for it.
pub type Code<T, N> = [(T, N)];

/// The number of a value. Tables are total except where a type has an `Other`.
pub fn number<T: PartialEq, N: Copy>(code: &Code<T, N>, value: &T) -> Option<N> {
    code.iter().find(|(v, _)| v == value).map(|(_, n)| *n)
}

/// The value of a number.
pub fn value<T: Copy, N: PartialEq>(code: &Code<T, N>, number: &N) -> Option<T> {
    code.iter().find(|(_, n)| n == number).map(|(v, _)| *v)
}

pub const POLICY: [(Policy, u32); 2] = [(Policy::Drop, 0), (Policy::Accept, 1)];

pub const CHAIN_KIND: [(ChainKind, &str); 3] = [
    (ChainKind::Filter, "filter"),
    (ChainKind::Nat, "nat"),
    (ChainKind::Route, "route"),
];

/// `enum nf_inet_hooks`, or `enum nf_dev_hooks` for devices.
pub fn hooks(family: Family) -> &'static Code<Hook, u32> {
    const INET: [(Hook, u32); 6] = [
        (Hook::Prerouting, 0),
        (Hook::Input, 1),
        (Hook::Forward, 2),
        (Hook::Output, 3),
        (Hook::Postrouting, 4),
        (Hook::Ingress, 5),
    ];
    const NETDEV: [(Hook, u32); 2] = [(Hook::Ingress, 0), (Hook::Egress, 1)];
    if family == Family::Netdev {
        &NETDEV
    } else {
        &INET
    }
}

const META: [(MetaKey, u32); 15] = [
    (MetaKey::Length, 0),
    (MetaKey::Protocol, 1),
    (MetaKey::Priority, 2),
    (MetaKey::Mark, 3),
    (MetaKey::Iif, 4),
    (MetaKey::Oif, 5),
    (MetaKey::IifName, 6),
    (MetaKey::OifName, 7),
    (MetaKey::IifType, 8),
    (MetaKey::OifType, 9),
    (MetaKey::NfTrace, 12),
    (MetaKey::NfProto, 15),
    (MetaKey::L4Proto, 16),
    (MetaKey::PktType, 19),
    (MetaKey::Cpu, 20),
];

pub fn meta_key(key: MetaKey) -> u32 {
    match key {
        MetaKey::Other(number) => number,
        // Every other key is in the table.
        key => number(&META, &key).unwrap_or(u32::MAX),
    }
}

pub fn meta_key_of(number: u32) -> MetaKey {
    value(&META, &number).unwrap_or(MetaKey::Other(number))
}

const CT: [(CtKey, u32); 5] = [
    (CtKey::State, 0),
    (CtKey::Direction, 1),
    (CtKey::Status, 2),
    (CtKey::Mark, 3),
    (CtKey::Zone, 17),
];

pub fn ct_key(key: CtKey) -> u32 {
    match key {
        CtKey::Other(number) => number,
        // Every other key is in the table.
        key => number(&CT, &key).unwrap_or(u32::MAX),
    }
}

pub fn ct_key_of(number: u32) -> CtKey {
    value(&CT, &number).unwrap_or(CtKey::Other(number))
}

pub const CT_DIRECTION: [(CtDirection, u8); 2] =
    [(CtDirection::Original, 0), (CtDirection::Reply, 1)];

pub const PAYLOAD_BASE: [(PayloadBase, u32); 4] = [
    (PayloadBase::Link, 0),
    (PayloadBase::Network, 1),
    (PayloadBase::Transport, 2),
    (PayloadBase::Inner, 3),
];

pub const CMP_OP: [(CmpOp, u32); 6] = [
    (CmpOp::Eq, 0),
    (CmpOp::Neq, 1),
    (CmpOp::Lt, 2),
    (CmpOp::Lte, 3),
    (CmpOp::Gt, 4),
    (CmpOp::Gte, 5),
];

pub const RANGE_OP: [(RangeOp, u32); 2] = [(RangeOp::Eq, 0), (RangeOp::Neq, 1)];

pub const BYTEORDER_OP: [(ByteorderOp, u32); 2] = [(ByteorderOp::Ntoh, 0), (ByteorderOp::Hton, 1)];

pub const FIB_RESULT: [(FibResult, u32); 3] = [
    (FibResult::Oif, flag::NFT_FIB_RESULT_OIF),
    (FibResult::OifName, flag::NFT_FIB_RESULT_OIFNAME),
    (FibResult::AddrType, flag::NFT_FIB_RESULT_ADDRTYPE),
];
