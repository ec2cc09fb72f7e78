//! Elements of maps whose keys and values are small.

use super::set::Element;
use super::value::{KeyType, Value};

/// Elements of a map without ranges whose values are numbers in the order of the host
/// ([`Value::ClassId`], say), and the fields of whose keys have at most four bytes. Short, because such
/// maps are large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    map: String,
    fields: Vec<KeyType>,
    /// Of each element the fields of its key, and its value, as registers hold them.
    words: Vec<u32>,
}

impl Numbers {
    /// No elements yet of the map of that name.
    ///
    /// # Panics
    ///
    /// If a field has more than four bytes, or the only one has fewer.
    #[must_use]
    pub fn new(map: impl Into<String>, fields: &[KeyType]) -> Self {
        let fits = |field: &KeyType| match fields.len() {
            1 => field.len() == 4,
            _ => field.len() <= 4,
        };
        assert!(
            fields.iter().all(fits),
            "no field of four bytes: {fields:?}"
        );
        Self {
            map: map.into(),
            fields: fields.to_vec(),
            words: Vec::new(),
        }
    }

    /// Those of a map from class numbers to class numbers.
    #[must_use]
    pub fn pairs(map: impl Into<String>, pairs: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut numbers = Self::new(map, &[KeyType::ClassId]);
        let words = pairs.into_iter().flat_map(|(key, value)| [key, value]);
        numbers.words.extend(words);
        numbers
    }

    /// Appends an element.
    ///
    /// # Panics
    ///
    /// If the key has not the fields of the map.
    pub fn push<const N: usize>(&mut self, key: [Value; N], value: u32) {
        assert_eq!(N, self.fields.len(), "fields of {}", self.map);
        self.words.extend(key.iter().map(word));
        self.words.push(value);
    }

    /// The name of the map.
    #[must_use]
    pub fn map(&self) -> &str {
        &self.map
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len() / self.stride()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Of each element the fields of its key and its value, as registers hold them.
    pub fn words(&self) -> impl Iterator<Item = &[u32]> {
        self.words.chunks_exact(self.stride())
    }

    /// An element, by its place.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Element> {
        self.words().nth(at).map(|words| self.element(words))
    }

    /// All of them, each by itself.
    pub fn elements(&self) -> impl Iterator<Item = Element> + '_ {
        self.words().map(|words| self.element(words))
    }

    /// Words of an element.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.fields.len() + 1
    }

    fn element(&self, words: &[u32]) -> Element {
        let fields = self.fields.iter().zip(words);
        // What was written can be read.
        let key: Vec<Value> = fields
            .filter_map(|(field, word)| Value::read(*field, &word.to_ne_bytes()[..field.len()]))
            .collect();
        let value = words.last().copied().unwrap_or_default();
        Element::new(key).value(Value::ClassId(value))
    }
}

/// A value as a register of four bytes holds it; of longer ones that [`Numbers::new`] refuses nothing.
fn word(value: &Value) -> u32 {
    match value {
        Value::ClassId(n) | Value::Mark(n) | Value::IfaceIndex(n) => *n,
        Value::InetProto(n)
        | Value::IcmpType(n)
        | Value::IcmpCode(n)
        | Value::Icmpv6Type(n)
        | Value::Icmpv6Code(n) => u32::from_ne_bytes([*n, 0, 0, 0]),
        Value::InetService(n) | Value::EtherType(n) => {
            let [high, low] = n.to_be_bytes();
            u32::from_ne_bytes([high, low, 0, 0])
        }
        Value::Ipv4Addr(address) => u32::from_ne_bytes(address.octets()),
        Value::Ipv6Addr(_) | Value::EtherAddr(_) | Value::IfName(_) | Value::Other(..) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_back_as_they_were_pushed() {
        let fields = [KeyType::ClassId, KeyType::InetProto, KeyType::InetService];
        let mut numbers = Numbers::new("ports", &fields);
        let key = |n: u16| {
            [
                Value::ClassId(0x2000_0000 + u32::from(n)),
                Value::InetProto(6),
                Value::InetService(n),
            ]
        };
        for port in [80, 443, 65_535] {
            numbers.push(key(port), u32::from(port) + 1);
        }
        let expected = |port| Element::new(key(port)).value(Value::ClassId(u32::from(port) + 1));
        let elements: Vec<Element> = numbers.elements().collect();
        assert_eq!(elements, [expected(80), expected(443), expected(65_535)]);
        assert_eq!(numbers.get(1), Some(expected(443)));
        assert_eq!((numbers.len(), numbers.get(3)), (3, None));
    }

    #[test]
    fn pairs_are_numbers_of_one_field() {
        let pairs = Numbers::pairs("rows", [(1, 2), (3, 4)]);
        let elements: Vec<Element> = pairs.elements().collect();
        assert_eq!(elements, [Element::number(1, 2), Element::number(3, 4)]);
    }
}
