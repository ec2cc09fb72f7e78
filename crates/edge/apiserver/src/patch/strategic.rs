//! Kubernetes' strategic merge patch: a merge patch in which some lists are merged by a key of their
//! items, with directives for what that cannot say.
//!
//! Which lists have keys is the `patchStrategy` and `patchMergeKey` of the Go types of Kubernetes; the
//! tables below hold those of the served kinds. The directives are `$patch` (replace, delete, merge),
//! `$retainKeys`, `$setElementOrder/LIST` and `$deleteFromPrimitiveList/LIST`.

use serde_json::{Map, Value};

mod shape;

use shape::BARE;
pub(crate) use shape::{NAMESPACE, NODE, PLAIN, POD, SERVICE, SERVICE_ACCOUNT, WORKLOAD};

/// The fields of a type that are not simply replaced.
#[derive(Debug)]
pub(crate) struct Shape(&'static [(&'static str, Field)]);

/// How a field is merged.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    /// An object of a known type.
    Object(&'static Shape),
    /// A list of objects, merged by this key of theirs.
    Keyed(&'static str, &'static Shape),
    /// A list of plain values, merged as a set.
    Set,
}

const ORDER: &str = "$setElementOrder/";
const REMOVE: &str = "$deleteFromPrimitiveList/";

/// The object with the patch applied.
///
/// # Errors
/// What in the patch does not fit, in words.
pub(crate) fn apply(object: Value, patch: &Value, shape: &Shape) -> Result<Value, String> {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            Ok(Value::Object(merge(object, patch, shape)?))
        }
        _ => Err("a strategic merge patch and what it patches are JSON objects".to_owned()),
    }
}

fn merge(
    mut object: Map<String, Value>,
    patch: &Map<String, Value>,
    shape: &Shape,
) -> Result<Map<String, Value>, String> {
    match directive(patch)? {
        Some("replace") => return merge(Map::new(), &without_directive(patch), shape),
        Some("delete") => return Ok(Map::new()),
        _ => {}
    }
    for (key, change) in patch {
        if let Some(list) = key.strip_prefix(REMOVE) {
            remove_values(&mut object, list, change)?;
        } else if key == "$patch" || key == "$retainKeys" || key.starts_with(ORDER) {
            // Read elsewhere.
        } else if change.is_null() {
            object.remove(key);
        } else {
            let old = object.remove(key);
            let order = patch.get(&format!("{ORDER}{key}"));
            object.insert(
                key.clone(),
                value(old, change, order, shape.field(key), key)?,
            );
        }
    }
    for (key, order) in patch {
        if let Some(list) = key
            .strip_prefix(ORDER)
            .filter(|list| !patch.contains_key(*list))
        {
            reorder_alone(&mut object, list, order, shape.field(list))?;
        }
    }
    if let Some(retain) = patch.get("$retainKeys") {
        let retain = array(retain, "$retainKeys")?;
        object.retain(|key, _| retain.iter().any(|name| name == key));
    }
    Ok(object)
}

/// The new value of the field `name`.
fn value(
    old: Option<Value>,
    change: &Value,
    order: Option<&Value>,
    field: Option<Field>,
    name: &str,
) -> Result<Value, String> {
    match (change, field) {
        (Value::Object(change), field) => {
            let shape = match field {
                Some(Field::Object(shape)) => shape,
                _ => &BARE,
            };
            let old = match old {
                Some(Value::Object(old)) => old,
                _ => Map::new(),
            };
            Ok(Value::Object(merge(old, change, shape)?))
        }
        (Value::Array(change), Some(Field::Keyed(key, shape))) => {
            keyed(&list(old), change, order, key, shape)
                .map(Value::Array)
                .map_err(|error| format!("{name}: {error}"))
        }
        (Value::Array(change), Some(Field::Set)) => {
            let before = list(old);
            let mut merged = before.clone();
            for item in change {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            Ok(Value::Array(match order {
                Some(order) => reorder(merged, array(order, name)?, &before, None),
                None => merged,
            }))
        }
        (plain, _) => Ok(plain.clone()),
    }
}

fn keyed(
    before: &[Value],
    change: &[Value],
    order: Option<&Value>,
    key: &str,
    shape: &Shape,
) -> Result<Vec<Value>, String> {
    let is_marker = |item: &Value| {
        item.as_object().is_some_and(|map| map.len() == 1) && item["$patch"] == "replace"
    };
    let mut merged = if change.iter().any(is_marker) {
        Vec::new()
    } else {
        before.to_vec()
    };
    for item in change.iter().filter(|item| !is_marker(item)) {
        let map = item
            .as_object()
            .ok_or_else(|| format!("{item} is not an object"))?;
        let identity = map
            .get(key)
            .ok_or_else(|| format!("{item} does not contain declared merge key: {key}"))?;
        let position = merged.iter().position(|old| old.get(key) == Some(identity));
        match (directive(map)?, position) {
            (Some("delete"), _) => merged.retain(|old| old.get(key) != Some(identity)),
            (_, Some(position)) => {
                let old = match merged[position].take() {
                    Value::Object(old) => old,
                    _ => Map::new(),
                };
                merged[position] = Value::Object(merge(old, map, shape)?);
            }
            (_, None) => merged.push(Value::Object(merge(Map::new(), map, shape)?)),
        }
    }
    Ok(match order {
        Some(order) => reorder(merged, array(order, key)?, before, Some(key)),
        None => merged,
    })
}

/// Items named by `order` come in its order; the others, which only the server knew, keep their place
/// relative to them where both stood in `before`.
fn reorder(items: Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) -> Vec<Value> {
    let identity = |item: &Value| {
        key.map_or_else(
            || item.clone(),
            |key| item.get(key).cloned().unwrap_or_default(),
        )
    };
    let place = |list: &[Value], item: &Value| {
        list.iter()
            .position(|other| identity(other) == identity(item))
    };
    let (mut named, others): (Vec<_>, Vec<_>) = items
        .into_iter()
        .partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut result = Vec::new();
    loop {
        let from_others = match (others.peek(), named.peek()) {
            (Some(other), Some(name)) => {
                matches!((place(before, other), place(before, name)), (Some(a), Some(b)) if a < b)
            }
            (other, _) => other.is_some(),
        };
        match if from_others {
            others.next()
        } else {
            named.next()
        } {
            Some(item) => result.push(item),
            None => return result,
        }
    }
}

/// An order for a list that the patch does not otherwise touch.
fn reorder_alone(
    object: &mut Map<String, Value>,
    name: &str,
    order: &Value,
    field: Option<Field>,
) -> Result<(), String> {
    let key = match field {
        Some(Field::Keyed(key, _)) => Some(key),
        Some(Field::Set) => None,
        _ => return Ok(()),
    };
    if let Some(Value::Array(items)) = object.get_mut(name) {
        let before = items.clone();
        *items = reorder(std::mem::take(items), array(order, name)?, &before, key);
    }
    Ok(())
}

fn remove_values(
    object: &mut Map<String, Value>,
    name: &str,
    values: &Value,
) -> Result<(), String> {
    let values = array(values, name)?;
    if let Some(Value::Array(items)) = object.get_mut(name) {
        items.retain(|item| !values.contains(item));
    }
    Ok(())
}

fn directive(patch: &Map<String, Value>) -> Result<Option<&str>, String> {
    match patch.get("$patch") {
        None => Ok(None),
        Some(Value::String(word)) if ["replace", "delete", "merge"].contains(&word.as_str()) => {
            Ok(Some(word))
        }
        Some(other) => Err(format!(
            "$patch is \"replace\", \"delete\" or \"merge\", not {other}"
        )),
    }
}

fn without_directive(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(key, _)| *key != "$patch")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn array<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], String> {
    value
        .as_array()
        .map(Vec::as_slice)
        .ok_or_else(|| format!("{name}: {value} is not a list"))
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(containers: &Value) -> Value {
        json!({ "spec": { "containers": containers } })
    }

    fn patched(object: Value, patch: &Value) -> Value {
        apply(object, patch, &POD).unwrap()
    }

    #[test]
    fn keyed_lists_merge_and_maps_merge() {
        let old = json!({
            "metadata": { "labels": { "a": "1", "b": "2" } },
            "spec": { "containers": [
                { "name": "x", "image": "x:1", "ports": [{ "containerPort": 80 }] },
                { "name": "y", "image": "y:1" },
            ] },
        });
        let patch = json!({
            "metadata": { "labels": { "a": null, "c": "3" } },
            "spec": { "containers": [{ "name": "x", "image": "x:2", "ports": [{ "containerPort": 81 }] }] },
        });
        let new = json!({
            "metadata": { "labels": { "b": "2", "c": "3" } },
            "spec": { "containers": [
                { "name": "x", "image": "x:2", "ports": [{ "containerPort": 80 }, { "containerPort": 81 }] },
                { "name": "y", "image": "y:1" },
            ] },
        });
        assert_eq!(patched(old, &patch), new);
    }

    #[test]
    fn unkeyed_lists_are_replaced() {
        let old = json!({ "spec": { "tolerations": [{ "key": "a" }], "containers": [{ "name": "x", "args": ["1"] }] } });
        let patch = json!({ "spec": { "tolerations": [{ "key": "b" }], "containers": [{ "name": "x", "args": ["2"] }] } });
        let new = json!({ "spec": { "tolerations": [{ "key": "b" }], "containers": [{ "name": "x", "args": ["2"] }] } });
        assert_eq!(patched(old, &patch), new);
    }

    #[test]
    fn directives_delete_and_replace() {
        let old = pod(&json!([{ "name": "x" }, { "name": "y" }]));
        let delete = pod(&json!([{ "name": "x", "$patch": "delete" }]));
        assert_eq!(
            patched(old.clone(), &delete),
            pod(&json!([{ "name": "y" }]))
        );
        let replace = pod(&json!([{ "name": "z" }, { "$patch": "replace" }]));
        assert_eq!(
            patched(old.clone(), &replace),
            pod(&json!([{ "name": "z" }]))
        );
        let map = json!({ "spec": { "$patch": "replace", "nodeName": "n" } });
        assert_eq!(
            patched(old.clone(), &map),
            json!({ "spec": { "nodeName": "n" } })
        );
        assert!(apply(old.clone(), &json!({ "spec": { "$patch": "burn" } }), &POD).is_err());
        assert!(apply(old, &pod(&json!([{ "image": "nameless" }])), &POD).is_err());
    }

    #[test]
    fn element_order_is_the_clients_with_the_servers_own_in_between() {
        let old = pod(&json!([{ "name": "a" }, { "name": "injected" }, { "name": "b" }]));
        let patch = json!({ "spec": {
            "$setElementOrder/containers": [{ "name": "b" }, { "name": "c" }, { "name": "a" }],
            "containers": [{ "name": "c" }],
        } });
        let expected = pod(
            &json!([{ "name": "injected" }, { "name": "b" }, { "name": "c" }, { "name": "a" }]),
        );
        assert_eq!(patched(old, &patch), expected);
    }

    #[test]
    fn sets_of_plain_values() {
        let old = json!({ "metadata": { "finalizers": ["a", "b"] } });
        let patch = json!({ "metadata": {
            "$deleteFromPrimitiveList/finalizers": ["a"],
            "$setElementOrder/finalizers": ["c", "b"],
            "finalizers": ["c"],
        } });
        assert_eq!(
            patched(old, &patch),
            json!({ "metadata": { "finalizers": ["c", "b"] } })
        );
    }

    #[test]
    fn retained_keys_and_new_objects_without_directives() {
        let old = json!({ "spec": { "volumes": [{ "name": "v", "emptyDir": {} }] } });
        let patch = json!({ "spec": { "volumes": [
            { "name": "v", "$retainKeys": ["name", "configMap"], "configMap": { "name": "c", "items": null } },
        ] } });
        let new = json!({ "spec": { "volumes": [{ "name": "v", "configMap": { "name": "c" } }] } });
        assert_eq!(patched(old, &patch), new);
    }
}
