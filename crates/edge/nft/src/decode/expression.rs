//! Expressions of rules.

use super::{Malformed, Result, be32};
use crate::code;
use crate::kernel::{attr, flag};
use crate::object::{
    Bytes, Counter, Expression, LogStatement, LogTarget, LookupSet, Register, Reject, Text,
};
use crate::wire::Attributes;

/// An expression from the attributes of a list's item. What it is unable to name exactly it keeps as
/// [`Expression::Other`].
pub fn decode(item: Attributes<'_>) -> Result<Expression> {
    let name = super::string(item, attr::NFTA_EXPR_NAME, "name of an expression")?;
    let data = item
        .find(attr::NFTA_EXPR_DATA)
        .map_or(&[][..], |a| a.payload);
    let attributes = Attributes::new(data);
    let known = match name.as_str() {
        "meta" => meta(attributes),
        "ct" => ct(attributes),
        "payload" => payload(attributes),
        "cmp" => cmp(attributes),
        "range" => range(attributes),
        "bitwise" => bitwise(attributes),
        "byteorder" => byteorder(attributes),
        "lookup" => lookup(attributes),
        "immediate" => return immediate(attributes),
        "counter" => Some(Expression::Counter(counter(attributes))),
        "log" => Some(log(attributes)),
        "reject" => reject(attributes),
        "masq" => masquerade(attributes),
        "notrack" => Some(Expression::Notrack),
        "fib" => fib(attributes),
        _ => None,
    };
    Ok(known.unwrap_or_else(|| Expression::Other {
        name,
        data: data.to_vec(),
    }))
}

/// A counter's values; those that are missing are zero.
pub fn counter(attributes: Attributes<'_>) -> Counter {
    let value = |kind| attributes.find(kind).and_then(|a| a.be64()).unwrap_or(0);
    Counter {
        packets: value(attr::NFTA_COUNTER_PACKETS),
        bytes: value(attr::NFTA_COUNTER_BYTES),
    }
}

fn meta(a: Attributes<'_>) -> Option<Expression> {
    let key = code::meta_key_of(number(a, attr::NFTA_META_KEY)?);
    if let Some(to) = register(a, attr::NFTA_META_DREG) {
        return Some(Expression::MetaLoad { key, to });
    }
    Some(Expression::MetaSet {
        key,
        from: register(a, attr::NFTA_META_SREG)?,
    })
}

fn ct(a: Attributes<'_>) -> Option<Expression> {
    let key = code::ct_key_of(number(a, attr::NFTA_CT_KEY)?);
    if let Some(to) = register(a, attr::NFTA_CT_DREG) {
        let direction = match a.find(attr::NFTA_CT_DIRECTION) {
            None => None,
            Some(direction) => Some(code::value(&code::CT_DIRECTION, &direction.u8()?)?),
        };
        return Some(Expression::CtLoad { key, direction, to });
    }
    if a.find(attr::NFTA_CT_DIRECTION).is_some() {
        return None;
    }
    Some(Expression::CtSet {
        key,
        from: register(a, attr::NFTA_CT_SREG)?,
    })
}

fn payload(a: Attributes<'_>) -> Option<Expression> {
    Some(Expression::PayloadLoad {
        to: register(a, attr::NFTA_PAYLOAD_DREG)?,
        base: code::value(&code::PAYLOAD_BASE, &number(a, attr::NFTA_PAYLOAD_BASE)?)?,
        offset: number(a, attr::NFTA_PAYLOAD_OFFSET)?,
        len: number(a, attr::NFTA_PAYLOAD_LEN)?,
    })
}

fn cmp(a: Attributes<'_>) -> Option<Expression> {
    Some(Expression::Cmp {
        from: register(a, attr::NFTA_CMP_SREG)?,
        op: code::value(&code::CMP_OP, &number(a, attr::NFTA_CMP_OP)?)?,
        value: constant(a, attr::NFTA_CMP_DATA)?,
    })
}

fn range(a: Attributes<'_>) -> Option<Expression> {
    Some(Expression::Range {
        from: register(a, attr::NFTA_RANGE_SREG)?,
        op: code::value(&code::RANGE_OP, &number(a, attr::NFTA_RANGE_OP)?)?,
        first: constant(a, attr::NFTA_RANGE_FROM_DATA)?,
        last: constant(a, attr::NFTA_RANGE_TO_DATA)?,
    })
}

fn bitwise(a: Attributes<'_>) -> Option<Expression> {
    if number(a, attr::NFTA_BITWISE_OP).is_some_and(|op| op != flag::NFT_BITWISE_MASK_XOR) {
        return None;
    }
    Some(Expression::Bitwise {
        from: register(a, attr::NFTA_BITWISE_SREG)?,
        to: register(a, attr::NFTA_BITWISE_DREG)?,
        mask: constant(a, attr::NFTA_BITWISE_MASK)?,
        xor: constant(a, attr::NFTA_BITWISE_XOR)?,
    })
}

fn byteorder(a: Attributes<'_>) -> Option<Expression> {
    Some(Expression::Byteorder {
        from: register(a, attr::NFTA_BYTEORDER_SREG)?,
        to: register(a, attr::NFTA_BYTEORDER_DREG)?,
        op: code::value(&code::BYTEORDER_OP, &number(a, attr::NFTA_BYTEORDER_OP)?)?,
        len: number(a, attr::NFTA_BYTEORDER_LEN)?,
        size: number(a, attr::NFTA_BYTEORDER_SIZE)?,
    })
}

fn lookup(a: Attributes<'_>) -> Option<Expression> {
    let flags = number(a, attr::NFTA_LOOKUP_FLAGS).unwrap_or(0);
    if flags & !flag::NFT_LOOKUP_F_INV != 0 {
        return None;
    }
    let to = match a.find(attr::NFTA_LOOKUP_DREG) {
        None => None,
        Some(to) => Some(Register::from_number(to.be32()?)?),
    };
    Some(Expression::Lookup {
        set: LookupSet::Named(a.find(attr::NFTA_LOOKUP_SET)?.string()),
        from: register(a, attr::NFTA_LOOKUP_SREG)?,
        to,
        invert: flags & flag::NFT_LOOKUP_F_INV != 0,
    })
}

fn immediate(a: Attributes<'_>) -> Result<Expression> {
    let to = be32(a, attr::NFTA_IMMEDIATE_DREG, "register of a constant")?;
    let to = Register::from_number(to).ok_or(Malformed("register of a constant"))?;
    let data = a
        .find(attr::NFTA_IMMEDIATE_DATA)
        .ok_or(Malformed("constant"))?
        .nested();
    if let Some(inside) = data.find(attr::NFTA_DATA_VERDICT) {
        return Ok(Expression::Verdict(super::element::verdict(
            inside.nested(),
        )?));
    }
    let value = data
        .find(attr::NFTA_DATA_VALUE)
        .ok_or(Malformed("constant"))?
        .payload
        .to_vec();
    Ok(Expression::Immediate { to, value })
}

fn log(a: Attributes<'_>) -> Expression {
    let prefix = a
        .find(attr::NFTA_LOG_PREFIX)
        .map(|p| Text::from(p.string()))
        .filter(|p| !p.as_str().is_empty());
    let target = match a.find(attr::NFTA_LOG_GROUP).and_then(|g| g.be16()) {
        Some(group) => LogTarget::Group {
            group,
            snaplen: number(a, attr::NFTA_LOG_SNAPLEN).unwrap_or(0),
            queue_threshold: a
                .find(attr::NFTA_LOG_QTHRESHOLD)
                .and_then(|t| t.be16())
                .unwrap_or(0),
        },
        None => LogTarget::Kernel {
            level: number(a, attr::NFTA_LOG_LEVEL).unwrap_or(4),
            flags: number(a, attr::NFTA_LOG_FLAGS).unwrap_or(0),
        },
    };
    Expression::Log(LogStatement { prefix, target })
}

fn reject(a: Attributes<'_>) -> Option<Expression> {
    let code = || a.find(attr::NFTA_REJECT_ICMP_CODE).and_then(|c| c.u8());
    Some(Expression::Reject(
        match number(a, attr::NFTA_REJECT_TYPE)? {
            flag::NFT_REJECT_ICMP_UNREACH => Reject::Icmp(code()?),
            flag::NFT_REJECT_TCP_RST => Reject::TcpReset,
            flag::NFT_REJECT_ICMPX_UNREACH => Reject::Icmpx(code()?),
            _ => return None,
        },
    ))
}

fn masquerade(a: Attributes<'_>) -> Option<Expression> {
    let min = register(a, attr::NFTA_MASQ_REG_PROTO_MIN);
    let max = register(a, attr::NFTA_MASQ_REG_PROTO_MAX);
    let ports = match (min, max) {
        (None, None) => None,
        (Some(min), max) => Some((min, max.unwrap_or(min))),
        (None, Some(_)) => return None,
    };
    Some(Expression::Masquerade {
        flags: number(a, attr::NFTA_MASQ_FLAGS).unwrap_or(0),
        ports,
    })
}

fn fib(a: Attributes<'_>) -> Option<Expression> {
    Some(Expression::Fib {
        to: register(a, attr::NFTA_FIB_DREG)?,
        result: code::value(&code::FIB_RESULT, &number(a, attr::NFTA_FIB_RESULT)?)?,
        flags: number(a, attr::NFTA_FIB_FLAGS)?,
    })
}

fn number(a: Attributes<'_>, kind: u16) -> Option<u32> {
    a.find(kind)?.be32()
}

fn register(a: Attributes<'_>, kind: u16) -> Option<Register> {
    Register::from_number(number(a, kind)?)
}

fn constant(a: Attributes<'_>, kind: u16) -> Option<Bytes> {
    Some(
        a.find(kind)?
            .nested()
            .find(attr::NFTA_DATA_VALUE)?
            .payload
            .to_vec(),
    )
}
