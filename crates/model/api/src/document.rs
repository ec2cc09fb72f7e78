//! Text to values that remember where they stood.
//!
//! ```text
//!   text ──events──► Document { value, places } ──decode──► problems with a field path
//!                                     ▲                              │
//!                                     └────────position_of───────────┘
//! ```
//!
//! A text is YAML 1.2 (core schema, several documents) or JSON, which is nearly a part of it.
//! Lists (`List`, `PodList`, …) are flattened to their items.

use std::sync::Arc;

use serde_json::Value;

use crate::Position;

mod json;
mod places;
mod scalar;
mod yaml;

use places::Place;
pub(crate) use places::Places;

/// One object of a text.
#[derive(Debug, Clone)]
pub struct Document {
    /// The object. Numbers, booleans and nulls as YAML 1.2 reads them; what is quoted is text.
    pub value: Value,
    places: Places,
}

/// Why a text cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    pub position: Position,
    /// What was found and what was expected.
    pub message: String,
}

/// Reads all objects of a text. Empty documents are left out.
///
/// # Errors
///
/// The first place that is neither YAML nor JSON, a duplicate key, an alias that stands for too
/// much, or nesting deeper than [`crate::limits::DOCUMENT_DEPTH`].
pub fn parse(text: &str) -> Result<Vec<Document>, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let roots = roots(text)?;
    let mut documents = Vec::new();
    for (value, places) in roots {
        let places = Places::new(Arc::new(places));
        flatten(value, places, &mut documents);
    }
    Ok(documents)
}

/// Tries JSON where it may be JSON; flow collections of YAML begin alike.
fn roots(text: &str) -> Result<Vec<(Value, Vec<Place>)>, SyntaxError> {
    if !text.trim_start().starts_with(['{', '[']) {
        return yaml::read(text);
    }
    match json::read(text) {
        Ok(roots) => Ok(roots),
        Err(of_json) => {
            yaml::read(text).map_err(|of_yaml| if json::begins(text) { of_json } else { of_yaml })
        }
    }
}

impl Document {
    /// Where the object begins.
    #[must_use]
    pub fn start(&self) -> Position {
        self.places.root()
    }

    /// Where a field stands, such as `spec.ingress[0].source.nets[1]`. For a text, number or
    /// boolean its value; for what holds others, its key; for a field that is not there, the
    /// nearest one around it that is.
    #[must_use]
    pub fn position_of(&self, field: &str) -> Position {
        self.places.find(field)
    }

    /// The places alone, for those who keep them longer than the value.
    #[must_use]
    pub(crate) fn into_places(self) -> Places {
        self.places
    }
}

/// Splits lists into their items. Items of a typed list may leave out their kind; the list says it.
fn flatten(value: Value, places: Places, documents: &mut Vec<Document>) {
    let Some(item_kind) = list_of(&value) else {
        if !value.is_null() {
            documents.push(Document { value, places });
        }
        return;
    };
    let api_version = value.get("apiVersion").cloned();
    let Value::Object(mut list) = value else {
        return;
    };
    let Some(Value::Array(items)) = list.remove("items") else {
        return;
    };
    for (index, mut item) in items.into_iter().enumerate() {
        if let (Value::Object(fields), Some(kind)) = (&mut item, &item_kind) {
            fields
                .entry("kind")
                .or_insert_with(|| Value::String(kind.clone()));
            if let Some(version) = &api_version {
                fields
                    .entry("apiVersion")
                    .or_insert_with(|| version.clone());
            }
        }
        flatten(item, places.item("items", index), documents);
    }
}

/// For a list: the kind of its items if the list has one (`PodList` has, `List` has not).
#[allow(
    clippy::option_option,
    reason = "whether it is a list, and whether it says of what"
)]
fn list_of(value: &Value) -> Option<Option<String>> {
    let kind = value.get("kind")?.as_str()?;
    let item_kind = kind.strip_suffix("List")?;
    value.get("items")?.as_array()?;
    Some((!item_kind.is_empty()).then(|| item_kind.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn lists_are_flattened_and_keep_places() {
        let text = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata:
    name: a
- apiVersion: v1
  kind: PodList
  items:
  - metadata: {name: b}
";
        let documents = parse(text).unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].start(), at(4, 3));
        assert_eq!(documents[0].position_of("metadata.name"), at(7, 11));
        assert_eq!(documents[1].value["kind"], "Pod");
        assert_eq!(documents[1].value["apiVersion"], "v1");
        assert_eq!(documents[1].position_of("metadata.name"), at(11, 22));
    }

    #[test]
    fn a_kind_that_only_ends_in_list_is_no_list() {
        let documents = parse("{kind: AllowList, spec: {}}").unwrap();
        assert_eq!(documents.len(), 1);
    }

    #[test]
    fn json_and_yaml_agree() {
        let json = r#"{"a": [1, -2.5, true, null, "x\u00e9"], "b": {"c": "d"}}"#;
        let yaml = "a: [1, -2.5, true, ~, xé]\nb:\n  c: d\n";
        assert_eq!(parse(json).unwrap()[0].value, parse(yaml).unwrap()[0].value);
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        assert_eq!(parse("\u{feff}a: 1").unwrap()[0].value["a"], 1);
    }
}
