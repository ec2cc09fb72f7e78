//! Values as YAML in block style.

use serde_json::Value;

/// Maps are sorted by key, except that `apiVersion`, `kind` and `metadata` come before `spec` by
/// their letters anyway.
pub fn print(value: &Value) -> String {
    let mut text = String::new();
    block(&mut text, value, 0);
    text
}

fn block(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                pad(text, indent);
                text.push_str(&scalar_text(key));
                text.push(':');
                child(text, value, indent + 2);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for item in list {
                pad(text, indent);
                text.push('-');
                // The first key of a map stands beside the dash.
                let mut inner = String::new();
                child(&mut inner, item, indent + 2);
                match inner.strip_prefix('\n') {
                    Some(lines) => {
                        text.push(' ');
                        text.push_str(lines.trim_start_matches(' '));
                    }
                    None => text.push_str(&inner),
                }
            }
        }
        flow => {
            pad(text, indent);
            text.push_str(&flow_text(flow));
            text.push('\n');
        }
    }
}

/// What follows a key or a dash: a scalar on its line, or a block on the next ones.
fn child(text: &mut String, value: &Value, indent: usize) {
    let is_block = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    };
    if is_block {
        text.push('\n');
        block(text, value, indent);
    } else {
        text.push(' ');
        text.push_str(&flow_text(value));
        text.push('\n');
    }
}

fn flow_text(value: &Value) -> String {
    match value {
        Value::String(string) => scalar_text(string),
        // `null`, booleans, numbers, `{}` and `[]` are the same in JSON.
        other => other.to_string(),
    }
}

/// Bare where nothing but a string can be meant, else quoted as in JSON.
fn scalar_text(string: &str) -> String {
    let mut bytes = string.bytes();
    let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let goes_on_well = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte));
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_word = words.iter().any(|word| string.eq_ignore_ascii_case(word));
    if starts_well && goes_on_well && !is_word {
        string.to_owned()
    } else {
        Value::String(string.to_owned()).to_string()
    }
}

fn pad(text: &mut String, indent: usize) {
    text.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn blocks() {
        let value = json!({
            "kind": "Pod",
            "list": [{"a": 1, "b": ["x", "no"]}, "10", [], {}, [[1], 2]],
            "map": {"has space": true, "empty": {}},
        });
        let expected = "\
kind: Pod
list:
  - a: 1
    b:
      - x
      - \"no\"
  - \"10\"
  - []
  - {}
  - - - 1
    - 2
map:
  empty: {}
  \"has space\": true
";
        assert_eq!(super::print(&value), expected);
    }
}
