//! Sets and maps.

use super::{udata, udata_text};
use crate::kernel::{attr, flag, udata as tag};
use crate::object::{AnonymousSet, Counter, KeyType, Layout, Set, SetData};
use crate::wire::Writer;

pub fn encode(w: &mut Writer, table: &str, set: &Set, id: u32) {
    let layout = set.id().layout;
    w.string(attr::NFTA_SET_TABLE, table);
    w.string(attr::NFTA_SET_NAME, &set.name);
    let constant = if set.constant {
        flag::NFT_SET_CONSTANT
    } else {
        0
    };
    w.be32(attr::NFTA_SET_FLAGS, constant | flags(layout, set.data));
    types(w, &set.key, set.data, id);
    description(w, &set.key, layout, set.size);
    let mut data = byte_orders(&set.key, set.data);
    if let Some(comment) = &set.comment {
        udata_text(&mut data, tag::SET_COMMENT, comment);
    }
    w.bytes(attr::NFTA_SET_USERDATA, &data);
    if set.counter {
        w.nested(attr::NFTA_SET_EXPR, |w| {
            super::expression::counter(w, Counter::default());
        });
    }
}

pub fn encode_anonymous(w: &mut Writer, table: &str, set: &AnonymousSet, id: u32) {
    let layout = set.layout();
    w.string(attr::NFTA_SET_TABLE, table);
    w.string(attr::NFTA_SET_NAME, anonymous_name(set));
    let fixed = flag::NFT_SET_ANONYMOUS | flag::NFT_SET_CONSTANT;
    w.be32(attr::NFTA_SET_FLAGS, fixed | flags(layout, set.data));
    types(w, &set.key, set.data, id);
    // The kernel chooses a set's implementation by its size; an interval counts for two.
    let each = if layout == Layout::Interval { 2 } else { 1 };
    let size = u32::try_from(set.elements.len().saturating_mul(each)).ok();
    description(w, &set.key, layout, size);
    w.bytes(attr::NFTA_SET_USERDATA, &byte_orders(&set.key, set.data));
}

/// The pattern from which the kernel makes a name.
pub fn anonymous_name(set: &AnonymousSet) -> &'static str {
    if set.data == SetData::None {
        "__set%d"
    } else {
        "__map%d"
    }
}

fn flags(layout: Layout, data: SetData) -> u32 {
    let layout = match layout {
        Layout::Exact => 0,
        Layout::Interval => flag::NFT_SET_INTERVAL,
        Layout::IntervalConcat => flag::NFT_SET_INTERVAL | flag::NFT_SET_CONCAT,
    };
    let data = if data == SetData::None {
        0
    } else {
        flag::NFT_SET_MAP
    };
    layout | data
}

fn types(w: &mut Writer, key: &[KeyType], data: SetData, id: u32) {
    let key_type = key.iter().fold(0, |all: u32, field| {
        all << tag::TYPE_BITS | u32::from(field.id())
    });
    let key_len: usize = match key {
        [one] => one.len(),
        several => several
            .iter()
            .map(|field| field.len().next_multiple_of(4))
            .sum(),
    };
    w.be32(attr::NFTA_SET_KEY_TYPE, key_type);
    // A key of many fields that are too long together is refused by the kernel.
    w.be32(
        attr::NFTA_SET_KEY_LEN,
        u32::try_from(key_len).unwrap_or(u32::MAX),
    );
    match data {
        SetData::None => {}
        SetData::Verdict => {
            w.be32(attr::NFTA_SET_DATA_TYPE, flag::NFT_DATA_VERDICT);
            w.be32(attr::NFTA_SET_DATA_LEN, 0);
        }
        SetData::Value(data) => {
            w.be32(attr::NFTA_SET_DATA_TYPE, u32::from(data.id()));
            w.be32(
                attr::NFTA_SET_DATA_LEN,
                u32::try_from(data.len()).unwrap_or(u32::MAX),
            );
        }
    }
    w.be32(attr::NFTA_SET_ID, id);
}

fn description(w: &mut Writer, key: &[KeyType], layout: Layout, size: Option<u32>) {
    if layout != Layout::IntervalConcat && size.is_none() {
        return;
    }
    w.nested(attr::NFTA_SET_DESC, |w| {
        if let Some(size) = size {
            w.be32(attr::NFTA_SET_DESC_SIZE, size);
        }
        if layout == Layout::IntervalConcat {
            w.nested(attr::NFTA_SET_DESC_CONCAT, |w| {
                for field in key {
                    w.nested(attr::NFTA_LIST_ELEM, |w| {
                        w.be32(
                            attr::NFTA_SET_FIELD_LEN,
                            u32::try_from(field.len()).unwrap_or(u32::MAX),
                        );
                    });
                }
            });
        }
    });
}

fn byte_orders(key: &[KeyType], data: SetData) -> Vec<u8> {
    let of = |field: KeyType| {
        if field.is_host_order() {
            tag::BYTEORDER_HOST_ENDIAN
        } else {
            tag::BYTEORDER_BIG_ENDIAN
        }
    };
    let mut out = Vec::new();
    let key = if let [one] = key {
        of(*one)
    } else {
        tag::BYTEORDER_INVALID
    };
    udata(&mut out, tag::SET_KEYBYTEORDER, &key.to_ne_bytes());
    match data {
        SetData::None => {}
        SetData::Verdict => udata(
            &mut out,
            tag::SET_DATABYTEORDER,
            &tag::BYTEORDER_INVALID.to_ne_bytes(),
        ),
        SetData::Value(data) => udata(&mut out, tag::SET_DATABYTEORDER, &of(data).to_ne_bytes()),
    }
    out
}
