//! A body cut into lines.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;

/// Reads a body line by line.
pub(crate) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of line.
    searched: usize,
}

/// The longest line. An object in etcd has at most 1.5 MiB.
const LONGEST: usize = 16 << 20;

impl Lines {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            searched: 0,
        }
    }

    /// The next line that is not empty; `None` at the end. A line that the connection cut off is
    /// lost. An error names its reason.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(line) = self.take() {
                if !line.is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.buffer.len() > LONGEST {
                return Err("a line of more than 16 MiB".into());
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(error.to_string()),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let end = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(end) = end else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + end).freeze();
        self.buffer.advance(1);
        self.searched = 0;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn empty_lines_are_skipped_and_the_unfinished_one_is_lost() {
        let mut lines = Lines::new(Body::from(b"one\n\n\ntwo\nthr".to_vec()));
        assert_eq!(lines.next().await, Ok(Some(Bytes::from_static(b"one"))));
        assert_eq!(lines.next().await, Ok(Some(Bytes::from_static(b"two"))));
        assert_eq!(lines.next().await, Ok(None));
    }
}
