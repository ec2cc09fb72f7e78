//! Merge patches (RFC 7396) from three versions of an object.

use serde_json::{Map, Value};

/// The patch that brings `current` to what `wanted` says: sets what differs, and removes what
/// `last` had and `wanted` lacks. `None` if there is nothing to do.
pub(crate) fn three_way(last: &Value, wanted: &Value, current: &Value) -> Option<Value> {
    let patch = objects(last, wanted, current);
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn objects(last: &Value, wanted: &Value, current: &Value) -> Map<String, Value> {
    let empty = Map::new();
    let wanted = wanted.as_object().unwrap_or(&empty);
    let mut patch = Map::new();
    for (name, value) in wanted {
        let (last, current) = (&last[name.as_str()], &current[name.as_str()]);
        match (value, current) {
            (Value::Object(_), Value::Object(_)) => {
                let inner = objects(last, value, current);
                if !inner.is_empty() {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            (value, current) if value == current => {}
            (value, _) => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    for name in last.as_object().unwrap_or(&empty).keys() {
        if !wanted.contains_key(name) && current.get(name).is_some() {
            patch.insert(name.clone(), Value::Null);
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// RFC 7396, section 2.
    fn patched(target: &Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else {
            return patch.clone();
        };
        let mut target = target.as_object().cloned().unwrap_or_default();
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                let old = target.get(name).cloned().unwrap_or(Value::Null);
                target.insert(name.clone(), patched(&old, value));
            }
        }
        Value::Object(target)
    }

    #[test]
    fn removes_what_was_applied_and_keeps_what_others_set() {
        let last = json!({"a": 1, "b": {"x": 1, "y": 2}});
        let wanted = json!({"b": {"x": 3}});
        let current = json!({"a": 1, "b": {"x": 1, "y": 2, "z": 9}, "other": true});
        let patch = three_way(&last, &wanted, &current).unwrap();
        assert_eq!(patch, json!({"a": null, "b": {"x": 3, "y": null}}));
        assert_eq!(
            patched(&current, &patch),
            json!({"b": {"x": 3, "z": 9}, "other": true})
        );
        assert_eq!(
            three_way(&wanted, &wanted, &patched(&current, &patch)),
            None
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..3_i32).prop_map(Value::from),
            prop::collection::vec(0..3_i32, 0..3).prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        })
    }

    proptest! {
        /// Applying over what was applied last gives exactly what is wanted, and a second
        /// application has nothing to do.
        #[test]
        fn applying_gives_what_is_wanted(last in value(), wanted in value()) {
            prop_assume!(last.is_object() && wanted.is_object());
            let after = match three_way(&last, &wanted, &last) {
                Some(patch) => patched(&last, &patch),
                None => last.clone(),
            };
            prop_assert_eq!(&after, &wanted);
            prop_assert_eq!(three_way(&wanted, &wanted, &after), None);
        }
    }
}
