//! Elements of sets.

use super::{udata, udata_text};
use crate::kernel::{attr, flag, udata as tag};
use crate::object::{Data, Element, ElementKey, Key, Layout, Value, Verdict};
use crate::wire::Writer;

/// An upper bound for the bytes of one element: a key of 64 bytes, its end, a verdict with a chain's
/// name of 255 bytes, a counter, user data of 256 bytes, and as much again for headers.
pub const MAX_LEN: usize = 2048;

/// How much of an element is written.
#[derive(Clone, Copy, PartialEq)]
pub enum Part {
    Whole,
    /// What names it, where it is to be deleted.
    Key,
}

/// Appends an element. In an interval tree that is two: where it begins, and the first key after it.
pub fn encode(w: &mut Writer, layout: Layout, element: &Element, part: Part) {
    let (first, last) = match &element.key {
        ElementKey::CatchAll => {
            let flags = flag::NFT_SET_ELEM_CATCHALL;
            return one(w, (element, part), flags, None, None, Openness::Closed);
        }
        ElementKey::Exact(key) => (key, key),
        ElementKey::Range { first, last } => (first, last),
    };
    match layout {
        Layout::Exact => {
            let key = KeyBytes::Exact(first);
            one(w, (element, part), 0, Some(key), None, Openness::Closed);
        }
        Layout::IntervalConcat => {
            let first = KeyBytes::Ordered(ordered(first));
            let last = Some(ordered(last));
            one(w, (element, part), 0, Some(first), last, Openness::Closed);
        }
        Layout::Interval => {
            let end = successor(ordered(last));
            let openness = if end.is_some() {
                Openness::Closed
            } else {
                Openness::Open
            };
            let first = KeyBytes::Ordered(ordered(first));
            one(w, (element, part), 0, Some(first), None, openness);
            if let Some(end) = end {
                w.nested(attr::NFTA_LIST_ELEM, |w| {
                    w.be32(attr::NFTA_SET_ELEM_FLAGS, flag::NFT_SET_ELEM_INTERVAL_END);
                    w.nested(attr::NFTA_SET_ELEM_KEY, |w| {
                        w.bytes(attr::NFTA_DATA_VALUE, &end);
                    });
                });
            }
        }
    }
}

/// Bytes of an element of so many words: headers of the element, of its key and of its data.
pub const fn numbers_len(words: usize) -> usize {
    20 + 4 * words
}

/// Appends an element of numbers.
pub fn numbers(w: &mut Writer, words: &[u32], part: Part) {
    let Some((value, key)) = words.split_last() else {
        return;
    };
    // A key has at most five fields.
    let key_len = 4 + 4 * u16::try_from(key.len()).unwrap_or(u16::MAX / 8);
    let data_len = if part == Part::Whole { 12 } else { 0 };
    let nested = |len: u16, kind: u16| header(len, kind | attr::NLA_F_NESTED);
    w.raw(&nested(8 + key_len + data_len, attr::NFTA_LIST_ELEM));
    w.raw(&nested(4 + key_len, attr::NFTA_SET_ELEM_KEY));
    w.raw(&header(key_len, attr::NFTA_DATA_VALUE));
    for word in key {
        w.raw(&word.to_ne_bytes());
    }
    if part == Part::Whole {
        w.raw(&nested(data_len, attr::NFTA_SET_ELEM_DATA));
        w.raw(&header(8, attr::NFTA_DATA_VALUE));
        w.raw(&value.to_ne_bytes());
    }
}

/// `struct nlattr`.
fn header(len: u16, kind: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (len.to_ne_bytes(), kind.to_ne_bytes());
    [a, b, c, d]
}

/// Appends a verdict as `NFTA_DATA_VERDICT` holds it.
pub fn verdict(w: &mut Writer, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (flag::NF_DROP, None),
        Verdict::Accept => (flag::NF_ACCEPT, None),
        Verdict::Continue => (flag::NFT_CONTINUE, None),
        Verdict::Return => (flag::NFT_RETURN, None),
        Verdict::Jump(chain) => (flag::NFT_JUMP, Some(chain)),
        Verdict::Goto(chain) => (flag::NFT_GOTO, Some(chain)),
        Verdict::Other(code) => (*code, None),
    };
    w.nested(attr::NFTA_DATA_VERDICT, |w| {
        w.bytes(attr::NFTA_VERDICT_CODE, &code.to_be_bytes());
        if let Some(chain) = chain {
            w.string(attr::NFTA_VERDICT_CHAIN, chain);
        }
    });
}

/// Whether an interval reaches the highest key and therefore has no end.
#[derive(Clone, Copy, PartialEq)]
enum Openness {
    Open,
    Closed,
}

fn one(
    w: &mut Writer,
    (element, part): (&Element, Part),
    flags: u32,
    key: Option<KeyBytes<'_>>,
    end: Option<Vec<u8>>,
    open: Openness,
) {
    w.nested(attr::NFTA_LIST_ELEM, |w| {
        if flags != 0 {
            w.be32(attr::NFTA_SET_ELEM_FLAGS, flags);
        }
        if let Some(key) = key {
            w.nested(attr::NFTA_SET_ELEM_KEY, |w| match key {
                KeyBytes::Exact(key) => {
                    w.written(attr::NFTA_DATA_VALUE, |out| join(key, out, Value::write));
                }
                KeyBytes::Ordered(key) => w.bytes(attr::NFTA_DATA_VALUE, &key),
            });
        }
        if let Some(end) = end {
            w.nested(attr::NFTA_SET_ELEM_KEY_END, |w| {
                w.bytes(attr::NFTA_DATA_VALUE, &end);
            });
        }
        if part == Part::Whole {
            contents(w, element);
        }
        let mut data = Vec::new();
        if let Some(comment) = element.comment.as_ref().filter(|_| part == Part::Whole) {
            udata_text(&mut data, tag::ELEM_COMMENT, comment);
        }
        if open == Openness::Open {
            udata(
                &mut data,
                tag::ELEM_FLAGS,
                &tag::ELEM_F_INTERVAL_OPEN.to_ne_bytes(),
            );
        }
        if !data.is_empty() {
            w.bytes(attr::NFTA_SET_ELEM_USERDATA, &data);
        }
    });
}

/// What an element maps to and counts.
fn contents(w: &mut Writer, element: &Element) {
    match &element.data {
        None => {}
        Some(Data::Value(value)) => w.nested(attr::NFTA_SET_ELEM_DATA, |w| {
            w.written(attr::NFTA_DATA_VALUE, |out| value.write(out));
        }),
        Some(Data::Verdict(v)) => w.nested(attr::NFTA_SET_ELEM_DATA, |w| verdict(w, v)),
    }
    if let Some(counter) = element.counter {
        w.nested(attr::NFTA_SET_ELEM_EXPR, |w| {
            super::expression::counter(w, counter);
        });
    }
}

/// A key as the kernel has it.
enum KeyBytes<'a> {
    /// To be written.
    Exact(&'a Key),
    Ordered(Vec<u8>),
}

fn ordered(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    join(key, &mut bytes, Value::write_ordered);
    bytes
}

/// The fields one after the other; in a concatenation each begins at a multiple of four bytes.
fn join(key: &Key, out: &mut Vec<u8>, write: impl Fn(&Value, &mut Vec<u8>)) {
    let start = out.len();
    for value in &key.0 {
        write(value, out);
        if key.0.len() > 1 {
            out.resize(start + (out.len() - start).next_multiple_of(4), 0);
        }
    }
}

/// The next key in bytewise order, or `None` after the highest.
fn successor(mut key: Vec<u8>) -> Option<Vec<u8>> {
    for byte in key.iter_mut().rev() {
        let (next, carried) = byte.overflowing_add(1);
        *byte = next;
        if !carried {
            return Some(key);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{KeyType, Numbers};

    #[test]
    fn numbers_are_encoded_as_elements_are() {
        let fields = [KeyType::ClassId, KeyType::InetProto, KeyType::InetService];
        let mut ports = Numbers::new("ports", &fields);
        let row = Value::ClassId(0x2000_0009);
        ports.push(
            [row, Value::InetProto(6), Value::InetService(80)],
            0x3000_0001,
        );
        let pairs = Numbers::pairs("rows", [(0x1000_0007, 0x2000_0009)]);
        for numbers in [ports, pairs] {
            let element = numbers.get(0).unwrap();
            for part in [Part::Whole, Part::Key] {
                let (mut long, mut short) = (Writer::default(), Writer::default());
                encode(&mut long, Layout::Exact, &element, part);
                super::numbers(&mut short, numbers.words().next().unwrap(), part);
                assert_eq!(short.into_bytes(), long.into_bytes());
            }
        }
    }

    #[test]
    fn successors_carry_and_end() {
        assert_eq!(successor(vec![0, 255]), Some(vec![1, 0]));
        assert_eq!(successor(vec![1, 2]), Some(vec![1, 3]));
        assert_eq!(successor(vec![255, 255]), None);
    }

    #[test]
    fn fields_of_a_concatenation_are_padded() {
        let exact = |key: Key| {
            let mut bytes = vec![1];
            join(&key, &mut bytes, Value::write);
            bytes.split_off(1)
        };
        let key = Key::from([Value::InetProto(6), Value::InetService(80)]);
        assert_eq!(exact(key), [6, 0, 0, 0, 0, 80, 0, 0]);
        assert_eq!(exact(Key::from(Value::InetProto(6))), [6]);
        assert_eq!(ordered(&Key::from(Value::Mark(1))), [0, 0, 0, 1]);
    }
}
