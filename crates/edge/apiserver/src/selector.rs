//! Label and field selectors of list and watch requests, in the language of Kubernetes (not Calico's).
//!
//! ```text
//!   labels:  a=b, c==d, e!=f, g in (h,i), j notin (k), l, !m, n>1, o<2      all must hold
//!   fields:  metadata.name=x, metadata.namespace!=y, and for pods spec.nodeName and status.phase
//! ```

use crate::failure::Failure;
use crate::object::{Object, label_key, label_value};
use crate::registry::Resource;

/// What a list or watch shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    labels: Vec<Requirement>,
    fields: Vec<FieldTest>,
}

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

#[derive(Clone, Debug, PartialEq)]
struct FieldTest {
    pointer: String,
    value: String,
    equal: bool,
}

impl Filter {
    /// Reads the two selectors of a request.
    pub(crate) fn parse(labels: &str, fields: &str, resource: &Resource) -> Result<Self, Failure> {
        let bad = |what: &str, text: &str, why: String| {
            Failure::bad_request(format!("unable to parse {what} selector {text:?}: {why}"))
        };
        let mut filter = Self::default();
        for part in split(labels) {
            filter
                .labels
                .push(requirement(part.trim()).map_err(|why| bad("label", labels, why))?);
        }
        for part in fields.split(',').filter(|part| !part.trim().is_empty()) {
            filter
                .fields
                .push(field(part.trim(), resource).map_err(|why| bad("field", fields, why))?);
        }
        Ok(filter)
    }

    /// Whether it shows everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The only name that can be shown, if there is one.
    pub(crate) fn only_name(&self) -> Option<&str> {
        self.fields
            .iter()
            .find(|test| test.equal && test.pointer == "/metadata/name")
            .map(|test| test.value.as_str())
    }

    /// Whether it shows this object.
    pub(crate) fn shows(&self, object: &Object) -> bool {
        self.labels
            .iter()
            .all(|requirement| requirement.holds(object))
            && self.fields.iter().all(|test| {
                let value = object
                    .pointer(&test.pointer)
                    .and_then(|value| value.as_str())
                    .unwrap_or("");
                (value == test.value) == test.equal
            })
    }
}

impl Requirement {
    fn holds(&self, object: &Object) -> bool {
        let value = object
            .labels()
            .and_then(|labels| labels.get(&self.key))
            .and_then(|value| value.as_str());
        let contains =
            |list: &[String]| value.is_some_and(|value| list.iter().any(|item| item == value));
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::In(list) => contains(list),
            Test::NotIn(list) => !contains(list),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Greater(bound) => number().is_some_and(|number| number > *bound),
            Test::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

/// Splits at the commas that are not inside parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.split(move |character| {
        match character {
            '(' => inside = true,
            ')' => inside = false,
            _ => {}
        }
        character == ',' && !inside
    })
    .filter(|part| !part.trim().is_empty())
}

fn requirement(text: &str) -> Result<Requirement, String> {
    if let Some(key) = text.strip_prefix('!') {
        return build(key, Test::Absent);
    }
    if let Some((left, list)) = text.split_once('(') {
        let list = list
            .trim_end()
            .strip_suffix(')')
            .ok_or("expected ')' at the end of the set")?;
        let values = list
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let (key, word) = left
            .trim()
            .rsplit_once(char::is_whitespace)
            .ok_or("expected 'in' or 'notin' before '('")?;
        return match word {
            "in" => build(key, Test::In(values)),
            "notin" => build(key, Test::NotIn(values)),
            other => Err(format!(
                "expected 'in' or 'notin' before '(', not {other:?}"
            )),
        };
    }
    let Some(at) = text.find(['=', '!', '>', '<']) else {
        return build(text, Test::Exists);
    };
    let (key, rest) = text.split_at(at);
    let number = |text: &str| {
        text.trim()
            .parse()
            .map_err(|_| format!("{:?} is not an integer", text.trim()))
    };
    if let Some(value) = rest.strip_prefix("!=") {
        build(key, Test::NotIn(vec![value.trim().to_owned()]))
    } else if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        build(key, Test::In(vec![value.trim().to_owned()]))
    } else if let Some(value) = rest.strip_prefix('>') {
        build(key, Test::Greater(number(value)?))
    } else if let Some(value) = rest.strip_prefix('<') {
        build(key, Test::Less(number(value)?))
    } else {
        Err("expected '!=' after the key".to_owned())
    }
}

fn build(key: &str, test: Test) -> Result<Requirement, String> {
    let key = key.trim();
    label_key(key).map_err(|why| format!("{key:?}: {why}"))?;
    if let Test::In(values) | Test::NotIn(values) = &test {
        for value in values {
            label_value(value).map_err(|why| format!("{value:?}: {why}"))?;
        }
    }
    Ok(Requirement {
        key: key.to_owned(),
        test,
    })
}

fn field(text: &str, resource: &Resource) -> Result<FieldTest, String> {
    let (name, value, equal) = if let Some((name, value)) = text.split_once("!=") {
        (name, value, false)
    } else if let Some((name, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (name, value, true)
    } else {
        return Err(format!("{text:?} has no '=', '==' or '!='"));
    };
    let known = match name {
        "metadata.name" => true,
        "metadata.namespace" => resource.namespaced,
        "spec.nodeName" | "status.phase" | "status.podIP" => resource.kind == "Pod",
        _ => false,
    };
    if !known {
        return Err(format!("field label not supported: {name}"));
    }
    Ok(FieldTest {
        pointer: format!("/{}", name.replace('.', "/")),
        value: value.to_owned(),
        equal,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry;

    fn pod() -> Object {
        let object = json!({
            "metadata": { "name": "p", "namespace": "n", "labels": { "app": "web", "n": "5", "e": "" } },
            "spec": { "nodeName": "host" },
        });
        Object::parse(object, registry::find("", "v1", "pods").unwrap()).unwrap()
    }

    fn shows(labels: &str, fields: &str) -> Result<bool, String> {
        let resource = registry::RESOURCES
            .iter()
            .find(|resource| resource.kind == "Pod");
        let filter = Filter::parse(labels, fields, resource.ok_or("no pods")?)
            .map_err(|failure| failure.status()["message"].to_string())?;
        Ok(filter.shows(&pod()))
    }

    #[test]
    fn label_selectors() {
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,n", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("other notin (db)", true),
            ("!app", false),
            ("!other,app", true),
            ("e=", true),
            ("n>4,n<6", true),
            ("n>5", false),
            ("app>1", false),
            ("app in (web),n notin (6)", true),
        ] {
            assert_eq!(shows(selector, ""), Ok(expected), "{selector}");
        }
        for broken in [
            "a b",
            "app in web",
            "app in (web",
            "=x",
            "a!b",
            "n>x",
            "app=a b",
            "app like (x)",
        ] {
            assert!(shows(broken, "").is_err(), "{broken}");
        }
    }

    #[test]
    fn field_selectors() {
        assert_eq!(shows("", "metadata.name=p,spec.nodeName!=other"), Ok(true));
        assert_eq!(shows("", "metadata.name==q"), Ok(false));
        assert_eq!(shows("", "status.phase="), Ok(true));
        assert!(
            shows("", "spec.restartPolicy=Always")
                .unwrap_err()
                .contains("not supported")
        );
        assert!(shows("", "metadata.name").is_err());
    }
}
