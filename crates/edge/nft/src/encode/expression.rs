//! Expressions of rules.

use super::element::verdict;
use crate::code::{self, Code};
use crate::kernel::{attr, flag};
use crate::object::{
    ByteorderOp, Counter, CtKey, Expression, LogStatement, LogTarget, LookupSet, MetaKey,
    PayloadBase, RangeOp, Register, Reject,
};
use crate::wire::Writer;

/// Appends an expression. `anonymous` gives the identifiers of the rule's anonymous sets in order.
pub fn encode(w: &mut Writer, expression: &Expression, anonymous: &mut impl Iterator<Item = u32>) {
    w.nested(attr::NFTA_LIST_ELEM, |w| {
        w.string(attr::NFTA_EXPR_NAME, name(expression));
        if let Expression::Other { data, .. } = expression {
            w.bytes(attr::NFTA_EXPR_DATA | attr::NLA_F_NESTED, data);
        } else if *expression != Expression::Notrack {
            w.nested(attr::NFTA_EXPR_DATA, |w| data(w, expression, anonymous));
        }
    });
}

/// Appends name and data of a counter, as elements and sets hold it.
pub fn counter(w: &mut Writer, counter: Counter) {
    w.string(attr::NFTA_EXPR_NAME, "counter");
    w.nested(attr::NFTA_EXPR_DATA, |w| counter_data(w, counter));
}

fn name(expression: &Expression) -> &str {
    match expression {
        Expression::MetaLoad { .. } | Expression::MetaSet { .. } => "meta",
        Expression::CtLoad { .. } | Expression::CtSet { .. } => "ct",
        Expression::PayloadLoad { .. } => "payload",
        Expression::Cmp { .. } => "cmp",
        Expression::Range { .. } => "range",
        Expression::Bitwise { .. } => "bitwise",
        Expression::Byteorder { .. } => "byteorder",
        Expression::Lookup { .. } => "lookup",
        Expression::Immediate { .. } | Expression::Verdict(_) => "immediate",
        Expression::Counter(_) => "counter",
        Expression::Log(_) => "log",
        Expression::Reject(_) => "reject",
        Expression::Masquerade { .. } => "masq",
        Expression::Notrack => "notrack",
        Expression::Fib { .. } => "fib",
        Expression::Other { name, .. } => name,
    }
}

fn data(w: &mut Writer, expression: &Expression, anonymous: &mut impl Iterator<Item = u32>) {
    use Expression as E;
    match expression {
        E::MetaLoad { key, to } => meta(w, *key, attr::NFTA_META_DREG, *to),
        E::MetaSet { key, from } => meta(w, *key, attr::NFTA_META_SREG, *from),
        E::CtLoad { key, direction, to } => {
            ct(w, *key, attr::NFTA_CT_DREG, *to);
            if let Some(side) = direction {
                w.u8(attr::NFTA_CT_DIRECTION, coded(&code::CT_DIRECTION, side));
            }
        }
        E::CtSet { key, from } => ct(w, *key, attr::NFTA_CT_SREG, *from),
        E::PayloadLoad {
            base,
            offset,
            len,
            to,
        } => payload(w, *base, (*offset, *len), *to),
        E::Cmp { op, from, value } => {
            register(w, attr::NFTA_CMP_SREG, *from);
            w.be32(attr::NFTA_CMP_OP, coded(&code::CMP_OP, op));
            constant(w, attr::NFTA_CMP_DATA, value);
        }
        E::Range {
            op,
            from,
            first,
            last,
        } => range(w, *op, *from, first, last),
        E::Bitwise {
            from,
            to,
            mask,
            xor,
        } => bitwise(w, *from, *to, mask, xor),
        E::Byteorder {
            from,
            to,
            op,
            len,
            size,
        } => byteorder(w, (*from, *to), *op, *len, *size),
        E::Lookup {
            set,
            from,
            to,
            invert,
        } => {
            lookup_set(w, set, anonymous);
            register(w, attr::NFTA_LOOKUP_SREG, *from);
            if let Some(to) = to {
                register(w, attr::NFTA_LOOKUP_DREG, *to);
            }
            if *invert {
                w.be32(attr::NFTA_LOOKUP_FLAGS, flag::NFT_LOOKUP_F_INV);
            }
        }
        E::Immediate { to, value } => {
            register(w, attr::NFTA_IMMEDIATE_DREG, *to);
            constant(w, attr::NFTA_IMMEDIATE_DATA, value);
        }
        E::Verdict(code) => {
            register(w, attr::NFTA_IMMEDIATE_DREG, Register::Verdict);
            w.nested(attr::NFTA_IMMEDIATE_DATA, |w| verdict(w, code));
        }
        E::Counter(counter) => counter_data(w, *counter),
        E::Log(log) => log_data(w, log),
        E::Reject(how) => reject(w, *how),
        E::Masquerade { flags, ports } => masquerade(w, *flags, *ports),
        E::Fib { result, flags, to } => {
            register(w, attr::NFTA_FIB_DREG, *to);
            w.be32(attr::NFTA_FIB_RESULT, coded(&code::FIB_RESULT, result));
            w.be32(attr::NFTA_FIB_FLAGS, *flags);
        }
        // Both have been written whole.
        E::Notrack | E::Other { .. } => {}
    }
}

fn meta(w: &mut Writer, key: MetaKey, direction: u16, at: Register) {
    w.be32(attr::NFTA_META_KEY, code::meta_key(key));
    register(w, direction, at);
}

fn ct(w: &mut Writer, key: CtKey, direction: u16, at: Register) {
    w.be32(attr::NFTA_CT_KEY, code::ct_key(key));
    register(w, direction, at);
}

fn payload(w: &mut Writer, base: PayloadBase, (offset, len): (u32, u32), to: Register) {
    register(w, attr::NFTA_PAYLOAD_DREG, to);
    w.be32(attr::NFTA_PAYLOAD_BASE, coded(&code::PAYLOAD_BASE, &base));
    w.be32(attr::NFTA_PAYLOAD_OFFSET, offset);
    w.be32(attr::NFTA_PAYLOAD_LEN, len);
}

fn range(w: &mut Writer, op: RangeOp, from: Register, first: &[u8], last: &[u8]) {
    register(w, attr::NFTA_RANGE_SREG, from);
    w.be32(attr::NFTA_RANGE_OP, coded(&code::RANGE_OP, &op));
    constant(w, attr::NFTA_RANGE_FROM_DATA, first);
    constant(w, attr::NFTA_RANGE_TO_DATA, last);
}

fn bitwise(w: &mut Writer, from: Register, to: Register, mask: &[u8], xor: &[u8]) {
    register(w, attr::NFTA_BITWISE_SREG, from);
    register(w, attr::NFTA_BITWISE_DREG, to);
    // A mask longer than the registers is refused by the kernel.
    let len = u32::try_from(mask.len()).unwrap_or(u32::MAX);
    w.be32(attr::NFTA_BITWISE_LEN, len);
    constant(w, attr::NFTA_BITWISE_MASK, mask);
    constant(w, attr::NFTA_BITWISE_XOR, xor);
}

fn byteorder(w: &mut Writer, at: (Register, Register), op: ByteorderOp, len: u32, size: u32) {
    register(w, attr::NFTA_BYTEORDER_SREG, at.0);
    register(w, attr::NFTA_BYTEORDER_DREG, at.1);
    w.be32(attr::NFTA_BYTEORDER_OP, coded(&code::BYTEORDER_OP, &op));
    w.be32(attr::NFTA_BYTEORDER_LEN, len);
    w.be32(attr::NFTA_BYTEORDER_SIZE, size);
}

fn lookup_set(w: &mut Writer, set: &LookupSet, anonymous: &mut impl Iterator<Item = u32>) {
    match set {
        LookupSet::Named(name) => w.string(attr::NFTA_LOOKUP_SET, name),
        LookupSet::Anonymous(set) => {
            w.string(attr::NFTA_LOOKUP_SET, super::set::anonymous_name(set));
            // The caller numbered the anonymous sets of this very rule.
            w.be32(attr::NFTA_LOOKUP_SET_ID, anonymous.next().unwrap_or(0));
        }
    }
}

fn reject(w: &mut Writer, reject: Reject) {
    let (kind, code) = match reject {
        Reject::Icmp(code) => (flag::NFT_REJECT_ICMP_UNREACH, code),
        Reject::TcpReset => (flag::NFT_REJECT_TCP_RST, 0),
        Reject::Icmpx(code) => (flag::NFT_REJECT_ICMPX_UNREACH, code),
    };
    w.be32(attr::NFTA_REJECT_TYPE, kind);
    w.u8(attr::NFTA_REJECT_ICMP_CODE, code);
}

fn masquerade(w: &mut Writer, flags: u32, ports: Option<(Register, Register)>) {
    if flags != 0 {
        w.be32(attr::NFTA_MASQ_FLAGS, flags);
    }
    if let Some((min, max)) = ports {
        register(w, attr::NFTA_MASQ_REG_PROTO_MIN, min);
        register(w, attr::NFTA_MASQ_REG_PROTO_MAX, max);
    }
}

fn counter_data(w: &mut Writer, counter: Counter) {
    w.be64(attr::NFTA_COUNTER_BYTES, counter.bytes);
    w.be64(attr::NFTA_COUNTER_PACKETS, counter.packets);
}

fn log_data(w: &mut Writer, log: &LogStatement) {
    if let Some(prefix) = &log.prefix {
        w.string(attr::NFTA_LOG_PREFIX, prefix.as_str());
    }
    match log.target {
        LogTarget::Group {
            group,
            snaplen,
            queue_threshold,
        } => {
            w.be16(attr::NFTA_LOG_GROUP, group);
            // A length of zero that is written means nothing of the packet, not all of it.
            if snaplen != 0 {
                w.be32(attr::NFTA_LOG_SNAPLEN, snaplen);
            }
            if queue_threshold != 0 {
                w.be16(attr::NFTA_LOG_QTHRESHOLD, queue_threshold);
            }
        }
        LogTarget::Kernel { level, flags } => {
            w.be32(attr::NFTA_LOG_LEVEL, level);
            if flags != 0 {
                w.be32(attr::NFTA_LOG_FLAGS, flags);
            }
        }
    }
}

fn register(w: &mut Writer, kind: u16, register: Register) {
    w.be32(kind, register.number());
}

fn constant(w: &mut Writer, kind: u16, value: &[u8]) {
    w.nested(kind, |w| w.bytes(attr::NFTA_DATA_VALUE, value));
}

/// A number from a table that has one for every value.
fn coded<T: PartialEq, N: Copy + Default>(code: &Code<T, N>, value: &T) -> N {
    code::number(code, value).unwrap_or_default()
}
