//! Where the parts of a document stand.

use std::sync::Arc;

use crate::Position;

/// One value of a document. Values lie in the order of the text, each before its parts.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The key, for an entry of a mapping.
    pub key: Option<Box<str>>,
    /// Where the key stands; where the value stands, for what has no key.
    pub key_at: Position,
    pub at: Position,
    /// How many values this one is, its parts and itself counted.
    pub size: usize,
    pub shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Scalar,
    /// An absent value after a key.
    Empty,
    Sequence,
    Mapping,
}

/// The places of one object within those of its text.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    all: Arc<Vec<Place>>,
    root: usize,
}

impl Places {
    /// The places of the value that comes first in a list of at least one.
    pub fn new(all: Arc<Vec<Place>>) -> Self {
        Self { all, root: 0 }
    }

    pub fn root(&self) -> Position {
        self.all
            .get(self.root)
            .map_or(Position { line: 1, column: 1 }, |place| place.at)
    }

    /// The places of one item of a sequence of this object.
    pub fn item(&self, field: &str, index: usize) -> Self {
        let sequence = self.child(self.root, Step::Key(field));
        let item = sequence.and_then(|at| self.child(at, Step::Index(index)));
        Self {
            all: Arc::clone(&self.all),
            root: item.unwrap_or(self.root),
        }
    }

    /// Follows the path as far as it goes.
    pub fn find(&self, path: &str) -> Position {
        let mut at = self.root;
        for step in steps(path) {
            match self.child(at, step) {
                Some(child) => at = child,
                None => break,
            }
        }
        let Some(place) = self.all.get(at) else {
            return self.root();
        };
        if at == self.root || place.shape == Shape::Scalar {
            place.at
        } else {
            place.key_at
        }
    }

    fn child(&self, parent: usize, step: Step<'_>) -> Option<usize> {
        let place = self.all.get(parent)?;
        let end = parent + place.size;
        let mut at = parent + 1;
        let mut index = 0;
        while at < end {
            let child = self.all.get(at)?;
            let found = match (step, place.shape) {
                (Step::Index(wanted), Shape::Sequence) => index == wanted,
                (Step::Key(key), Shape::Mapping) => child.key.as_deref() == Some(key),
                // A key that is written in brackets because it has dots, and looks like a number.
                (Step::Index(wanted), Shape::Mapping) => {
                    child.key.as_deref() == Some(wanted.to_string().as_str())
                }
                _ => false,
            };
            if found {
                return Some(at);
            }
            at += child.size;
            index += 1;
        }
        None
    }
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// The steps of a path such as `metadata.labels[app.kubernetes.io/name]` or `spec.ingress[0]`.
fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            return None;
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let (key, after) = inner.split_once(']').unwrap_or((inner, ""));
            rest = after;
            return Some(key.parse().map_or(Step::Key(key), Step::Index));
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        rest = after;
        Some(Step::Key(key))
    })
}
