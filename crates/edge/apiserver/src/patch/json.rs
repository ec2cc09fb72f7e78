//! JSON patch, RFC 6902: a list of operations on JSON pointers (RFC 6901), all or none.

use serde::Deserialize;
use serde_json::Value;

/// Most operations in one patch, as in Kubernetes.
const OPERATIONS: usize = 10_000;

/// The operations of one patch.
#[derive(Clone, Debug)]
pub(crate) struct Operations(Vec<Operation>);

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
    Move { from: String, path: String },
    Copy { from: String, path: String },
    Test { path: String, value: Value },
}

impl Operations {
    /// Reads the operations from a JSON array.
    pub(crate) fn parse(value: Value) -> Result<Self, String> {
        let operations: Vec<Operation> = serde_json::from_value(value)
            .map_err(|error| format!("error decoding patch: {error}"))?;
        if operations.len() > OPERATIONS {
            return Err(format!(
                "the patch has {} operations: at most {OPERATIONS}",
                operations.len()
            ));
        }
        Ok(Self(operations))
    }

    /// The document after all operations.
    pub(crate) fn apply(&self, mut document: Value) -> Result<Value, String> {
        for operation in &self.0 {
            run(&mut document, operation)?;
        }
        Ok(document)
    }
}

fn run(document: &mut Value, operation: &Operation) -> Result<(), String> {
    match operation {
        Operation::Add { path, value } => add(document, path, value.clone()),
        Operation::Remove { path } => remove(document, path).map(drop),
        Operation::Replace { path, value } => {
            *at(document, path)? = value.clone();
            Ok(())
        }
        Operation::Move { from, path } => {
            if path
                .strip_prefix(from.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
            {
                return Err(format!("move: {from:?} cannot go into itself"));
            }
            let value = remove(document, from)?;
            add(document, path, value)
        }
        Operation::Copy { from, path } => {
            let value = at(document, from)?.clone();
            add(document, path, value)
        }
        Operation::Test { path, value } => match at(document, path)? {
            found if found == value => Ok(()),
            found => Err(format!(
                "testing value {path} failed: it is {found}, not {value}"
            )),
        },
    }
}

fn at<'a>(document: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    document.pointer_mut(path).ok_or_else(|| missing(path))
}

fn missing(path: &str) -> String {
    format!("there is no value at {path:?}")
}

/// The container that a path leads into, and the last step.
fn split(path: &str) -> Result<(&str, String), String> {
    let (parent, last) = path
        .rsplit_once('/')
        .ok_or_else(|| format!("{path:?} is not a JSON pointer"))?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (parent, last) = split(path)?;
    match at(document, parent)? {
        Value::Object(map) => {
            map.insert(last, value);
        }
        Value::Array(items) => {
            let place = if last == "-" {
                items.len()
            } else {
                index(&last, items.len() + 1, path)?
            };
            items.insert(place, value);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, String> {
    let (parent, last) = split(path)?;
    match at(document, parent)? {
        Value::Object(map) => map.remove(&last).ok_or_else(|| missing(path)),
        Value::Array(items) => {
            let place = index(&last, items.len(), path)?;
            Ok(items.remove(place))
        }
        _ => Err(missing(path)),
    }
}

fn index(text: &str, bound: usize, path: &str) -> Result<usize, String> {
    let plain =
        text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    text.parse()
        .ok()
        .filter(|index| plain && *index < bound)
        .ok_or_else(|| missing(path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(document: Value, patch: Value) -> Result<Value, String> {
        Operations::parse(patch)?.apply(document)
    }

    #[test]
    fn every_operation() {
        let document = json!({"a": [1, 2], "b": {"c~/d": true}});
        let patch = json!([
            {"op": "test", "path": "/b/c~0~1d", "value": true},
            {"op": "add", "path": "/a/1", "value": 9},
            {"op": "add", "path": "/a/-", "value": 3},
            {"op": "remove", "path": "/a/0"},
            {"op": "replace", "path": "/a/0", "value": 8},
            {"op": "copy", "from": "/a", "path": "/d"},
            {"op": "move", "from": "/b/c~0~1d", "path": "/e"},
        ]);
        assert_eq!(
            apply(document, patch),
            Ok(json!({"a": [8, 2, 3], "b": {}, "d": [8, 2, 3], "e": true}))
        );
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        for patch in [
            json!([{"op": "remove", "path": "/x"}]),
            json!([{"op": "replace", "path": "/x", "value": 1}]),
            json!([{"op": "add", "path": "/a/3", "value": 1}]),
            json!([{"op": "add", "path": "/a/01", "value": 1}]),
            json!([{"op": "add", "path": "x", "value": 1}]),
            json!([{"op": "remove", "path": ""}]),
            json!([{"op": "test", "path": "/a", "value": 1}]),
            json!([{"op": "move", "from": "/a", "path": "/a/0"}]),
            json!([{"op": "invent", "path": "/a"}]),
            json!({"op": "remove"}),
        ] {
            assert!(
                apply(json!({"a": [1, 2]}), patch.clone()).is_err(),
                "{patch}"
            );
        }
    }
}
