//! Look-ups in sets and maps.

use super::super::expression::{CtKey, Expression, LookupSet, MetaKey, Register};
use super::super::set::{AnonymousSet, Layout};
use super::load::Load;
use super::{bitwise, hton, prefix_mask};

/// `LOAD . LOAD @set`: the key is in a set of exact keys.
#[must_use]
pub fn in_set(key: &[Load], set: &str) -> Vec<Expression> {
    lookup(key, Layout::Exact, LookupSet::Named(set.to_owned()), None)
}

/// `LOAD . LOAD != @set`: the key is not in a set of exact keys.
#[must_use]
pub fn not_in_set(key: &[Load], set: &str) -> Vec<Expression> {
    inverted(in_set(key, set))
}

/// `LOAD . LOAD @set` for a set of ranges.
#[must_use]
pub fn in_interval_set(key: &[Load], set: &str) -> Vec<Expression> {
    lookup(
        key,
        Layout::Interval,
        LookupSet::Named(set.to_owned()),
        None,
    )
}

/// `LOAD . LOAD != @set` for a set of ranges.
#[must_use]
pub fn not_in_interval_set(key: &[Load], set: &str) -> Vec<Expression> {
    inverted(in_interval_set(key, set))
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
    let bytes = load.key_type().len();
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
        if layout != Layout::Exact && load.key_type().needs_swap() {
            out.push(hton(at));
        }
        // A key of more words than registers is refused by the kernel.
        word =
            word.saturating_add(u8::try_from(load.key_type().len().div_ceil(4)).unwrap_or(u8::MAX));
    }
    out.push(Expression::Lookup {
        set,
        from: Register::R1,
        to,
        invert: false,
    });
    out
}

/// The same, ending the rule where the key is present.
fn inverted(mut lookup: Vec<Expression>) -> Vec<Expression> {
    if let Some(Expression::Lookup { invert, .. }) = lookup.last_mut() {
        *invert = true;
    }
    lookup
}
