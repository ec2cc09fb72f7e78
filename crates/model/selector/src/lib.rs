//! The label expression language: parse, print, evaluate.
//!
//! Policies choose endpoints, namespaces and service accounts by expressions over labels, such as
//! `app == "web" && tier not in { "test" }`. This crate gives such a text a tree, the tree a
//! canonical text, and a set of labels an answer.
//!
//! ```text
//!   text ──parse──► Selector ──Display──► canonical text
//!                      │
//!                      ├──matches(labels)──► true or false
//!                      └──required()───────► an index key, where there is one
//! ```
//!
//! ```
//! use std::collections::BTreeMap;
//! use ocicat_selector::Selector;
//!
//! let selector = Selector::parse("app == 'web' && !has(legacy)").unwrap();
//! let labels = BTreeMap::from([("app", "web")]);
//! assert!(selector.matches(&labels));
//! assert_eq!(selector.to_string(), r#"app == "web" && !has(legacy)"#);
//!
//! let error = Selector::parse("app =").unwrap_err();
//! assert_eq!(error.column, 5);
//! ```
//!
//! It does not know where labels come from (namespaces, profiles, sets), what the empty selector
//! means in a given field, or how long a selector may be: those are the caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod error;
mod evaluate;
mod parse;
mod print;
#[cfg(test)]
mod properties;
mod required;

pub use error::ParseError;
pub use parse::DEPTH_LIMIT;
pub use required::Required;

/// A parsed selector. `Display` prints the canonical text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// `all()`, and the empty selector.
    All,
    /// `global()`. Matches everything by itself; it has a meaning of its own only where a
    /// `namespaceSelector` is read.
    Global,
    /// `has(label)`
    Has(Arc<str>),
    /// `label == "value"`
    Equal(Arc<str>, Arc<str>),
    /// `label != "value"`: true where the label is absent.
    NotEqual(Arc<str>, Arc<str>),
    /// `label in { … }`
    In(Arc<str>, BTreeSet<Arc<str>>),
    /// `label not in { … }`: true where the label is absent.
    NotIn(Arc<str>, BTreeSet<Arc<str>>),
    /// `label contains "value"`
    Contains(Arc<str>, Arc<str>),
    /// `label starts with "value"`
    StartsWith(Arc<str>, Arc<str>),
    /// `label ends with "value"`
    EndsWith(Arc<str>, Arc<str>),
    /// `!x`
    Not(Box<Selector>),
    /// `x && y && …`; two or more, none of them an `And`.
    And(Vec<Selector>),
    /// `x || y || …`; two or more, none of them an `Or`.
    Or(Vec<Selector>),
}

/// Anything that maps label names to values.
pub trait Labels {
    /// The value of the label, or `None` where it is absent.
    fn get(&self, name: &str) -> Option<&str>;
}

impl<K: Ord + std::borrow::Borrow<str>, V: AsRef<str>> Labels for BTreeMap<K, V> {
    fn get(&self, name: &str) -> Option<&str> {
        BTreeMap::get(self, name).map(AsRef::as_ref)
    }
}

impl Selector {
    /// Reads a selector. Empty or blank text is [`Selector::All`].
    ///
    /// # Errors
    ///
    /// The first place that cannot be read, with what was expected there; also nesting of more
    /// than [`DEPTH_LIMIT`] parentheses and `!`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::parse(text)
    }

    /// The conjunction of `parts`, flattened: nested conjunctions are spliced in, `all()` alone
    /// stands for none, and a single part stands for itself.
    #[must_use]
    pub fn and(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Self::All,
            1 => flat.remove(0),
            _ => Self::And(flat),
        }
    }

    /// The disjunction of `parts`, flattened. Of no parts: what is never true, `!all()`.
    #[must_use]
    pub fn or(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Self::negate(Self::All),
            1 => flat.remove(0),
            _ => Self::Or(flat),
        }
    }

    /// `!part`, as written: nothing is simplified.
    #[must_use]
    pub fn negate(part: Self) -> Self {
        Self::Not(Box::new(part))
    }

    /// `label == "value"`.
    #[must_use]
    pub fn equal(label: &str, value: &str) -> Self {
        Self::Equal(label.into(), value.into())
    }

    /// `has(label)`.
    #[must_use]
    pub fn has(label: &str) -> Self {
        Self::Has(label.into())
    }

    /// The labels that the selector asks for, each once, in order.
    pub fn labels(&self) -> impl Iterator<Item = &Arc<str>> {
        let mut names = BTreeSet::new();
        self.collect_labels(&mut names);
        names.into_iter()
    }

    fn collect_labels<'a>(&'a self, names: &mut BTreeSet<&'a Arc<str>>) {
        match self {
            Self::All | Self::Global => {}
            Self::Has(label)
            | Self::Equal(label, _)
            | Self::NotEqual(label, _)
            | Self::In(label, _)
            | Self::NotIn(label, _)
            | Self::Contains(label, _)
            | Self::StartsWith(label, _)
            | Self::EndsWith(label, _) => {
                names.insert(label);
            }
            Self::Not(inner) => inner.collect_labels(names),
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.collect_labels(names);
                }
            }
        }
    }
}

impl std::str::FromStr for Selector {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conjunctions_are_flattened() {
        let a = || Selector::has("a");
        let nested = Selector::and([a(), Selector::and([a(), a()])]);
        assert_eq!(nested, Selector::And(vec![a(), a(), a()]));
        assert_eq!(Selector::and([a()]), a());
        assert_eq!(Selector::and([]), Selector::All);
        assert_eq!(Selector::or([]).to_string(), "!all()");
    }

    #[test]
    fn labels_are_listed_once_in_order() {
        let selector = Selector::parse("b == 'x' || !(a in {'y'} && has(b)) || all()").unwrap();
        let names: Vec<&str> = selector.labels().map(AsRef::as_ref).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
