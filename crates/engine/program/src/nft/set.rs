//! Sets, maps and their elements.

use super::object::Verdict;
use super::text::Text;
use super::value::{KeyType, Value};

/// A named set, or a map if it has data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Set {
    /// Its name, unique in the table among sets and maps.
    pub name: String,
    /// The fields of its key: one, or up to five in a concatenation.
    pub key: Vec<KeyType>,
    /// What its elements map to.
    pub data: SetData,
    /// Whether keys are ranges. Ranges of a set must be disjoint.
    pub interval: bool,
    /// Whether each element counts the packets and bytes of its hits.
    pub counter: bool,
    /// Whether elements stay as they are once a rule uses the set.
    pub constant: bool,
    /// The largest number of elements; `None` for no limit.
    pub size: Option<u32>,
    /// A note for people.
    pub comment: Option<Text>,
}

impl Set {
    /// A set of exact keys.
    #[must_use]
    pub fn new(name: &str, key: impl Into<Vec<KeyType>>) -> Self {
        Self {
            name: name.to_owned(),
            key: key.into(),
            data: SetData::None,
            interval: false,
            counter: false,
            constant: false,
            size: None,
            comment: None,
        }
    }

    /// A map from exact keys to values.
    #[must_use]
    pub fn map(name: &str, key: impl Into<Vec<KeyType>>, data: KeyType) -> Self {
        Self {
            data: SetData::Value(data),
            ..Self::new(name, key)
        }
    }

    /// A map from exact keys to verdicts.
    #[must_use]
    pub fn vmap(name: &str, key: impl Into<Vec<KeyType>>) -> Self {
        Self {
            data: SetData::Verdict,
            ..Self::new(name, key)
        }
    }

    /// The same with ranges as keys.
    #[must_use]
    pub fn interval(self) -> Self {
        Self {
            interval: true,
            ..self
        }
    }

    /// The same for at most so many elements. Exact maps whose size is known are faster to fill.
    #[must_use]
    pub fn size(self, size: u32) -> Self {
        Self {
            size: Some(size),
            ..self
        }
    }

    /// The same with a counter in each element.
    #[must_use]
    pub fn counter(self) -> Self {
        Self {
            counter: true,
            ..self
        }
    }

    /// How operations on its elements name this set.
    #[must_use]
    pub fn id(&self) -> SetId {
        SetId {
            name: self.name.clone(),
            layout: Layout::of(&self.key, self.interval),
        }
    }
}

/// Names a set in operations on its elements, with what the encoder must know of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId {
    /// The set's name.
    pub name: String,
    /// How its elements are laid out.
    pub layout: Layout,
}

/// How the kernel lays out the elements of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layout {
    /// Exact keys in a hash table or bitmap.
    Exact,
    /// Ranges of one field in a tree.
    Interval,
    /// Products of ranges of several fields.
    IntervalConcat,
}

impl Layout {
    /// The layout of a set with this key.
    pub(crate) fn of(key: &[KeyType], interval: bool) -> Self {
        match (interval, key.len()) {
            (false, _) => Self::Exact,
            (true, 0 | 1) => Self::Interval,
            (true, _) => Self::IntervalConcat,
        }
    }
}

/// What the elements of a set map to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetData {
    /// Nothing: a set.
    None,
    /// A verdict: a verdict map.
    Verdict,
    /// A value: a map.
    Value(KeyType),
}

/// A set without a name that belongs to the rule that looks it up: `{ tcp, udp }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AnonymousSet {
    /// The fields of its key.
    pub key: Vec<KeyType>,
    /// What its elements map to.
    pub data: SetData,
    /// Whether keys are ranges.
    pub interval: bool,
    /// Its elements. Kept sorted by [`AnonymousSet::new`], because the kernel reports them in an order
    /// of its own.
    pub elements: Vec<Element>,
}

impl AnonymousSet {
    /// A set of exact keys. Elements are sorted and duplicates removed.
    #[must_use]
    pub fn new(key: impl Into<Vec<KeyType>>, elements: impl IntoIterator<Item = Element>) -> Self {
        let mut elements: Vec<Element> = elements.into_iter().collect();
        elements.sort();
        elements.dedup();
        Self {
            key: key.into(),
            data: SetData::None,
            interval: false,
            elements,
        }
    }

    /// A set of values of one type: `{ tcp, udp }`. An empty list has no type and gives `None`.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = Value>) -> Option<Self> {
        let values: Vec<Value> = values.into_iter().collect();
        let key = values.first()?.key_type();
        Some(Self::new(
            [key],
            values.into_iter().map(|v| Element::new(Key::from(v))),
        ))
    }

    /// The same with ranges as keys.
    #[must_use]
    pub fn interval(self) -> Self {
        Self {
            interval: true,
            ..self
        }
    }

    /// How its elements are laid out.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::of(&self.key, self.interval)
    }
}

/// The values of the fields of a key, in the order of [`Set::key`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Vec<Value>);

impl From<Value> for Key {
    fn from(value: Value) -> Self {
        Self(vec![value])
    }
}

impl<const N: usize> From<[Value; N]> for Key {
    fn from(values: [Value; N]) -> Self {
        Self(values.into())
    }
}

impl From<Vec<Value>> for Key {
    fn from(values: Vec<Value>) -> Self {
        Self(values)
    }
}

/// An element of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// What it matches.
    pub key: ElementKey,
    /// What it maps to; `None` in a set without data, and where an element is to be deleted.
    pub data: Option<Data>,
    /// Packets and bytes so far, where the set counts. When adding, where to start; `None` for zero.
    pub counter: Option<Counter>,
    /// A note for people.
    pub comment: Option<Text>,
}

impl Element {
    /// An element that matches one key.
    #[must_use]
    pub fn new(key: impl Into<Key>) -> Self {
        Self {
            key: ElementKey::Exact(key.into()),
            data: None,
            counter: None,
            comment: None,
        }
    }

    /// An element of a map from class numbers to class numbers.
    #[must_use]
    pub fn number(key: u32, value: u32) -> Self {
        Self::new(Value::ClassId(key)).value(Value::ClassId(value))
    }

    /// An element that matches from `first` to `last`, both included, field by field. If they are equal
    /// it is an [`ElementKey::Exact`], which is how such an element is read back.
    #[must_use]
    pub fn range(first: impl Into<Key>, last: impl Into<Key>) -> Self {
        let (first, last) = (first.into(), last.into());
        let key = if first == last {
            ElementKey::Exact(first)
        } else {
            ElementKey::Range { first, last }
        };
        Self {
            key,
            data: None,
            counter: None,
            comment: None,
        }
    }

    /// The element for keys that no other matches. Needs Linux 5.13.
    #[must_use]
    pub const fn catch_all() -> Self {
        Self {
            key: ElementKey::CatchAll,
            data: None,
            counter: None,
            comment: None,
        }
    }

    /// Maps it to a value.
    #[must_use]
    pub fn value(self, value: Value) -> Self {
        Self {
            data: Some(Data::Value(value)),
            ..self
        }
    }

    /// Maps it to a verdict.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        Self {
            data: Some(Data::Verdict(verdict)),
            ..self
        }
    }

    /// Sets the comment.
    #[must_use]
    pub fn comment(self, comment: impl Into<Text>) -> Self {
        Self {
            comment: Some(comment.into()),
            ..self
        }
    }
}

/// What an element matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementKey {
    /// One key. In an interval set it is the range from the key to itself.
    Exact(Key),
    /// All keys from `first` to `last`, both included, field by field; not equal. In interval sets only.
    Range {
        /// The lowest values.
        first: Key,
        /// The highest values.
        last: Key,
    },
    /// What nothing else matches.
    CatchAll,
}

/// What an element maps to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// A value.
    Value(Value),
    /// A verdict.
    Verdict(Verdict),
}

/// Packets and bytes counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, headers of the network layer included.
    pub bytes: u64,
}
