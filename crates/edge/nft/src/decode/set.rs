//! Sets and maps.

use super::{Malformed, Result, be32, string, table_id, text, udata};
use crate::kernel::{attr, flag, udata as tag};
use crate::object::{KeyType, Set, SetData, TableId};
use crate::wire::{Attributes, Message};

/// A set as a message describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetMessage {
    pub table: TableId,
    pub set: Set,
    pub handle: u64,
    /// Whether it belongs to a rule.
    pub anonymous: bool,
}

pub fn set(message: &Message<'_>) -> Result<SetMessage> {
    let table = table_id(message, attr::NFTA_SET_TABLE)?;
    let attributes = message.attributes();
    let flags = attributes
        .find(attr::NFTA_SET_FLAGS)
        .and_then(|a| a.be32())
        .unwrap_or(0);
    let description = attributes.find(attr::NFTA_SET_DESC).map(|a| a.nested());
    let userdata = attributes
        .find(attr::NFTA_SET_USERDATA)
        .map_or(&[][..], |a| a.payload);
    let set = Set {
        name: string(attributes, attr::NFTA_SET_NAME, "name of a set")?,
        key: key(attributes, description)?,
        data: data(attributes, flags)?,
        interval: flags & flag::NFT_SET_INTERVAL != 0,
        counter: counts(attributes),
        constant: flags & flag::NFT_SET_CONSTANT != 0,
        size: description
            .and_then(|d| d.find(attr::NFTA_SET_DESC_SIZE))
            .and_then(|a| a.be32()),
        comment: udata(userdata, tag::SET_COMMENT).map(text),
    };
    let handle = attributes
        .find(attr::NFTA_SET_HANDLE)
        .and_then(|a| a.be64())
        .unwrap_or(0);
    Ok(SetMessage {
        table,
        set,
        handle,
        anonymous: flags & flag::NFT_SET_ANONYMOUS != 0,
    })
}

/// The fields of the key. The kernel keeps them as one number of six bits for each, made by `nft`.
fn key(attributes: Attributes<'_>, description: Option<Attributes<'_>>) -> Result<Vec<KeyType>> {
    let mut types = be32(attributes, attr::NFTA_SET_KEY_TYPE, "type of a set")?;
    let len = be32(attributes, attr::NFTA_SET_KEY_LEN, "key length of a set")?;
    let lens: Vec<u32> = description
        .and_then(|d| d.find(attr::NFTA_SET_DESC_CONCAT))
        .map(|list| {
            list.nested()
                .iter()
                .filter_map(|f| f.nested().find(attr::NFTA_SET_FIELD_LEN)?.be32())
                .collect()
        })
        .unwrap_or_default();
    let mask = (1 << tag::TYPE_BITS) - 1;
    let mut ids = Vec::new();
    while types != 0 {
        // Six bits fit a byte.
        ids.push(u8::try_from(types & mask).unwrap_or(0));
        types >>= tag::TYPE_BITS;
    }
    ids.reverse();
    let several = ids.len() > 1;
    let key: Vec<KeyType> = ids
        .into_iter()
        .enumerate()
        .map(|(i, id)| {
            // Of a type that is not named, the length is known only where it is the whole or described.
            let len = if several {
                lens.get(i).copied().unwrap_or(4)
            } else {
                len
            };
            KeyType::from_id(id, u8::try_from(len).unwrap_or(u8::MAX))
        })
        .collect();
    if key.is_empty() {
        Ok(vec![KeyType::Other {
            id: 0,
            len: u8::try_from(len).unwrap_or(u8::MAX),
        }])
    } else {
        Ok(key)
    }
}

fn data(attributes: Attributes<'_>, flags: u32) -> Result<SetData> {
    if flags & flag::NFT_SET_MAP == 0 {
        return Ok(SetData::None);
    }
    let data_type = be32(attributes, attr::NFTA_SET_DATA_TYPE, "data type of a map")?;
    if data_type == flag::NFT_DATA_VERDICT {
        return Ok(SetData::Verdict);
    }
    let len = be32(attributes, attr::NFTA_SET_DATA_LEN, "data length of a map")?;
    let id = u8::try_from(data_type).map_err(|_| Malformed("data type of a map"))?;
    Ok(SetData::Value(KeyType::from_id(
        id,
        u8::try_from(len).unwrap_or(u8::MAX),
    )))
}

fn counts(attributes: Attributes<'_>) -> bool {
    let is_counter = |expression: Attributes<'_>| {
        expression
            .find(attr::NFTA_EXPR_NAME)
            .is_some_and(|name| name.string() == "counter")
    };
    let single = attributes
        .find(attr::NFTA_SET_EXPR)
        .is_some_and(|a| is_counter(a.nested()));
    let among = attributes
        .find(attr::NFTA_SET_EXPRESSIONS)
        .is_some_and(|list| {
            list.nested()
                .iter()
                .any(|expression| is_counter(expression.nested()))
        });
    single || among
}
