//! The canonical text of a selector.
//!
//! One space around operators, sets sorted and without duplicates, strings in double quotes unless
//! they contain one, parentheses only where precedence needs them.

use std::fmt;

use crate::Selector;

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all()"),
            Self::Global => f.write_str("global()"),
            Self::Has(label) => write!(f, "has({label})"),
            Self::Equal(label, value) => write!(f, "{label} == {}", Quoted(value)),
            Self::NotEqual(label, value) => write!(f, "{label} != {}", Quoted(value)),
            Self::In(label, values) => {
                write!(f, "{label} in ")?;
                write_set(f, values)
            }
            Self::NotIn(label, values) => {
                write!(f, "{label} not in ")?;
                write_set(f, values)
            }
            Self::Contains(label, value) => write!(f, "{label} contains {}", Quoted(value)),
            Self::StartsWith(label, value) => write!(f, "{label} starts with {}", Quoted(value)),
            Self::EndsWith(label, value) => write!(f, "{label} ends with {}", Quoted(value)),
            Self::Not(inner) => {
                f.write_str("!")?;
                write_operand(f, inner, matches!(**inner, Self::And(_) | Self::Or(_)))
            }
            Self::And(parts) if parts.is_empty() => f.write_str("all()"),
            Self::Or(parts) if parts.is_empty() => f.write_str("!all()"),
            Self::And(parts) => write_joined(f, parts, " && "),
            Self::Or(parts) => write_joined(f, parts, " || "),
        }
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, parts: &[Selector], operator: &str) -> fmt::Result {
    let conjunction = operator == " && ";
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(operator)?;
        }
        write_operand(f, part, conjunction && matches!(part, Selector::Or(_)))?;
    }
    Ok(())
}

fn write_operand(f: &mut fmt::Formatter<'_>, part: &Selector, enclosed: bool) -> fmt::Result {
    if enclosed {
        write!(f, "({part})")
    } else {
        write!(f, "{part}")
    }
}

fn write_set(
    f: &mut fmt::Formatter<'_>,
    values: &std::collections::BTreeSet<std::sync::Arc<str>>,
) -> fmt::Result {
    if values.is_empty() {
        return f.write_str("{}");
    }
    for (index, value) in values.iter().enumerate() {
        f.write_str(if index == 0 { "{ " } else { ", " })?;
        write!(f, "{}", Quoted(value))?;
    }
    f.write_str(" }")
}

/// A string as the language writes it. There are no escapes, so a value that holds both kinds of
/// quotes has no text; no parsed selector and no valid label has one.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('"') { '\'' } else { '"' };
        write!(f, "{quote}{}{quote}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::Selector;

    fn canonical(text: &str) -> String {
        Selector::parse(text).unwrap().to_string()
    }

    #[test]
    fn canonical_texts() {
        for (text, expected) in [
            ("", "all()"),
            ("  \t ", "all()"),
            ("all( )", "all()"),
            ("has( a )", "has(a)"),
            ("a=='b'", r#"a == "b""#),
            (r#"a == 'say "x"'"#, r#"a == 'say "x"'"#),
            ("a notin {'z','b', 'b',}", r#"a not in { "b", "z" }"#),
            ("a in{}", "a in {}"),
            ("a startswith 'b'", r#"a starts with "b""#),
            ("a endswith'b'", r#"a ends with "b""#),
            ("((a == 'b'))", r#"a == "b""#),
            (
                "(has(a) || has(b)) && has(c)",
                "(has(a) || has(b)) && has(c)",
            ),
            ("(has(a) && has(b)) || has(c)", "has(a) && has(b) || has(c)"),
            ("has(a) && (has(b) && has(c))", "has(a) && has(b) && has(c)"),
            ("! (has(a)&&has(b))", "!(has(a) && has(b))"),
            ("!!has(a)", "!!has(a)"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn canonical_text_is_a_fixed_point() {
        let once = canonical("!(a == 'x' || b not in {'c'} && !has(d)) || global()");
        assert_eq!(canonical(&once), once);
    }
}
