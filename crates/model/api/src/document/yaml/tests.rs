use std::fmt::Write;

use serde_json::json;

use super::super::{Document, SyntaxError, parse};
use crate::Position;

fn at(line: usize, column: usize) -> Position {
    Position { line, column }
}

fn one(text: &str) -> Document {
    let mut documents = parse(text).unwrap();
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

fn failure(text: &str) -> SyntaxError {
    parse(text).unwrap_err()
}

const POLICY: &str = r#"# a comment
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: web
  labels:
    app.kubernetes.io/name: web
spec:
  ingress:
  - action: Allow
    source:
      nets: [10.0.0.0/8, "10.0.0.0/33"]
      selector: app ==
  - action: Deny
"#;

#[test]
fn places_of_fields() {
    let document = one(POLICY);
    for (field, expected) in [
        ("", at(2, 1)),
        ("kind", at(3, 7)),
        ("metadata", at(4, 1)),
        ("metadata.name", at(5, 9)),
        ("metadata.labels[app.kubernetes.io/name]", at(7, 29)),
        ("spec.ingress[0].source.nets[1]", at(12, 26)),
        ("spec.ingress[0].source.nets", at(12, 7)),
        ("spec.ingress[0].source.selector", at(13, 17)),
        ("spec.ingress[1]", at(14, 5)),
        ("spec.ingress[1].action", at(14, 13)),
        // Not there: the nearest around it.
        ("spec.ingress[1].protocol", at(14, 5)),
        ("spec.ingress[7].protocol", at(9, 3)),
        ("spec.tier", at(8, 1)),
        ("status", at(2, 1)),
    ] {
        assert_eq!(document.position_of(field), expected, "{field}");
    }
}

#[test]
fn several_documents() {
    let documents = parse("---\na: 1\n---\n# nothing\n---\n\nb: 2\n...\n---\nnull\n").unwrap();
    assert_eq!(documents.len(), 2);
    assert_eq!(documents[1].value, json!({"b": 2}));
    assert_eq!(documents[1].position_of("b"), at(7, 4));
    assert!(parse("").unwrap().is_empty());
    assert!(parse("# only a comment\n").unwrap().is_empty());
}

#[test]
fn quoted_scalars_stay_text() {
    let document = one("a: '1'\nb: \"true\"\nc: |\n  8\nd: >-\n  null\ne: !!str 5\nf: !!int 5\n");
    assert_eq!(
        document.value,
        json!({"a": "1", "b": "true", "c": "8\n", "d": "null", "e": "5", "f": 5})
    );
}

#[test]
fn keys_are_text() {
    assert_eq!(
        one("1: a\ntrue: b\n'': c\n").value,
        json!({"1": "a", "true": "b", "": "c"})
    );
    assert!(
        failure("? [a]\n: b\n")
            .message
            .contains("expected a text as key")
    );
    assert!(failure(": b\n").message.contains("key"));
}

#[test]
fn anchors_and_merges() {
    let text = "\
base: &base
  app: web
  tier: front
copy: *base
more:
  <<: *base
  tier: back
both:
  <<: [*base, {tier: x, zone: y}]
";
    let document = one(text);
    assert_eq!(
        document.value["copy"],
        json!({"app": "web", "tier": "front"})
    );
    assert_eq!(
        document.value["more"],
        json!({"app": "web", "tier": "back"})
    );
    assert_eq!(
        document.value["both"],
        json!({"app": "web", "tier": "front", "zone": "y"})
    );
    assert_eq!(document.position_of("copy"), at(4, 1));
    assert_eq!(document.position_of("copy.tier"), at(3, 9));
    assert_eq!(document.position_of("more.tier"), at(7, 9));
    assert_eq!(document.position_of("more.app"), at(2, 8));
    assert_eq!(document.position_of("both.zone"), at(9, 31));
}

#[test]
fn errors_say_where_and_what() {
    for (text, position, part) in [
        (
            "a: 1\nb: 2\na: 3\n",
            at(3, 1),
            "duplicate key \"a\", first on line 1",
        ),
        ("{a: 1, a: 2}", at(1, 8), "duplicate key"),
        ("a:\n\tb: 1\n", at(2, 1), "expected spaces"),
        ("a: b: c\n", at(1, 5), "not YAML"),
        ("a: [1, 2\n", at(2, 1), "not YAML"),
        ("a: .inf\n", at(1, 4), "finite"),
        ("a: !foo 1\n", at(1, 4), "tag"),
        ("a: *b\n", at(1, 4), "anchor"),
    ] {
        let error = failure(text);
        assert_eq!(error.position, position, "{text}: {}", error.message);
        assert!(error.message.contains(part), "{text}: {}", error.message);
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |n: usize| format!("a: {}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(&nested(90)).is_ok());
    assert!(parse(&nested(101)).is_err());
    assert!(parse(&nested(100_000)).is_err());
    let json = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
    assert!(parse(&json(90)).is_ok());
    assert!(parse(&json(100_000)).is_err());
}

#[test]
fn aliases_are_bounded() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{items}]").unwrap();
    }
    assert!(
        failure(&text)
            .message
            .contains("aliases stand for too much")
    );
    assert!(failure("a: &x [*x]\n").message.contains("alias"));
    // Each alias doubles the depth.
    let mut text = format!("a0: &a0 {}{}\n", "[".repeat(30), "]".repeat(30));
    for level in 1..8 {
        let inner = format!("{}*a{}{}", "[".repeat(30), level - 1, " ]".repeat(30));
        writeln!(text, "a{level}: &a{level} {inner}").unwrap();
    }
    assert!(failure(&text).message.contains("nested too deep"));
}
