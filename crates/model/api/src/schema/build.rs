//! Parts of schemas.

use serde_json::{Map, Value, json};

/// A schema that is being put together: `OpenAPI` v3 as custom resource definitions take it.
#[derive(Debug, Clone)]
pub(super) struct Schema(Map<String, Value>);

fn of(kind: &str, about: &str) -> Schema {
    Schema(Map::new())
        .with("type", kind)
        .with("description", about)
}

/// A mapping of the fields that are added.
pub(super) fn object(about: &str) -> Schema {
    of("object", about).with("properties", json!({}))
}

/// A mapping of anything.
pub(super) fn open(about: &str) -> Schema {
    of("object", about).with("x-kubernetes-preserve-unknown-fields", true)
}

/// Anything at all.
pub(super) fn any(about: &str) -> Schema {
    Schema(Map::new())
        .with("description", about)
        .with("x-kubernetes-preserve-unknown-fields", true)
}

pub(super) fn text(about: &str) -> Schema {
    of("string", about)
}

pub(super) fn boolean(about: &str) -> Schema {
    of("boolean", about)
}

pub(super) fn number(about: &str) -> Schema {
    of("number", about)
}

/// A whole number within bounds.
pub(super) fn integer(about: &str, first: i64, last: i64) -> Schema {
    let schema = of("integer", about)
        .with("minimum", first)
        .with("maximum", last);
    // Kubernetes takes integers without a format for 64 bits wide as well, but says so in errors.
    schema.with(
        "format",
        if i32::try_from(last).is_ok() {
            "int32"
        } else {
            "int64"
        },
    )
}

/// A whole number within bounds, or a text.
pub(super) fn integer_or_text(about: &str, first: i64, last: i64, pattern: &str) -> Schema {
    Schema(Map::new())
        .with("description", about)
        .with("x-kubernetes-int-or-string", true)
        .with("anyOf", json!([{"type": "integer"}, {"type": "string"}]))
        .with("minimum", first)
        .with("maximum", last)
        .pattern(pattern)
}

pub(super) fn list(about: &str, items: Schema) -> Schema {
    of("array", about).with("items", items.value())
}

/// A mapping of texts.
pub(super) fn texts(about: &str) -> Schema {
    of("object", about).with("additionalProperties", json!({"type": "string"}))
}

/// A mapping of values of one schema.
pub(super) fn map_of(about: &str, values: Schema) -> Schema {
    of("object", about).with("additionalProperties", values.value())
}

impl Schema {
    pub fn value(self) -> Value {
        Value::Object(self.0)
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a field of a mapping.
    pub fn field(mut self, name: &str, schema: Schema) -> Self {
        if let Some(Value::Object(properties)) = self.0.get_mut("properties") {
            properties.insert(name.to_owned(), schema.value());
        }
        self
    }

    /// Adds a field that must be there.
    pub fn required(self, name: &str, schema: Schema) -> Self {
        let mut with = self.field(name, schema);
        let required = with.0.entry("required").or_insert_with(|| json!([]));
        if let Value::Array(names) = required {
            names.push(name.into());
        }
        with
    }

    pub fn least_items(self, least: usize) -> Self {
        self.with("minItems", least)
    }

    pub fn most_items(self, most: usize) -> Self {
        self.with("maxItems", most)
    }

    pub fn least_chars(self, least: usize) -> Self {
        self.with("minLength", least)
    }

    pub fn most_chars(self, most: usize) -> Self {
        self.with("maxLength", most)
    }

    /// A regular expression of RE2.
    pub fn pattern(self, pattern: &str) -> Self {
        self.with("pattern", pattern)
    }

    pub fn one_of(self, values: &[&str]) -> Self {
        self.with("enum", values)
    }

    pub fn values(self, values: &[i64]) -> Self {
        self.with("enum", values)
    }

    pub fn default(self, value: impl Into<Value>) -> Self {
        self.with("default", value)
    }

    /// A mapping of exactly one of its fields.
    pub fn one_field(self) -> Self {
        self.least_fields(1).with("maxProperties", 1)
    }

    pub fn least_fields(self, least: usize) -> Self {
        self.with("minProperties", least)
    }

    /// Also `null`.
    pub fn nullable(self) -> Self {
        self.with("nullable", true)
    }

    /// Of an open mapping: some of its fields are described.
    pub fn described(self) -> Self {
        self.with("properties", json!({}))
    }

    /// A list of which each item stands there once.
    pub fn set(self) -> Self {
        self.with("x-kubernetes-list-type", "set")
    }

    /// A list of mappings that one field tells apart.
    pub fn keyed(self, key: &str) -> Self {
        self.with("x-kubernetes-list-type", "map")
            .with("x-kubernetes-list-map-keys", json!([key]))
    }

    /// A condition between fields, in the Common Expression Language, and what is said where it is
    /// not met: the words of the decoder.
    pub fn check(mut self, rule: impl Into<String>, message: &str) -> Self {
        let checks = self
            .0
            .entry("x-kubernetes-validations")
            .or_insert_with(|| json!([]));
        if let Value::Array(checks) = checks {
            checks.push(json!({"rule": rule.into(), "message": message}));
        }
        self
    }
}
