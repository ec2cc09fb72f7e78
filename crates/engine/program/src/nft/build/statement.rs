//! Statements: what a rule does.

use super::super::expression::{
    CtKey, Expression, LogStatement, LogTarget, MetaKey, Register, Reject, nat_flag,
};
use super::super::object::Verdict;
use super::super::set::Counter;
use super::super::text::Text;
use super::super::value::Value;
use super::bitwise;
use super::load::{CT_MARK, Load, MARK};

/// `accept`, `drop`, `return`, `jump CHAIN`, `goto CHAIN`
#[must_use]
pub fn verdict(verdict: Verdict) -> Vec<Expression> {
    vec![Expression::Verdict(verdict)]
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

/// `x & and | or` as the one mask and flip that the kernel has.
fn and_or(and: u32, or: u32) -> Expression {
    bitwise(
        (and & !or).to_ne_bytes().to_vec(),
        or.to_ne_bytes().to_vec(),
    )
}

fn immediate(value: &Value) -> Expression {
    let mut bytes = Vec::new();
    value.write(&mut bytes);
    Expression::Immediate {
        to: Register::R1,
        value: bytes,
    }
}
