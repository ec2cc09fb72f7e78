//! Text to tree, by recursive descent of bounded depth.
//!
//! ```text
//! selector   = [ or ] ;
//! or         = and , { "||" , and } ;
//! and        = unary , { "&&" , unary } ;
//! unary      = { "!" } , ( "has(" label ")" | "all()" | "global()" | comparison | "(" or ")" ) ;
//! comparison = label ( "==" | "!=" | "contains" | "starts with" | "ends with" ) string
//!            | label ( "in" | "not in" ) set ;
//! set        = "{" [ string { "," string } [ "," ] ] "}" ;
//! string     = '"' no-double-quote '"' | "'" no-single-quote "'" ;
//! label      = 1..512 of A-Z a-z 0-9 _ . / - ;
//! ```
//!
//! Space and tab may stand between tokens; `has(`, `all(` and `global(` are one token each.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{ParseError, Selector};

/// How many parentheses and `!` may enclose a comparison.
pub const DEPTH_LIMIT: usize = 100;

/// Longest label name, in characters.
const LABEL_LIMIT: usize = 512;

/// What may follow a label.
const OPERATORS: &str =
    "'==', '!=', 'in', 'not in', 'contains', 'starts with' or 'ends with' after the label";

/// What may begin an operand.
const OPERAND: &str = "a label name, 'has(', 'all()', 'global()', '!' or '('";

pub(crate) fn parse(text: &str) -> Result<Selector, ParseError> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    parser.skip_blank();
    if parser.rest().is_empty() {
        return Ok(Selector::All);
    }
    let selector = parser.or()?;
    if parser.rest().is_empty() {
        Ok(selector)
    } else {
        Err(parser.expected("'&&', '||' or the end"))
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Byte offset of what is read next; always at a character's start.
    at: usize,
    /// Parentheses and `!` around the place.
    depth: usize,
}

impl<'a> Parser<'a> {
    fn or(&mut self) -> Result<Selector, ParseError> {
        let mut parts = vec![self.and()?];
        while self.take("||") {
            parts.push(self.and()?);
        }
        Ok(Selector::or(parts))
    }

    fn and(&mut self) -> Result<Selector, ParseError> {
        let mut parts = vec![self.unary()?];
        while self.take("&&") {
            parts.push(self.unary()?);
        }
        Ok(Selector::and(parts))
    }

    fn unary(&mut self) -> Result<Selector, ParseError> {
        if self.rest().starts_with('!') {
            self.enter()?;
            self.take("!");
            let inner = self.unary()?;
            self.depth -= 1;
            Ok(Selector::negate(inner))
        } else if self.rest().starts_with('(') {
            self.enter()?;
            self.take("(");
            let inner = self.or()?;
            self.depth -= 1;
            self.require(")", "'&&', '||' or ')'")?;
            Ok(inner)
        } else if self.take("has(") {
            let label = self.label("a label name")?;
            self.require(")", "')'")?;
            Ok(Selector::Has(label))
        } else if self.take("all(") {
            self.require(")", "')'")?;
            Ok(Selector::All)
        } else if self.take("global(") {
            self.require(")", "')'")?;
            Ok(Selector::Global)
        } else {
            self.comparison()
        }
    }

    fn comparison(&mut self) -> Result<Selector, ParseError> {
        let label = self.label(OPERAND)?;
        if self.take("==") {
            Ok(Selector::Equal(label, self.string()?))
        } else if self.take("!=") {
            Ok(Selector::NotEqual(label, self.string()?))
        } else if self.take("contains") {
            Ok(Selector::Contains(label, self.string()?))
        } else if self.take_words("starts", "with") {
            Ok(Selector::StartsWith(label, self.string()?))
        } else if self.take_words("ends", "with") {
            Ok(Selector::EndsWith(label, self.string()?))
        } else if self.take_words("not", "in") {
            Ok(Selector::NotIn(label, self.set()?))
        } else if self.take("in") {
            Ok(Selector::In(label, self.set()?))
        } else if self.rest().starts_with('=') {
            Err(self.expected("'=='"))
        } else {
            Err(self.expected(OPERATORS))
        }
    }

    fn set(&mut self) -> Result<BTreeSet<Arc<str>>, ParseError> {
        self.require("{", "'{'")?;
        let mut values = BTreeSet::new();
        loop {
            if self.take("}") {
                return Ok(values);
            }
            if !self.rest().starts_with(['"', '\'']) {
                return Err(self.expected("a string in quotes or '}'"));
            }
            values.insert(self.string()?);
            if !self.take(",") {
                self.require("}", "',' or '}'")?;
                return Ok(values);
            }
        }
    }

    fn string(&mut self) -> Result<Arc<str>, ParseError> {
        let Some(quote @ ('"' | '\'')) = self.rest().chars().next() else {
            return Err(self.expected("a string in quotes"));
        };
        let inner = &self.rest()[1..];
        let Some(length) = inner.find(quote) else {
            self.at = self.text.len();
            return Err(self.expected(&format!("{quote} at the end of the string")));
        };
        self.advance(length + 2);
        Ok(inner[..length].into())
    }

    fn label(&mut self, expected: &str) -> Result<Arc<str>, ParseError> {
        let rest = self.rest();
        let length = rest.bytes().take_while(|byte| is_label_byte(*byte)).count();
        if length == 0 {
            return Err(self.expected(expected));
        }
        if length > LABEL_LIMIT {
            self.at += LABEL_LIMIT;
            return Err(self.expected("the end of the label name: it has at most 512 characters"));
        }
        self.advance(length);
        Ok(rest[..length].into())
    }

    /// One level deeper; the bound keeps hostile texts from exhausting the stack.
    fn enter(&mut self) -> Result<(), ParseError> {
        if self.depth == DEPTH_LIMIT {
            return Err(self.expected("at most 100 levels of parentheses and '!'"));
        }
        self.depth += 1;
        Ok(())
    }

    fn require(&mut self, token: &str, expected: &str) -> Result<(), ParseError> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.expected(expected))
        }
    }

    /// Reads the token, and the blanks after it, if it is next.
    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.advance(token.len());
        }
        found
    }

    /// Reads two words that may or may not have blanks between them.
    fn take_words(&mut self, first: &str, second: &str) -> bool {
        let start = self.at;
        if self.take(first) && self.take(second) {
            return true;
        }
        self.at = start;
        false
    }

    fn advance(&mut self, length: usize) {
        self.at += length;
        self.skip_blank();
    }

    fn skip_blank(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn expected(&self, expected: &str) -> ParseError {
        ParseError {
            text: self.text.to_owned(),
            column: self.text[..self.at].chars().count() + 1,
            expected: expected.to_owned(),
        }
    }
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(label: &str) -> Selector {
        Selector::has(label)
    }

    #[test]
    fn precedence_is_comparison_not_and_or() {
        let parsed = |text| Selector::parse(text).unwrap();
        assert_eq!(
            parsed("!a == 'b'"),
            Selector::negate(Selector::equal("a", "b"))
        );
        assert_eq!(
            parsed("has(a) || has(b) && !has(c)"),
            Selector::Or(vec![
                has("a"),
                Selector::And(vec![has("b"), Selector::negate(has("c"))])
            ])
        );
        assert_eq!(
            parsed("!(has(a) || has(b)) && has(c)"),
            Selector::And(vec![
                Selector::negate(Selector::Or(vec![has("a"), has("b")])),
                has("c")
            ])
        );
    }

    #[test]
    fn words_are_operators_only_after_a_label() {
        for label in [
            "in",
            "not",
            "all",
            "has",
            "global",
            "contains",
            "starts",
            "notin",
            "a/b.c-d_9",
        ] {
            let text = format!("{label} == 'x'");
            assert_eq!(Selector::parse(&text), Ok(Selector::equal(label, "x")));
            let text = format!("{label} not\tin {{}}");
            assert_eq!(
                Selector::parse(&text),
                Ok(Selector::NotIn(label.into(), BTreeSet::new()))
            );
        }
    }

    #[test]
    fn errors_name_the_column_and_what_was_expected() {
        for (text, column, expected) in [
            ("a", 2, "'=='"),
            ("a =", 3, "'=='"),
            ("a == b", 6, "a string in quotes"),
            ("a == 'b", 8, "' at the end of the string"),
            ("a == 'b' c", 10, "'&&', '||' or the end"),
            ("a == 'b' &", 10, "'&&', '||' or the end"),
            ("a == 'b' &&", 12, "a label name"),
            ("a in 'b'", 6, "'{'"),
            ("a in {'b' 'c'}", 11, "',' or '}'"),
            ("a in {,}", 7, "a string in quotes or '}'"),
            ("a in {'b',,}", 11, "a string in quotes or '}'"),
            ("a in {b}", 7, "a string in quotes or '}'"),
            ("has (a)", 5, "'=='"),
            ("has()", 5, "a label name"),
            ("has(a", 6, "')'"),
            ("all(x)", 5, "')'"),
            ("(a == 'b'", 10, "')'"),
            ("a == 'b')", 9, "the end"),
            ("!", 2, "a label name"),
            ("\na == 'b'", 1, "a label name"),
            ("a ==\n'b'", 5, "a string in quotes"),
            ("a starts 'b'", 3, "'starts with'"),
            ("a & b", 3, "'=='"),
            ("$", 1, "a label name"),
        ] {
            let error = Selector::parse(text).unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.expected.contains(expected), "{text}: {error}");
            assert_eq!(error.text, text);
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| format!("{}has(a){}", "(".repeat(n), ")".repeat(n));
        assert_eq!(Selector::parse(&nested(DEPTH_LIMIT)), Ok(has("a")));
        let error = Selector::parse(&nested(DEPTH_LIMIT + 1)).unwrap_err();
        assert_eq!(error.column, DEPTH_LIMIT + 1);
        assert!(Selector::parse(&nested(1_000_000)).is_err());
        assert!(Selector::parse(&format!("{}has(a)", "!".repeat(DEPTH_LIMIT))).is_ok());
        assert!(Selector::parse(&"!".repeat(1_000_000)).is_err());
        // Depth is of nesting, not of length.
        let wide = vec!["(has(a) || has(b))"; 500].join(" && ");
        assert!(Selector::parse(&wide).is_ok());
    }

    #[test]
    fn label_names_have_at_most_512_characters() {
        assert!(Selector::parse(&format!("has({})", "a".repeat(512))).is_ok());
        let error = Selector::parse(&format!("has({})", "a".repeat(513))).unwrap_err();
        assert_eq!(error.column, 517);
    }
}
