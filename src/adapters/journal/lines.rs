//! The lines of a journal file, read in bounded memory.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;

use crate::domain::audit::entry::MAX_LINE;

/// What stands next in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A whole line; its bytes without the newline are in the buffer.
    Line,
    /// More than a line may hold, without a newline.
    TooLong,
    /// The file ends after these many bytes without a newline; they are in the buffer.
    Torn,
    /// The file ends.
    End,
}

/// Reads a file from a place on, whatever else reads it at the same time.
#[derive(Debug)]
struct From {
    file: File,
    offset: u64,
}

impl From {
    fn new(file: &File, offset: u64) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, offset })
    }
}

impl io::Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset += u64::try_from(length).expect("because a length fits u64");
        Ok(length)
    }
}

/// Reads lines from a place in the file on.
#[derive(Debug)]
pub(super) struct Lines {
    reader: BufReader<From>,
    /// Place of the next line.
    offset: u64,
}

impl Lines {
    pub(super) fn from(file: &File, offset: u64) -> io::Result<Self> {
        Ok(Self { reader: BufReader::with_capacity(1 << 17, From::new(file, offset)?), offset })
    }

    /// Place of the next line.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line, into `line`.
    pub(super) fn read(&mut self, line: &mut Vec<u8>) -> io::Result<Next> {
        line.clear();
        let bound = u64::try_from(MAX_LINE).expect("because a bound fits u64") + 1;
        let length = (&mut self.reader).take(bound).read_until(b'\n', line)?;
        let step = u64::try_from(length).expect("because a length fits u64");
        Ok(if line.last() == Some(&b'\n') {
            line.pop();
            self.offset += step;
            Next::Line
        } else if step == bound {
            Next::TooLong
        } else if length == 0 {
            Next::End
        } else {
            Next::Torn
        })
    }
}

/// The line that ends (with its newline) just before `end`; `None` when there is none such.
pub(super) fn line_before(file: &File, end: u64) -> io::Result<Option<Vec<u8>>> {
    if end == 0 {
        return Ok(None);
    }
    let bound = u64::try_from(MAX_LINE).expect("because a bound fits u64") + 2;
    let start = end.saturating_sub(bound);
    let mut bytes = vec![0; usize::try_from(end - start).expect("because it is bounded")];
    match file.read_exact_at(&mut bytes, start) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    if bytes.pop() != Some(b'\n') {
        return Ok(None);
    }
    let begin = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => at + 1,
        None if start == 0 => 0,
        None => return Ok(None),
    };
    Ok(Some(bytes.split_off(begin)))
}

/// Place of the line whose sequence is `seq`, by bisection over a verified file: sequences
/// rise with the offset. `seq_of` reads a line's sequence. `end` is where the last line ends.
pub(super) fn place_of(
    file: &File,
    seq: u64,
    end: u64,
    seq_of: impl Fn(&[u8]) -> Option<u64>,
) -> io::Result<Option<u64>> {
    let (mut low, mut high) = (0, end);
    let mut line = Vec::new();
    // Both are starts of lines; the wanted line starts in low..high.
    while high - low > 1 << 18 {
        let middle = low + (high - low) / 2;
        let skipped = BufReader::new(From::new(file, middle)?).skip_until(b'\n')?;
        let start = middle + u64::try_from(skipped).expect("because a length fits u64");
        if start >= high {
            // No line is as long as half of the range: this is no journal.
            return Ok(None);
        }
        let mut lines = Lines::from(file, start)?;
        if lines.read(&mut line)? != Next::Line {
            return Ok(None);
        }
        match seq_of(&line) {
            Some(found) if found <= seq => low = start,
            Some(_) => high = start,
            None => return Ok(None),
        }
    }
    let mut lines = Lines::from(file, low)?;
    loop {
        let at = lines.offset();
        if at >= end || lines.read(&mut line)? != Next::Line {
            return Ok(None);
        }
        match seq_of(&line) {
            Some(found) if found == seq => return Ok(Some(at)),
            Some(found) if found > seq => return Ok(None),
            Some(_) => {}
            None => return Ok(None),
        }
    }
}
