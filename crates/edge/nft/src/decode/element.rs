//! Elements of sets.

use super::{Malformed, Result, text, udata};
use crate::kernel::{attr, flag, udata as tag};
use crate::object::{
    Counter, Data, Element, ElementKey, Key, KeyType, Layout, SetData, Value, Verdict,
};
use crate::wire::{Attributes, Message};

/// Turns the messages of a set's elements into elements, sorted by key.
///
/// In an interval tree the kernel keeps where an interval begins and the first key after it as two
/// elements; they are joined here.
pub fn elements<'a>(
    messages: impl IntoIterator<Item = Message<'a>>,
    key: &[KeyType],
    layout: Layout,
    data: SetData,
) -> Result<Vec<Element>> {
    let mut elements = Vec::new();
    let mut bounds = Vec::new();
    for message in messages {
        let Some(list) = message.attributes().find(attr::NFTA_SET_ELEM_LIST_ELEMENTS) else {
            continue;
        };
        for item in list.nested() {
            let item = Item {
                attributes: item.nested(),
                key,
                layout,
                data,
            };
            let flags = item
                .attributes
                .find(attr::NFTA_SET_ELEM_FLAGS)
                .and_then(|a| a.be32())
                .unwrap_or(0);
            if flags & flag::NFT_SET_ELEM_CATCHALL != 0 {
                elements.push(item.element(ElementKey::CatchAll)?);
            } else if layout == Layout::Interval {
                let at = item.bytes(attr::NFTA_SET_ELEM_KEY)?.to_vec();
                let is_end = flags & flag::NFT_SET_ELEM_INTERVAL_END != 0;
                bounds.push(if is_end {
                    Bound { at, begin: None }
                } else {
                    Bound {
                        at,
                        begin: Some(item),
                    }
                });
            } else {
                elements.push(item.element(item.exact_or_range()?)?);
            }
        }
    }
    join(bounds, &mut elements)?;
    elements.sort();
    Ok(elements)
}

/// A verdict from the attributes of `NFTA_DATA_VERDICT`.
pub fn verdict(attributes: Attributes<'_>) -> Result<Verdict> {
    let code = super::be32(attributes, attr::NFTA_VERDICT_CODE, "code of a verdict")?.cast_signed();
    let chain = || super::string(attributes, attr::NFTA_VERDICT_CHAIN, "chain of a verdict");
    Ok(match code {
        flag::NF_DROP => Verdict::Drop,
        flag::NF_ACCEPT => Verdict::Accept,
        flag::NFT_CONTINUE => Verdict::Continue,
        flag::NFT_RETURN => Verdict::Return,
        flag::NFT_JUMP => Verdict::Jump(chain()?),
        flag::NFT_GOTO => Verdict::Goto(chain()?),
        other => Verdict::Other(other),
    })
}

/// A place in an interval tree: the beginning of an interval, or the first key after one.
struct Bound<'a> {
    at: Vec<u8>,
    begin: Option<Item<'a>>,
}

/// Walks the bounds in order. An interval ends before the next bound; without one it reaches the
/// highest key. An end without a beginning means nothing: `nft` writes one at zero.
fn join(mut bounds: Vec<Bound<'_>>, elements: &mut Vec<Element>) -> Result<()> {
    bounds.sort_by(|a, b| (&a.at, a.begin.is_some()).cmp(&(&b.at, b.begin.is_some())));
    let mut open: Option<(Vec<u8>, Item<'_>)> = None;
    for bound in bounds {
        if let Some((first, item)) = open.take() {
            let last = predecessor(bound.at.clone()).ok_or(Malformed("end of an interval"))?;
            elements.push(item.element(item.range(&first, &last)?)?);
        }
        if let Some(item) = bound.begin {
            open = Some((bound.at, item));
        }
    }
    if let Some((first, item)) = open {
        let last = vec![u8::MAX; first.len()];
        elements.push(item.element(item.range(&first, &last)?)?);
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Item<'a> {
    attributes: Attributes<'a>,
    key: &'a [KeyType],
    layout: Layout,
    data: SetData,
}

impl<'a> Item<'a> {
    fn element(&self, key: ElementKey) -> Result<Element> {
        let data = match (self.data, self.attributes.find(attr::NFTA_SET_ELEM_DATA)) {
            (SetData::None, _) | (_, None) => None,
            (SetData::Verdict, Some(data)) => {
                let inside = data
                    .nested()
                    .find(attr::NFTA_DATA_VERDICT)
                    .ok_or(Malformed("verdict of an element"))?;
                Some(Data::Verdict(verdict(inside.nested())?))
            }
            (SetData::Value(data_type), Some(data)) => {
                let bytes = data
                    .nested()
                    .find(attr::NFTA_DATA_VALUE)
                    .ok_or(Malformed("data of an element"))?;
                let value =
                    Value::read(data_type, bytes.payload).ok_or(Malformed("data of an element"))?;
                Some(Data::Value(value))
            }
        };
        let comment = self
            .attributes
            .find(attr::NFTA_SET_ELEM_USERDATA)
            .and_then(|a| udata(a.payload, tag::ELEM_COMMENT))
            .map(text);
        Ok(Element {
            key,
            data,
            counter: self.counter(),
            comment,
        })
    }

    fn counter(&self) -> Option<Counter> {
        let single = self
            .attributes
            .find(attr::NFTA_SET_ELEM_EXPR)
            .map(|a| a.nested());
        let among = self
            .attributes
            .find(attr::NFTA_SET_ELEM_EXPRESSIONS)
            .map(|a| a.nested());
        let all = single
            .into_iter()
            .chain(among.into_iter().flatten().map(|a| a.nested()));
        all.into_iter()
            .filter(|e| {
                e.find(attr::NFTA_EXPR_NAME)
                    .is_some_and(|name| name.string() == "counter")
            })
            .find_map(|e| e.find(attr::NFTA_EXPR_DATA))
            .map(|data| super::expression::counter(data.nested()))
    }

    fn bytes(&self, kind: u16) -> Result<&'a [u8]> {
        self.attributes
            .find(kind)
            .and_then(|a| a.nested().find(attr::NFTA_DATA_VALUE))
            .map(|a| a.payload)
            .ok_or(Malformed("key of an element"))
    }

    fn exact_or_range(&self) -> Result<ElementKey> {
        let first = self.bytes(attr::NFTA_SET_ELEM_KEY)?;
        if self.attributes.find(attr::NFTA_SET_ELEM_KEY_END).is_some() {
            self.range(first, self.bytes(attr::NFTA_SET_ELEM_KEY_END)?)
        } else {
            Ok(ElementKey::Exact(self.split(first)?))
        }
    }

    fn range(&self, first: &[u8], last: &[u8]) -> Result<ElementKey> {
        let first_key = self.split(first)?;
        if first == last {
            return Ok(ElementKey::Exact(first_key));
        }
        Ok(ElementKey::Range {
            first: first_key,
            last: self.split(last)?,
        })
    }

    fn split(&self, mut bytes: &[u8]) -> Result<Key> {
        let several = self.key.len() > 1;
        let mut values = Vec::with_capacity(self.key.len());
        for field in self.key {
            let raw = bytes
                .get(..field.len())
                .ok_or(Malformed("key of an element"))?;
            let value = match self.layout {
                Layout::Exact => Value::read(*field, raw),
                Layout::Interval | Layout::IntervalConcat => Value::read_ordered(*field, raw),
            };
            // Another program may have put bytes there that are no value of the type: the highest name
            // of a range of interface names, say. They must not hide the rest of the table.
            values.push(value.unwrap_or_else(|| Value::Other(field.id(), raw.into())));
            let step = if several {
                field.len().next_multiple_of(4)
            } else {
                field.len()
            };
            bytes = bytes.get(step..).unwrap_or(&[]);
        }
        Ok(Key(values))
    }
}

/// The key before this one in bytewise order, or `None` before the lowest.
fn predecessor(mut key: Vec<u8>) -> Option<Vec<u8>> {
    for byte in key.iter_mut().rev() {
        let (before, borrowed) = byte.overflowing_sub(1);
        *byte = before;
        if !borrowed {
            return Some(key);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predecessors_borrow_and_end() {
        assert_eq!(predecessor(vec![1, 0]), Some(vec![0, 255]));
        assert_eq!(predecessor(vec![0, 0]), None);
    }
}
