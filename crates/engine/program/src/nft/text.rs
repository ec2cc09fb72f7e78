//! Text inside a program.

use std::fmt;

/// A note for people: at most [`Text::MAX_LEN`] bytes, without double quotes and control characters.
///
/// `nft` prints such texts between double quotes, without escapes, and reads no longer ones. What does
/// not fit is replaced when the value is made, so that what was written compares equal to what is read
/// back.
///
/// ```
/// use ocicat_program::nft::Text;
/// assert_eq!(Text::from("say \"hello\"").as_str(), "say 'hello'");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(String);

impl Text {
    /// Bytes of the longest text: what fits the prefix of a log statement, and a comment.
    pub const MAX_LEN: usize = 127;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut out = String::with_capacity(text.len().min(Self::MAX_LEN));
        for c in text.chars() {
            let c = match c {
                '"' => '\'',
                c if c.is_control() => ' ',
                c => c,
            };
            if out.len() + c.len_utf8() > Self::MAX_LEN {
                break;
            }
            out.push(c);
        }
        Self(out)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
