//! JSON (RFC 8259), with places. YAML's parser refuses some of it, such as long keys, escaped
//! surrogate pairs, and objects one after the other.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::places::Shape;
use super::{Place, SyntaxError};
use crate::Position;
use crate::limits::DOCUMENT_DEPTH;

/// The value and places of each object of the text.
pub(super) fn read(text: &str) -> Result<Vec<(Value, Vec<Place>)>, SyntaxError> {
    let mut roots = Vec::new();
    let mut reader = Reader {
        text,
        at: 0,
        counted: START,
        counted_at: 0,
        places: Vec::new(),
    };
    reader.skip_blank();
    while reader.at < text.len() {
        let value = reader.value(0)?;
        roots.push((value, std::mem::take(&mut reader.places)));
        reader.skip_blank();
    }
    Ok(roots)
}

/// True for what begins as JSON does: `{` and a key in double quotes, or `[{`, or nothing in them.
/// Flow mappings of YAML may begin so too.
pub(super) fn begins(text: &str) -> bool {
    let text = text.trim_start();
    let inner = text.strip_prefix('[').map_or(text, str::trim_start);
    inner
        .strip_prefix('{')
        .is_some_and(|rest| rest.trim_start().starts_with(['"', '}']))
}

const START: Position = Position { line: 1, column: 1 };

struct Reader<'a> {
    text: &'a str,
    /// Byte offset of what is read next.
    at: usize,
    /// The place that was counted last, and its byte offset: lines may be very long, so each
    /// character is counted once.
    counted: Position,
    counted_at: usize,
    places: Vec<Place>,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        if depth > DOCUMENT_DEPTH {
            let message = format!("nested too deep: expected at most {DOCUMENT_DEPTH} levels");
            return Err(self.error(message));
        }
        let first = self.places.len();
        let at = self.position();
        let shape = match self.next() {
            Some(b'{') => Shape::Mapping,
            Some(b'[') => Shape::Sequence,
            _ => Shape::Scalar,
        };
        self.places.push(Place {
            key: None,
            key_at: at,
            at,
            size: 1,
            shape,
        });
        let value = match self.next() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => Value::Number(self.number()?),
            _ if self.take("true") => Value::Bool(true),
            _ if self.take("false") => Value::Bool(false),
            _ if self.take("null") => Value::Null,
            _ => return Err(self.expected("a value")),
        };
        self.places[first].size = self.places.len() - first;
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut fields = Map::new();
        let mut lines = BTreeMap::new();
        self.take("{");
        self.skip_blank();
        if self.take("}") {
            return Ok(Value::Object(fields));
        }
        loop {
            let key_at = self.position();
            if self.next() != Some(b'"') {
                return Err(self.expected("a key in double quotes"));
            }
            let key = self.string()?;
            if let Some(line) = lines.insert(key.clone(), key_at.line) {
                let message = format!("duplicate key {key:?}, first on line {line}");
                return Err(SyntaxError {
                    position: key_at,
                    message,
                });
            }
            self.skip_blank();
            self.require(":", "':'")?;
            let first = self.places.len();
            let value = self.value(depth + 1)?;
            let place = &mut self.places[first];
            place.key = Some(key.clone().into());
            place.key_at = key_at;
            fields.insert(key, value);
            self.skip_blank();
            if self.take("}") {
                return Ok(Value::Object(fields));
            }
            self.require(",", "',' or '}'")?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut items = Vec::new();
        self.take("[");
        self.skip_blank();
        if self.take("]") {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_blank();
            if self.take("]") {
                return Ok(Value::Array(items));
            }
            self.require(",", "',' or ']'")?;
        }
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let rest = self.rest();
        let mut escaped = false;
        for (offset, byte) in rest.bytes().enumerate().skip(1) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'\n' => break,
                b'"' => {
                    let Ok(text) = serde_json::from_str(&rest[..=offset]) else {
                        return Err(self.expected("a string without bad escapes"));
                    };
                    self.at += offset + 1;
                    return Ok(text);
                }
                _ => {}
            }
        }
        Err(self.expected("a string that ends on its line"))
    }

    fn number(&mut self) -> Result<Number, SyntaxError> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
            .unwrap_or(rest.len());
        let Ok(number) = serde_json::from_str(&rest[..end]) else {
            return Err(self.expected("a finite number"));
        };
        self.at += end;
        Ok(number)
    }

    /// Reads the token, and the blanks after it.
    fn require(&mut self, token: &str, expected: &str) -> Result<(), SyntaxError> {
        if !self.take(token) {
            return Err(self.expected(expected));
        }
        self.skip_blank();
        Ok(())
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn skip_blank(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.next() {
            self.at += 1;
            if byte == b'\n' {
                self.counted = Position {
                    line: self.counted.line + 1,
                    column: 1,
                };
                self.counted_at = self.at;
            }
        }
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn position(&mut self) -> Position {
        self.counted.column += self.text[self.counted_at..self.at].chars().count();
        self.counted_at = self.at;
        self.counted
    }

    fn expected(&mut self, expected: &str) -> SyntaxError {
        let found = match self.rest().chars().next() {
            Some(character) => format!("{character:?}"),
            None => "the end".to_owned(),
        };
        self.error(format!("not JSON: expected {expected}, found {found}"))
    }

    fn error(&mut self, message: String) -> SyntaxError {
        SyntaxError {
            position: self.position(),
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Value> {
        read(text)
            .unwrap()
            .into_iter()
            .map(|(value, _)| value)
            .collect()
    }

    #[test]
    fn values_of_all_shapes() {
        let text = r#" {"a": [1, -2.5e1, true, false, null, "\ud83d\ude00\n"], "b": {}, "c": []}"#;
        assert_eq!(values(text), [serde_json::from_str::<Value>(text).unwrap()]);
        assert_eq!(
            values("{\"a\":1}\n{\"a\":2}"),
            [json!({"a": 1}), json!({"a": 2})]
        );
        assert_eq!(values(&format!("{{\"{}\": 1}}", "k".repeat(5000))).len(), 1);
    }

    #[test]
    fn errors_say_where_and_what() {
        for (text, line, column, part) in [
            ("{\"a\": 1,}", 1, 9, "a key in double quotes, found '}'"),
            ("{\"a\" 1}", 1, 6, "':'"),
            ("{\n  \"a\": 1\n  \"b\": 2\n}", 3, 3, "',' or '}'"),
            ("[1 2]", 1, 4, "',' or ']'"),
            ("{\"a\": tru}", 1, 7, "a value"),
            ("{\"a\": 1e999}", 1, 7, "finite"),
            ("{\"a\": 01}", 1, 7, "number"),
            ("{\"a\": \"x\n\"}", 1, 7, "ends on its line"),
            ("{\"a\": \"\\q\"}", 1, 7, "escapes"),
            (
                "{\"ü\": 1, \"ü\": 2}",
                1,
                10,
                "duplicate key \"ü\", first on line 1",
            ),
            ("{\"a\": 1", 1, 8, "found the end"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(
                (error.position.line, error.position.column),
                (line, column),
                "{text}"
            );
            assert!(error.message.contains(part), "{text}: {}", error.message);
        }
    }
}
