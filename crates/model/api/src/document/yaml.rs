//! YAML, from the events of the parser.

use std::collections::BTreeMap;
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::places::Shape;
use super::{Place, SyntaxError, scalar};
use crate::Position;
use crate::limits::{ALIASED_VALUES, DOCUMENT_DEPTH};

/// The value and places of each document; empty documents are left out.
pub(super) fn read(text: &str) -> Result<Vec<(Value, Vec<Place>)>, SyntaxError> {
    let mut reader = Reader {
        text,
        parser: Parser::new_from_str(text),
        places: Vec::new(),
        anchors: BTreeMap::new(),
        aliased: 0,
    };
    let mut roots = Vec::new();
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(roots),
            Event::DocumentStart(_) => {
                let (event, span) = reader.next()?;
                let value = reader.value(event, span, 0)?;
                let places = std::mem::take(&mut reader.places);
                reader.anchors.clear();
                if !value.is_null() {
                    roots.push((value, places));
                }
            }
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            _ => return Err(error_at(span.start, "expected the start of a document")),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    /// Of the document that is being read.
    places: Vec<Place>,
    anchors: BTreeMap<usize, Anchor>,
    /// Values that aliases have stood for so far.
    aliased: usize,
}

struct Anchor {
    value: Value,
    places: Range<usize>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The parser's complaint, in words of what was expected.
    fn syntax(&self, error: &ScanError) -> SyntaxError {
        let marker = error.marker();
        let line = self
            .text
            .lines()
            .nth(marker.line().saturating_sub(1))
            .unwrap_or("");
        let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
        if let Some(column) = indent.chars().position(|c| c == '\t') {
            return SyntaxError {
                position: Position {
                    line: marker.line(),
                    column: column + 1,
                },
                message: "a tab in the indentation: expected spaces".to_owned(),
            };
        }
        error_at(*marker, format!("not YAML: {}", error.info()))
    }

    /// Reads the value that the event begins. Its place is the last that is pushed before those of
    /// its parts; the caller adds the key.
    fn value(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Value, SyntaxError> {
        if depth > DOCUMENT_DEPTH {
            let message = format!("nested too deep: expected at most {DOCUMENT_DEPTH} levels");
            return Err(error_at(span.start, message));
        }
        let first = self.places.len();
        let at = position(span.start);
        let shape = match &event {
            Event::SequenceStart(..) => Shape::Sequence,
            Event::MappingStart(..) => Shape::Mapping,
            Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() => Shape::Empty,
            _ => Shape::Scalar,
        };
        self.places.push(Place {
            key: None,
            key_at: at,
            at,
            size: 1,
            shape,
        });
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (
                scalar_value(&text, style, tag.as_deref(), span.start)?,
                anchor,
            ),
            Event::SequenceStart(anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(anchor) => (self.alias(anchor, span.start, depth)?, 0),
            _ => return Err(error_at(span.start, "expected a value")),
        };
        self.places[first].size = self.places.len() - first;
        if anchor > 0 {
            let places = first..self.places.len();
            self.anchors.insert(
                anchor,
                Anchor {
                    value: value.clone(),
                    places,
                },
            );
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            items.push(self.value(event, span, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut fields = Map::new();
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, 0, None) if text == "<<");
            let key = key(event, span.start)?;
            let (event, value_span) = self.next()?;
            let first = self.places.len();
            let value = self.value(event, value_span, depth + 1)?;
            if is_merge {
                let places: Vec<Place> = self.places.drain(first..).collect();
                merged.extend(merge_sources(value, places, span.start)?);
                continue;
            }
            if let Some(line) = lines.insert(key.clone(), span.start.line()) {
                let message = format!("duplicate key {key:?}, first on line {line}");
                return Err(error_at(span.start, message));
            }
            let place = &mut self.places[first];
            place.key = Some(key.clone().into());
            place.key_at = position(span.start);
            fields.insert(key, value);
        }
        for (source, places) in merged {
            self.merge(&mut fields, &source, &places);
        }
        Ok(Value::Object(fields))
    }

    /// Takes over the entries of a merged mapping that are not there yet (YAML 1.1 `<<`).
    fn merge(
        &mut self,
        fields: &mut Map<String, Value>,
        source: &Map<String, Value>,
        places: &[Place],
    ) {
        let mut at = 1;
        while let Some(place) = places.get(at) {
            if let Some(key) = &place.key
                && !fields.contains_key(&**key)
                && let Some(value) = source.get(&**key)
            {
                fields.insert(key.to_string(), value.clone());
                self.places.extend_from_slice(&places[at..at + place.size]);
            }
            at += place.size;
        }
    }

    /// What the anchor holds, with the anchor's places below the alias's own.
    fn alias(&mut self, anchor: usize, at: Marker, depth: usize) -> Result<Value, SyntaxError> {
        let Some(Anchor { value, places }) = self.anchors.get(&anchor) else {
            return Err(error_at(at, "an alias inside the value it stands for"));
        };
        let value = value.clone();
        self.aliased += places.len();
        if self.aliased > ALIASED_VALUES {
            let message = format!("aliases stand for too much: at most {ALIASED_VALUES} values");
            return Err(error_at(at, message));
        }
        if depth + levels(&value) > DOCUMENT_DEPTH {
            let message = format!("nested too deep: expected at most {DOCUMENT_DEPTH} levels");
            return Err(error_at(at, message));
        }
        let below = self.places[places.clone()].to_vec();
        let shape = below[0].shape;
        if let Some(own) = self.places.last_mut() {
            own.shape = shape;
        }
        self.places.extend_from_slice(&below[1..]);
        Ok(value)
    }
}

/// How deep a value is nested; its own bound is that of the text.
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}

/// A mapping that is merged into another, and its places.
type Source = (Map<String, Value>, Vec<Place>);

/// The mappings that `<<` names: one, or a list of them.
fn merge_sources(value: Value, places: Vec<Place>, at: Marker) -> Result<Vec<Source>, SyntaxError> {
    let wrong = || error_at(at, "'<<': expected a mapping or a list of mappings");
    match value {
        Value::Object(fields) => Ok(vec![(fields, places)]),
        Value::Array(items) => {
            let mut sources = Vec::new();
            let mut start = 1;
            for item in items {
                let size = places.get(start).map_or(1, |place| place.size);
                let Value::Object(fields) = item else {
                    return Err(wrong());
                };
                sources.push((fields, places[start..start + size].to_vec()));
                start += size;
            }
            Ok(sources)
        }
        _ => Err(wrong()),
    }
}

/// Keys are text; numbers and booleans are taken as they are written, as kubectl does.
fn key(event: Event<'_>, at: Marker) -> Result<String, SyntaxError> {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() => {
            Err(error_at(at, "expected a key before ':'"))
        }
        Event::Scalar(text, ..) => Ok(text.into_owned()),
        _ => Err(error_at(at, "expected a text as key")),
    }
}

fn scalar_value(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: Marker,
) -> Result<Value, SyntaxError> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
            Ok(Value::String(text.to_owned()))
        }
        Some(tag) if tag.is_yaml_core_schema() => {
            scalar::plain(text).map_err(|message| error_at(at, message))
        }
        Some(tag) => Err(error_at(
            at,
            format!("tag {tag}: expected a value without a tag"),
        )),
        None if style == ScalarStyle::Plain => {
            scalar::plain(text).map_err(|message| error_at(at, message))
        }
        None => Ok(Value::String(text.to_owned())),
    }
}

fn position(marker: Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

fn error_at(marker: Marker, message: impl Into<String>) -> SyntaxError {
    SyntaxError {
        position: position(marker),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
