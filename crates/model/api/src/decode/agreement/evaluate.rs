//! What an API server makes of a structural schema, and of its conditions.

use std::cell::RefCell;
use std::collections::HashMap;

use cel::{Context, Program};
use regex::Regex;
use serde_json::{Map, Value};

/// Why a schema refuses a value.
#[derive(Debug)]
pub(super) struct Fault {
    /// From `x-kubernetes-validations`.
    pub is_check: bool,
    pub message: String,
}

/// All that a schema has against a value.
pub(super) fn evaluate(schema: &Value, value: &Value) -> Vec<Fault> {
    let value = without_nulls(schema, value);
    let mut faults = Vec::new();
    any(schema, &value, "", &mut faults);
    // Conditions are asked only of what has the right form.
    if faults.is_empty() {
        checks(schema, &value, &mut faults);
    }
    faults
}

fn checks(schema: &Value, value: &Value, faults: &mut Vec<Fault>) {
    for check in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        if !holds(check["rule"].as_str().unwrap(), value) {
            let message = check["message"].as_str().unwrap().to_owned();
            faults.push(Fault {
                is_check: true,
                message,
            });
        }
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let property = schema["properties"].get(name);
                let property = property.unwrap_or(&schema["additionalProperties"]);
                checks(property, value, faults);
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| checks(&schema["items"], item, faults)),
        _ => {}
    }
}

/// Fields that are null are as good as absent; in a mapping of texts they are no texts.
fn without_nulls(schema: &Value, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (name, value) in fields {
                let property = schema["properties"].get(name);
                if value.is_null() && property.is_some() {
                    continue;
                }
                let part = property.unwrap_or(&schema["additionalProperties"]);
                kept.insert(name.clone(), without_nulls(part, value));
            }
            Value::Object(kept)
        }
        Value::Array(items) => {
            let items = items.iter();
            items
                .map(|item| without_nulls(&schema["items"], item))
                .collect()
        }
        other => other.clone(),
    }
}

fn any(schema: &Value, value: &Value, path: &str, faults: &mut Vec<Fault>) {
    let mut fault = |message: String| {
        faults.push(Fault {
            is_check: false,
            message: format!("{path}: {message}"),
        });
    };
    if value.is_null() {
        if schema["nullable"] != true {
            fault("null".to_owned());
        }
        return;
    }
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let right = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("number") => value.is_number(),
        Some("integer") => whole,
        Some(other) => panic!("{other}"),
        None if schema["x-kubernetes-int-or-string"] == true => whole || value.is_string(),
        None => true,
    };
    if !right {
        return fault(format!("{value} is of the wrong type"));
    }
    let allowed = schema["enum"].as_array();
    if allowed.is_some_and(|allowed| !allowed.contains(value)) {
        fault(format!("{value} is not one of {allowed:?}"));
    }
    match value {
        Value::Object(fields) => object(schema, fields, path, faults),
        Value::Array(items) => list(schema, items, path, faults),
        Value::String(text) => {
            let chars = text.chars().count();
            if chars > size(schema, "maxLength", usize::MAX) || chars < size(schema, "minLength", 0)
            {
                fault(format!("{chars} characters"));
            }
            if schema["pattern"]
                .as_str()
                .is_some_and(|pattern| !matches(pattern, text))
            {
                fault(format!("{text:?} does not match"));
            }
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            if schema["minimum"]
                .as_f64()
                .is_some_and(|least| number < least)
                || schema["maximum"].as_f64().is_some_and(|most| number > most)
            {
                fault(format!("{number} is out of bounds"));
            }
        }
        _ => {}
    }
}

fn size(schema: &Value, name: &str, absent: usize) -> usize {
    schema[name]
        .as_u64()
        .map_or(absent, |size| usize::try_from(size).unwrap())
}

fn object(schema: &Value, fields: &Map<String, Value>, path: &str, faults: &mut Vec<Fault>) {
    let mut fault = |message: String| {
        faults.push(Fault {
            is_check: false,
            message: format!("{path}: {message}"),
        });
    };
    let count = fields.len();
    if count < size(schema, "minProperties", 0) || count > size(schema, "maxProperties", usize::MAX)
    {
        fault(format!("{count} fields"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap()) {
            fault(format!("{name} is missing"));
        }
    }
    // The API server knows metadata by itself.
    let known_elsewhere = path == ".metadata";
    for (name, value) in fields {
        let path = format!("{path}.{name}");
        if let Some(property) = schema["properties"].get(name) {
            any(property, value, &path, faults);
        } else if schema["additionalProperties"].is_object() {
            any(&schema["additionalProperties"], value, &path, faults);
        } else if schema["x-kubernetes-preserve-unknown-fields"] != true && !known_elsewhere {
            faults.push(Fault {
                is_check: false,
                message: format!("{path} is not known"),
            });
        }
    }
}

fn list(schema: &Value, items: &[Value], path: &str, faults: &mut Vec<Fault>) {
    let mut fault = |message: String| {
        faults.push(Fault {
            is_check: false,
            message: format!("{path}: {message}"),
        });
    };
    let count = items.len();
    if count < size(schema, "minItems", 0) || count > size(schema, "maxItems", usize::MAX) {
        fault(format!("{count} items"));
    }
    let key = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => {
            let name = schema["x-kubernetes-list-map-keys"][0].as_str().unwrap();
            item.get(name).cloned()
        }
        _ => None,
    };
    for (index, item) in items.iter().enumerate() {
        let earlier = &items[..index];
        if key(item).is_some_and(|mine| {
            earlier
                .iter()
                .any(|other| key(other).as_ref() == Some(&mine))
        }) {
            faults.push(Fault {
                is_check: false,
                message: format!("{path}: twice {item}"),
            });
        }
        any(&schema["items"], item, &format!("{path}[{index}]"), faults);
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    thread_local!(static KNOWN: RefCell<HashMap<String, Regex>> = RefCell::default());
    KNOWN.with_borrow_mut(|known| {
        let regex = known
            .entry(pattern.to_owned())
            .or_insert_with(|| Regex::new(pattern).unwrap());
        regex.is_match(text)
    })
}

/// A condition that cannot be evaluated does not hold, as in an API server.
fn holds(rule: &str, value: &Value) -> bool {
    thread_local!(static KNOWN: RefCell<HashMap<String, Program>> = RefCell::default());
    KNOWN.with_borrow_mut(|known| {
        let program = known.entry(rule.to_owned()).or_insert_with(|| {
            Program::compile(rule).unwrap_or_else(|error| panic!("{rule}: {error}"))
        });
        let mut context = Context::default();
        context.add_variable_from_value("self", plain(value));
        program.execute(&context) == Ok(cel::Value::Bool(true))
    })
}

/// As the API server has it: whole numbers have a sign.
fn plain(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => cel::Value::Int(whole),
            None => cel::Value::Float(number.as_f64().unwrap()),
        },
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.as_str(), plain(value)));
            fields.collect::<HashMap<_, _>>().into()
        }
    }
}
