//! Where and why a text is not a selector.

use std::fmt;

/// Where and why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The text as given.
    pub text: String,
    /// Column of the first character that cannot stand there, from 1, in characters. One past the
    /// last where the text ends too early.
    pub column: usize,
    /// What would have been right there: `a label name`, `'}' or ','`.
    pub expected: String,
}

/// Characters of the text shown on either side of the place.
const CONTEXT: usize = 36;

impl ParseError {
    /// One line: `column 5: expected '=='`.
    #[must_use]
    pub fn summary(&self) -> String {
        format!("column {}: expected {}", self.column, self.expected)
    }
}

/// Three lines: the summary, the text around the place, and a caret under the place.
impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.column - 1;
        let first = at.saturating_sub(CONTEXT);
        let shown = self.text.chars().skip(first).take(2 * CONTEXT);
        let more = self.text.chars().nth(first + 2 * CONTEXT).is_some();
        let lead = if first > 0 { "…" } else { "" };
        let tail = if more { "…" } else { "" };
        writeln!(f, "column {}: expected {}", self.column, self.expected)?;
        // One cell for each character: a line break or tab would move the caret.
        let shown: String = shown
            .map(|c| if c.is_control() { '␣' } else { c })
            .collect();
        writeln!(f, "    {lead}{shown}{tail}")?;
        let indent = at - first + lead.chars().count();
        write!(f, "    {:indent$}^", "")
    }
}

impl std::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use crate::Selector;

    #[test]
    fn a_caret_stands_under_the_place() {
        let error = Selector::parse("app == 'a' && tier = 'b'").unwrap_err();
        assert_eq!(
            error.to_string(),
            "column 20: expected '=='\n    app == 'a' && tier = 'b'\n                       ^"
        );
    }

    #[test]
    fn long_texts_are_shown_in_part() {
        let text = format!("{} && ?", vec!["has(a)"; 40].join(" && "));
        let shown = Selector::parse(&text).unwrap_err().to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].chars().count() < 90);
        let caret = lines[2].chars().count() - 1;
        assert_eq!(lines[1].chars().nth(caret), Some('?'));
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        let error = Selector::parse("a == 'ü' ü").unwrap_err();
        assert_eq!(error.column, 10);
    }
}
