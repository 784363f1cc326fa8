//! What is kept of a stream that may never end: all of it is counted and hashed, the beginning and
//! the end are kept.

use std::io::{ErrorKind, Read};

use sha2::{Digest as _, Sha256};

use super::profile::Captured;
use crate::domain::id::Cid;

/// Kept of the beginning.
const HEAD: usize = 256 << 10;
/// Kept of the end.
const TAIL: usize = 256 << 10;
/// What may pile up before the middle is dropped: moving memory once in a while is cheap.
const SLACK: usize = 1 << 20;

/// A stream, non-blocking, as far as it was read.
pub(super) struct Capture<P> {
    /// `None` after its end.
    pub(super) pipe: Option<P>,
    bytes: Vec<u8>,
    total: u64,
    digest: Sha256,
}

impl<P: Read> Capture<P> {
    pub(super) fn new(pipe: Option<P>) -> Self {
        Self { pipe, bytes: Vec::new(), total: 0, digest: Sha256::new() }
    }

    /// Read what is there, but not for ever: somebody may write faster than we read.
    pub(super) fn drain(&mut self) -> std::io::Result<()> {
        let mut chunk = [0; 16 << 10];
        for _ in 0..64 {
            let Some(pipe) = &mut self.pipe else { return Ok(()) };
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(read) => self.take(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.digest.update(bytes);
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > HEAD + TAIL + SLACK {
            self.bytes.drain(HEAD..self.bytes.len() - TAIL);
        }
    }

    /// What was read so far, in part.
    pub(super) fn seen(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes were read so far.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn finish(self) -> Captured {
        let Self { mut bytes, total, digest, .. } = self;
        let whole = bytes.len() as u64 == total;
        if !whole || bytes.len() > HEAD + TAIL {
            bytes.drain(HEAD..bytes.len() - TAIL);
            let left_out = total - bytes.len() as u64;
            let line = format!("\n[{left_out} bytes are left out here]\n");
            bytes.splice(HEAD..HEAD, line.into_bytes());
        }
        Captured { bytes, total, digest: (total > 0).then(|| Cid::from_sha256(digest.finalize().into())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(input: &[u8]) -> Captured {
        let mut capture = Capture::new(Some(input));
        while capture.pipe.is_some() {
            capture.drain().expect("memory is read");
        }
        capture.finish()
    }

    #[test]
    fn a_short_stream_is_kept_whole() {
        let kept = captured(b"hello\n");
        assert_eq!((kept.bytes.as_slice(), kept.total), (&b"hello\n"[..], 6));
        assert_eq!(kept.digest, Some(Cid::of(b"hello\n")));
        assert_eq!(captured(b""), Captured::default());
    }

    #[test]
    fn of_a_long_stream_the_beginning_and_the_end_are_kept_and_all_is_hashed() {
        let mut input: Vec<u8> = b"begin".to_vec();
        input.resize(8 << 20, b'.');
        input.extend_from_slice(b"end");
        let kept = captured(&input);
        assert_eq!((kept.total, kept.digest), (input.len() as u64, Some(Cid::of(&input))));
        assert!(kept.bytes.len() < HEAD + TAIL + 100, "{}", kept.bytes.len());
        assert!(kept.bytes.starts_with(b"begin") && kept.bytes.ends_with(b"end"));
        let said = format!("[{} bytes are left out here]", input.len() - HEAD - TAIL);
        assert!(String::from_utf8_lossy(&kept.bytes).contains(&said));
    }
}
