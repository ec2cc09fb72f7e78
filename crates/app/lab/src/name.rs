//! The name of a lab.

use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes.
const LONGEST: usize = 30;

/// Parts that would let the namespaces of two labs be mistaken for each other.
const RESERVED: [&str; 3] = ["h", "w", "wire"];

/// The name of a lab: 1–30 lower-case letters, digits and `-`, beginning and ending with a letter or
/// digit. The words `h`, `w` and `wire` between dashes are taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabName(String);

impl LabName {
    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LabName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > LONGEST {
            return Err(format!("expected 1–{LONGEST} characters"));
        }
        if let Some(c) = text.chars().find(|c| !sound(*c)) {
            return Err(format!(
                "{c:?}: expected lower-case letters, digits and `-`"
            ));
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err("expected a letter or digit at both ends".to_owned());
        }
        if let Some(word) = text.split('-').find(|word| RESERVED.contains(word)) {
            return Err(format!("the word `{word}` is taken by the lab's own names"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_work_and_names_that_do_not() {
        for name in ["lab", "my-lab-2", "7"] {
            assert_eq!(
                name.parse::<LabName>().as_ref().map(LabName::as_str),
                Ok(name)
            );
        }
        for name in ["", "-a", "a-", "A", "a/b", "..", "a-h-b", "wire", "a_b"] {
            assert!(name.parse::<LabName>().is_err(), "{name:?}");
        }
        assert!("a".repeat(31).parse::<LabName>().is_err());
    }
}
