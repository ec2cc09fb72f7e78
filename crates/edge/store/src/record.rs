//! One line of the change log on disk.
//!
//! ```text
//!   created u64 LE | previous u64 LE | kind u8 (0 delete, 1 put) | key length u16 LE | key | value
//! ```
//!
//! `previous` is the revision whose record holds what the key held before; 0 if it did not exist.

use crate::types::{Error, Revision};

const HEAD: usize = 8 + 8 + 1 + 2;

/// A decoded record, borrowing from its page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) created: Revision,
    pub(crate) previous: Revision,
    pub(crate) key: &'a str,
    /// `None` when the change deleted the key.
    pub(crate) value: Option<&'a [u8]>,
}

impl Record<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let value = self.value.unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEAD + self.key.len() + value.len());
        bytes.extend_from_slice(&self.created.to_le_bytes());
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        bytes.push(u8::from(self.value.is_some()));
        // `backend::validate` keeps keys under 1,025 bytes.
        bytes.extend_from_slice(
            &u16::try_from(self.key.len())
                .unwrap_or(u16::MAX)
                .to_le_bytes(),
        );
        bytes.extend_from_slice(self.key.as_bytes());
        bytes.extend_from_slice(value);
        bytes
    }
}

/// Reads a record.
///
/// # Errors
/// [`Error::Storage`] if the bytes are not one.
pub(crate) fn decode(bytes: &[u8]) -> Result<Record<'_>, Error> {
    let broken = || Error::Storage("a record of the change log is broken".to_owned());
    let (created, rest) = bytes.split_first_chunk::<8>().ok_or_else(broken)?;
    let (previous, rest) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
    let (kind, rest) = rest.split_first_chunk::<1>().ok_or_else(broken)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(broken)?;
    let (key, value) = rest
        .split_at_checked(u16::from_le_bytes(*length).into())
        .ok_or_else(broken)?;
    Ok(Record {
        created: u64::from_le_bytes(*created),
        previous: u64::from_le_bytes(*previous),
        key: std::str::from_utf8(key).map_err(|_| broken())?,
        value: (kind[0] == 1).then_some(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for value in [None, Some(&b"value"[..]), Some(&b""[..])] {
            let record = Record {
                created: 7,
                previous: 9,
                key: "/a/b",
                value,
            };
            assert_eq!(decode(&record.encode()).unwrap(), record);
        }
    }

    #[test]
    fn broken_bytes_are_an_error() {
        let bytes = Record {
            created: 1,
            previous: 0,
            key: "/a",
            value: None,
        }
        .encode();
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err());
        }
    }
}
