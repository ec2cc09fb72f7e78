//! Mistakes in manifests, each with the line that it stands in.
//!
//! ```text
//! error: shop.yaml:12:15: NetworkPolicy shop/web: spec.ingress[0].ports[0].port: 70000: expected 1-65535
//!    12 |       - port: 70000
//!       |               ^
//! ```

use std::collections::BTreeMap;

use ocicat_api::world::FileProblem;
use ocicat_api::{Position, Severity};

use crate::{Source, paint};

/// More problems than these are counted, not printed.
const SHOWN: usize = 100;

/// Says once which kinds are of no use to us, and how many objects of each there are.
pub fn skipped(kinds: &BTreeMap<String, usize>) {
    if kinds.is_empty() {
        return;
    }
    let words: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    eprintln!(
        "{} skipped, of no use here: {}",
        paint::warning("note:"),
        words.join(", ")
    );
}

/// Prints problems to stderr, errors last so that they stay in sight. Returns how many errors there are.
#[must_use]
pub fn print(sources: &[Source], problems: &[FileProblem]) -> usize {
    let file = |problem: &FileProblem| {
        sources
            .iter()
            .position(|source| *source.name == *problem.file)
    };
    let mut problems: Vec<&FileProblem> = problems.iter().collect();
    problems.sort_by_key(|problem| (file(problem), problem.position));
    let (errors, warnings): (Vec<_>, Vec<_>) = problems
        .into_iter()
        .partition(|problem| problem.severity == Severity::Error);
    for problem in warnings.iter().take(SHOWN).chain(errors.iter().take(SHOWN)) {
        let word = match problem.severity {
            Severity::Warning => paint::warning("warning:"),
            Severity::Error => paint::error("error:"),
        };
        let source = file(problem).map(|index| &sources[index]);
        let line = source.and_then(|source| quote(&source.text, problem.position));
        eprintln!("{word} {problem}\n{}", line.unwrap_or_default());
    }
    for (kind, list) in [("warnings", &warnings), ("errors", &errors)] {
        if list.len() > SHOWN {
            eprintln!("… and {} more {kind}", list.len() - SHOWN);
        }
    }
    errors.len()
}

/// The line of a position with a caret under the column; nothing if there is no such line.
fn quote(text: &str, position: Position) -> Option<String> {
    const WIDEST: usize = 160;
    let line = text.lines().nth(position.line.checked_sub(1)?)?;
    let before = position.column.saturating_sub(1);
    // Of a long line, as a JSON file may be, only what is around the place.
    let start = if before < WIDEST {
        0
    } else {
        before - WIDEST / 2
    };
    let shown: String = line.chars().skip(start).take(WIDEST).collect();
    let shown = shown.trim_end();
    // A tab stays a tab, so that the caret stands right whatever a tab is wide.
    let indent: String = line
        .chars()
        .skip(start)
        .chain(std::iter::repeat(' '))
        .take(before - start)
        .map(|char| if char == '\t' { '\t' } else { ' ' })
        .collect();
    let number = position.line.to_string();
    let blank = " ".repeat(number.len());
    Some(format!(
        "  {number} | {shown}\n  {blank} | {indent}{}\n",
        paint::error("^")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_column() {
        let at = |line, column| quote("a:\n\t- b: 70000\n", Position { line, column });
        assert_eq!(at(2, 7).unwrap(), "  2 | \t- b: 70000\n    | \t     ^\n");
        assert_eq!(at(1, 9).unwrap(), "  1 | a:\n    |         ^\n");
        assert_eq!(at(9, 1), None);
        assert_eq!(at(0, 1), None);
    }

    #[test]
    fn of_a_long_line_the_surroundings_are_shown() {
        let text = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let quoted = quote(
            &text,
            Position {
                line: 1,
                column: 5001,
            },
        )
        .unwrap();
        let lines: Vec<&str> = quoted.lines().collect();
        assert_eq!(lines[0].find('X'), lines[1].find('^'));
        assert!(lines[0].len() < 200);
    }
}
