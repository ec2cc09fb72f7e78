//! A value of an object together with the path that leads to it.

use std::fmt;

use serde_json::{Map, Value};

use crate::{Problem, Severity};

/// A value and where it stands in its object.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub value: &'a Value,
    pub path: Path<'a>,
}

/// A path, linked from the last step to the first; it becomes text only where there is a problem.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

/// A part could not be understood; the problem has been noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

pub(super) type Read<T> = Result<T, Unreadable>;

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(pub Vec<Problem>);

impl Problems {
    pub fn error(&mut self, path: &Path<'_>, message: impl Into<String>) -> Unreadable {
        self.0.push(Problem::error(path.to_string(), message));
        Unreadable
    }

    pub fn warning(&mut self, path: &Path<'_>, message: impl Into<String>) {
        self.0.push(Problem::warning(path.to_string(), message));
    }

    /// The errors, without the remarks.
    pub fn errors(&self) -> Vec<Problem> {
        self.0
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .cloned()
            .collect()
    }
}

impl<'a> Node<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self {
            value,
            path: Path::Root,
        }
    }

    /// A field that is there and not null: null is as good as absent in Kubernetes.
    pub fn field<'b>(&'b self, name: &'b str) -> Option<Node<'b>> {
        let value = self.value.as_object()?.get(name)?;
        (!value.is_null()).then_some(Node {
            value,
            path: Path::Key(&self.path, name),
        })
    }

    /// Reads a field by `read`; `Ok(None)` where it is absent.
    pub fn optional<'b, T>(
        &'b self,
        name: &'b str,
        problems: &mut Problems,
        read: impl FnOnce(Node<'b>, &mut Problems) -> Read<T>,
    ) -> Read<Option<T>> {
        self.field(name)
            .map(|node| read(node, problems))
            .transpose()
    }

    /// Reads a field by `read`; what cannot be read is as good as absent. For kinds of which we
    /// read only what we need.
    pub fn lenient<'b, T>(
        &'b self,
        name: &'b str,
        problems: &mut Problems,
        read: impl FnOnce(Node<'b>, &mut Problems) -> Read<T>,
    ) -> Option<T> {
        self.optional(name, problems, read).unwrap_or_default()
    }

    pub fn mapping(self, problems: &mut Problems) -> Read<&'a Map<String, Value>> {
        self.value
            .as_object()
            .ok_or_else(|| self.expected("a mapping", problems))
    }

    /// The items of a list.
    pub fn items(self, problems: &mut Problems) -> Read<&'a [Value]> {
        match self.value {
            Value::Array(items) => Ok(items),
            _ => Err(self.expected("a list", problems)),
        }
    }

    /// One item of a list.
    pub fn item<'b>(&'b self, index: usize, value: &'b Value) -> Node<'b> {
        Node {
            value,
            path: Path::Item(&self.path, index),
        }
    }

    /// Reads every item of a list that is a field of this node; items that cannot be read are left
    /// out. An absent list is empty.
    pub fn each<T>(
        &self,
        name: &str,
        problems: &mut Problems,
        mut read: impl FnMut(Node<'_>, &mut Problems) -> Read<T>,
    ) -> Vec<T> {
        let Some(list) = self.field(name) else {
            return Vec::new();
        };
        let Ok(items) = list.items(problems) else {
            return Vec::new();
        };
        let each = items.iter().enumerate();
        each.filter_map(|(index, value)| read(list.item(index, value), problems).ok())
            .collect()
    }

    /// Reads every item of a list of at most `limit`; a list with an item that cannot be read
    /// cannot be read.
    pub fn all<T>(
        self,
        limit: usize,
        problems: &mut Problems,
        mut read: impl FnMut(Node<'_>, &mut Problems) -> Read<T>,
    ) -> Read<Vec<T>> {
        let items = self.bounded(limit, problems)?;
        let mut all = Vec::with_capacity(items.len());
        let mut outcome = Ok(());
        for (index, value) in items.iter().enumerate() {
            match read(self.item(index, value), problems) {
                Ok(item) => all.push(item),
                Err(unreadable) => outcome = Err(unreadable),
            }
        }
        outcome.map(|()| all)
    }

    /// The items of a list of at most `limit`.
    pub fn bounded(self, limit: usize, problems: &mut Problems) -> Read<&'a [Value]> {
        let items = self.items(problems)?;
        if items.len() > limit {
            let message = format!("{} entries: expected at most {limit}", items.len());
            return Err(problems.error(&self.path, message));
        }
        Ok(items)
    }

    /// One of the words.
    pub fn one_of<'b>(&self, words: &[&'b str], problems: &mut Problems) -> Read<&'b str> {
        let text = self.value.as_str().unwrap_or_default();
        let found = words.iter().find(|word| **word == text);
        found
            .copied()
            .ok_or_else(|| self.expected(&Words(words).to_string(), problems))
    }

    pub fn text(self, problems: &mut Problems) -> Read<&'a str> {
        match self.value {
            Value::String(text) => Ok(text),
            Value::Number(_) | Value::Bool(_) => {
                Err(self.expected("a text: put it in quotes", problems))
            }
            _ => Err(self.expected("a text", problems)),
        }
    }

    pub fn boolean(self, problems: &mut Problems) -> Read<bool> {
        self.value
            .as_bool()
            .ok_or_else(|| self.expected("true or false", problems))
    }

    /// A whole number within bounds, which fit the type.
    pub fn integer<T: TryFrom<i64>>(
        self,
        first: i64,
        last: i64,
        problems: &mut Problems,
    ) -> Read<T> {
        let number = match self.value {
            // 1.0 is what some serialisers make of 1.
            Value::Number(number) => match number.as_f64() {
                Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 =>
                {
                    #[allow(clippy::cast_possible_truncation, reason = "checked above")]
                    Some(float as i64)
                }
                _ => number.as_i64(),
            },
            _ => None,
        };
        number
            .filter(|number| (first..=last).contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.expected(&format!("{first}-{last}"), problems))
    }

    /// Notes that the value is not what was expected.
    pub fn expected(&self, expected: &str, problems: &mut Problems) -> Unreadable {
        problems.error(
            &self.path,
            format!("{}: expected {expected}", Found(self.value)),
        )
    }

    /// Notes the fields that are not among those known. True if there are any.
    pub fn has_unknown(&self, known: &[&str], problems: &mut Problems) -> bool {
        let Some(fields) = self.value.as_object() else {
            return false;
        };
        let mut found = false;
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            found = true;
            let message = match closest(name, known) {
                Some(meant) => format!("unknown field {name:?}: did you mean {meant:?}?"),
                None if known.len() > LISTED_FIELDS => format!("unknown field {name:?}"),
                None => format!(
                    "unknown field {name:?}: expected one of {}",
                    known.join(", ")
                ),
            };
            problems.error(&Path::Key(&self.path, name), message);
        }
        found
    }
}

/// More fields than these are not listed where none of them comes near what was found.
const LISTED_FIELDS: usize = 16;

/// As `kubectl` prints paths; keys that are not simple words stand in brackets.
impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(parent, name) => {
                parent.fmt(f)?;
                let simple = name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                match (simple, parent) {
                    (true, Path::Root) => f.write_str(name),
                    (true, _) => write!(f, ".{name}"),
                    (false, _) => write!(f, "[{name}]"),
                }
            }
            Self::Item(parent, index) => {
                parent.fmt(f)?;
                write!(f, "[{index}]")
            }
        }
    }
}

/// `a`, `a or b`, `a, b or c`.
struct Words<'a>(&'a [&'a str]);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            match self.0.len() - index {
                _ if index == 0 => {}
                1 => f.write_str(" or ")?,
                _ => f.write_str(", ")?,
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}

/// A value, short enough for a message.
struct Found<'a>(&'a Value);

/// Longest text that a message repeats, in characters.
const SHOWN_CHARS: usize = 80;

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("nothing"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::String(text) if text.chars().nth(SHOWN_CHARS).is_some() => {
                let start: String = text.chars().take(SHOWN_CHARS).collect();
                write!(f, "{start:?}…")
            }
            Value::String(text) => write!(f, "{text:?}"),
            Value::Array(_) => f.write_str("a list"),
            Value::Object(_) => f.write_str("a mapping"),
        }
    }
}

/// The word that was probably meant: the same in another case, or at most two letters off.
pub(super) fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let distances = known
        .iter()
        .map(|word| (distance(&lower, &word.to_lowercase()), *word));
    let (distance, word) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 2 && distance * 2 <= word.len()).then_some(word)
}

/// How many letters to insert, delete or change (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, to) in right.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths() {
        let value = json!({"spec": {"ingress": [{"a.b/c": 1}]}});
        let root = Node::root(&value);
        let spec = root.field("spec").unwrap();
        let ingress = spec.field("ingress").unwrap();
        let first = ingress.item(0, &ingress.value[0]);
        assert_eq!(first.path.to_string(), "spec.ingress[0]");
        assert_eq!(
            first.field("a.b/c").unwrap().path.to_string(),
            "spec.ingress[0][a.b/c]"
        );
    }

    #[test]
    fn unknown_fields_suggest_what_was_meant() {
        let value = json!({"Selector": 1, "slector": 1, "frobnicate": 1, "order": 1});
        let mut problems = Problems::default();
        assert!(Node::root(&value).has_unknown(&["selector", "order"], &mut problems));
        let messages: Vec<&str> = problems.0.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "unknown field \"Selector\": did you mean \"selector\"?",
                "unknown field \"frobnicate\": expected one of selector, order",
                "unknown field \"slector\": did you mean \"selector\"?",
            ]
        );
        assert_eq!(closest("to", &["from", "ports"]), None);
    }

    #[test]
    fn integers_within_bounds() {
        let mut problems = Problems::default();
        for (value, expected) in [
            (json!(7), Ok(7)),
            (json!(7.0), Ok(7)),
            (json!(7.5), Err(Unreadable)),
            (json!(-1), Err(Unreadable)),
            (json!(256), Err(Unreadable)),
            (json!(1e300), Err(Unreadable)),
            (json!("7"), Err(Unreadable)),
        ] {
            assert_eq!(
                Node::root(&value).integer::<u8>(0, 255, &mut problems),
                expected,
                "{value}"
            );
        }
        assert_eq!(problems.0[2].message, "256: expected 0-255");
    }
}
