//! Files stay under about 600 lines, functions under about 70.
//!
//! The hard limits are a little above the aim, so that a line more does not force a split in the
//! wrong place.

use std::path::Path;

use crate::{Findings, rust_files};

const FILE_LINES: usize = 700;
const FUNCTION_LINES: usize = 80;

pub fn check(root: &Path) -> Findings {
    let mut findings = Findings::new();
    for path in rust_files(root) {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        findings.extend(of_file(&name, &text));
    }
    findings
}

fn of_file(name: &str, text: &str) -> Findings {
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Findings::new();
    if lines.len() > FILE_LINES {
        findings.push(format!(
            "{name}: {} lines, the limit is {FILE_LINES}; what two things does it do?",
            lines.len()
        ));
    }
    for (number, line) in lines.iter().enumerate() {
        let Some(indent) = function_indent(line) else {
            continue;
        };
        let closing = format!("{}}}", " ".repeat(indent));
        let rest = &lines[number + 1..];
        let ends_itself = line.trim_end().ends_with([';', '}']);
        if ends_itself {
            continue;
        }
        let Some(length) = rest.iter().position(|line| **line == closing) else {
            continue;
        };
        if length > FUNCTION_LINES {
            findings.push(format!(
                "{name}:{}: a function of {length} lines, the limit is {FUNCTION_LINES}",
                number + 1
            ));
        }
    }
    findings
}

/// The indentation of a line that begins a function.
fn function_indent(line: &str) -> Option<usize> {
    let text = line.trim_start();
    let mut words = text.split_whitespace().skip_while(|word| {
        word.starts_with("pub")
            || matches!(*word, "async" | "const" | "unsafe" | "extern" | "\"C\"")
    });
    (words.next() == Some("fn")).then(|| line.len() - text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_functions_and_files_are_found() {
        let body = "    x();\n".repeat(FUNCTION_LINES + 1);
        let text =
            format!("pub(crate) async fn long() {{\n{body}}}\nfn short() {{\n    x();\n}}\n");
        let findings = of_file("a.rs", &text);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("a.rs:1: a function"));
        assert_eq!(of_file("a.rs", &"//\n".repeat(FILE_LINES + 1)).len(), 1);
    }
}
