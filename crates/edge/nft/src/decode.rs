//! Netlink messages to programs. Pure: no socket, no state.
//!
//! What the kernel sends is taken as bytes from outside: an attribute that is missing or has the wrong
//! length makes the object [`Malformed`], it never panics.

mod element;
mod expression;
mod set;

pub use element::elements;
pub use set::set;

use crate::code;
use crate::kernel::{attr, udata};
use crate::object::{BaseChain, Chain, Family, InstalledRule, Rule, TableId, Text};
use crate::wire::{Attributes, Message};

/// An object that cannot be read, and the part of it that is missing or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// A result of reading.
pub type Result<T> = std::result::Result<T, Malformed>;

/// A table and its comment.
pub fn table(message: &Message<'_>) -> Result<(TableId, Option<Text>)> {
    let attributes = message.attributes();
    let comment = attributes
        .find(attr::NFTA_TABLE_USERDATA)
        .and_then(|a| udata(a.payload, udata::TABLE_COMMENT))
        .map(text);
    Ok((table_id(message, attr::NFTA_TABLE_NAME)?, comment))
}

/// A chain, its table and its handle.
pub fn chain(message: &Message<'_>) -> Result<(TableId, Chain, u64)> {
    let table = table_id(message, attr::NFTA_CHAIN_TABLE)?;
    let attributes = message.attributes();
    let name = string(attributes, attr::NFTA_CHAIN_NAME, "name of a chain")?;
    let base = attributes
        .find(attr::NFTA_CHAIN_HOOK)
        .map(|hook| base_chain(table.family, attributes, hook.nested()));
    let handle = attributes
        .find(attr::NFTA_CHAIN_HANDLE)
        .and_then(|a| a.be64())
        .unwrap_or(0);
    Ok((
        table,
        Chain {
            name,
            base: base.transpose()?,
        },
        handle,
    ))
}

/// A rule. Its anonymous sets are named by the kernel's names: see [`crate::reader`].
pub fn rule(message: &Message<'_>) -> Result<(TableId, InstalledRule)> {
    let table = table_id(message, attr::NFTA_RULE_TABLE)?;
    let attributes = message.attributes();
    let chain = string(attributes, attr::NFTA_RULE_CHAIN, "chain of a rule")?;
    let handle = attributes
        .find(attr::NFTA_RULE_HANDLE)
        .and_then(|a| a.be64())
        .unwrap_or(0);
    let comment = attributes
        .find(attr::NFTA_RULE_USERDATA)
        .and_then(|a| udata(a.payload, udata::RULE_COMMENT))
        .map(text);
    let mut expressions = Vec::new();
    if let Some(list) = attributes.find(attr::NFTA_RULE_EXPRESSIONS) {
        for item in list.nested() {
            expressions.push(expression::decode(item.nested())?);
        }
    }
    Ok((
        table,
        InstalledRule {
            handle,
            rule: Rule {
                chain,
                expressions,
                comment,
            },
        },
    ))
}

/// The table named by an attribute of a message.
pub fn table_id(message: &Message<'_>, kind: u16) -> Result<TableId> {
    let family = message
        .family()
        .and_then(Family::from_number)
        .ok_or(Malformed("family"))?;
    Ok(TableId {
        family,
        name: string(message.attributes(), kind, "name of a table")?,
    })
}

fn base_chain(family: Family, chain: Attributes<'_>, hook: Attributes<'_>) -> Result<BaseChain> {
    let number = be32(hook, attr::NFTA_HOOK_HOOKNUM, "hook of a chain")?;
    let priority = be32(hook, attr::NFTA_HOOK_PRIORITY, "priority of a chain")?;
    let policy = be32(chain, attr::NFTA_CHAIN_POLICY, "policy of a chain")?;
    let kind = string(chain, attr::NFTA_CHAIN_TYPE, "type of a chain")?;
    Ok(BaseChain {
        kind: code::value(&code::CHAIN_KIND, &kind.as_str()).ok_or(Malformed("type of a chain"))?,
        hook: code::value(code::hooks(family), &number).ok_or(Malformed("hook of a chain"))?,
        priority: priority.cast_signed(),
        policy: code::value(&code::POLICY, &policy).ok_or(Malformed("policy of a chain"))?,
        device: hook.find(attr::NFTA_HOOK_DEV).map(|a| a.string()),
    })
}

fn string(attributes: Attributes<'_>, kind: u16, what: &'static str) -> Result<String> {
    attributes
        .find(kind)
        .map(|a| a.string())
        .ok_or(Malformed(what))
}

fn be32(attributes: Attributes<'_>, kind: u16, what: &'static str) -> Result<u32> {
    attributes
        .find(kind)
        .and_then(|a| a.be32())
        .ok_or(Malformed(what))
}

/// A value of user data by its type.
fn udata(mut bytes: &[u8], kind: u8) -> Option<&[u8]> {
    while let [tag, len, rest @ ..] = bytes {
        let value = rest.get(..usize::from(*len))?;
        if *tag == kind {
            return Some(value);
        }
        bytes = &rest[value.len()..];
    }
    None
}

/// A text of user data, without its NUL.
fn text(bytes: &[u8]) -> Text {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    Text::from(String::from_utf8_lossy(&bytes[..end]).as_ref())
}
