//! Randomness for identities and generated names, from the system's source.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

/// Letters of generated names: no vowels and nothing that looks like another, as in Kubernetes.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A buffered reader of the system's random bytes.
pub(crate) struct Random(Mutex<io::BufReader<File>>);

impl Random {
    /// # Errors
    /// If the system has no `/dev/urandom`.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self(Mutex::new(io::BufReader::with_capacity(
            512,
            File::open("/dev/urandom")?,
        ))))
    }

    /// A version 4 UUID (RFC 9562).
    pub(crate) fn uuid(&self) -> io::Result<String> {
        let mut bytes: [u8; 16] = self.bytes()?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = String::with_capacity(36);
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(text)
    }

    /// Five letters to end a generated name.
    pub(crate) fn suffix(&self) -> io::Result<String> {
        let bytes: [u8; 5] = self.bytes()?;
        Ok(bytes
            .iter()
            .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
            .collect())
    }

    fn bytes<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_differ_and_have_the_right_form() {
        let random = Random::open().unwrap();
        let (one, two) = (random.uuid().unwrap(), random.uuid().unwrap());
        assert_ne!(one, two);
        assert_eq!((one.len(), &one[14..15]), (36, "4"));
        assert_eq!(random.suffix().unwrap().len(), 5);
    }
}
