//! Verifying a whole journal on all processors, block by block, in bounded memory.
//!
//! A journal that is right is the usual one, and says so quickly here. Anything else is left to the
//! reader that goes line by line, which knows what is wrong and where.

use std::fs::File;
use std::io::{self, BufRead as _};
use std::num::NonZero;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::domain::audit::chain::{Segment, Verifier};
use crate::domain::audit::entry::MAX_LINE;

/// Bytes of a block; the lines that start in it are checked together.
pub(super) const BLOCK: u64 = 1 << 20;
/// Blocks between two times of putting together what was checked: bounds what is kept.
const ROUND: u64 = 64;

/// One block's lines, and where the last whole one ends.
struct Checked {
    segment: Option<Segment>,
    end: u64,
}

/// Verify the whole lines before `end`; gives the bytes after the last of them. `None` when
/// something is not right: then the verifier is of no use any more.
pub(super) fn verify(file: &File, end: u64, block: u64, verifier: &mut Verifier) -> io::Result<Option<u64>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(16);
    let anchors = verifier.anchored();
    let blocks = end.div_ceil(block);
    let mut reached = 0;
    let mut begin = 0;
    while begin < blocks {
        let until = blocks.min(begin + ROUND);
        let next = AtomicU64::new(begin);
        let work = || {
            let mut done = Vec::new();
            let mut buffer = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= until {
                    return done;
                }
                done.push((number, check(file, number, end, block, &anchors, &mut buffer)));
            }
        };
        let mut checked = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut checked = work();
            for other in others {
                checked.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            checked
        });
        checked.sort_by_key(|(number, _)| *number);
        for (_, checked) in checked {
            let Some(checked) = checked? else { return Ok(None) };
            if let Some(segment) = checked.segment
                && verifier.push_segment(&segment).is_err()
            {
                return Ok(None);
            }
            reached = checked.end;
        }
        begin = until;
    }
    Ok(Some(end - reached))
}

fn check(
    file: &File,
    number: u64,
    end: u64,
    block: u64,
    anchors: &[u64],
    buffer: &mut Vec<u8>,
) -> io::Result<Option<Checked>> {
    // The byte before tells whether a line starts with the block.
    let from = (number * block).saturating_sub(1);
    let longest = u64::try_from(MAX_LINE).expect("because a bound fits u64") + 1;
    let until = end.min((number + 1) * block + longest);
    let place = |offset: u64| usize::try_from(offset - from).expect("because a block fits memory");
    buffer.resize(place(until), 0);
    match file.read_exact_at(buffer, from) {
        // It was cut meanwhile.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let limit = place(end.min((number + 1) * block));
    let mut at = 0;
    if number > 0 {
        at = (&buffer[..]).skip_until(b'\n')?;
        if buffer[at - 1] != b'\n' {
            return Ok(None);
        }
    }
    let lines = std::iter::from_fn(|| {
        let mut rest = buffer.get(at..).filter(|_| at < limit)?;
        let start = rest;
        let length = rest.skip_until(b'\n').ok()?;
        let line = start[..length].strip_suffix(b"\n")?;
        at += length;
        Some(line)
    });
    let Ok(segment) = Segment::of(lines, anchors) else { return Ok(None) };
    // What is left started in this block and has no newline: a torn tail, or a line too long.
    let left = limit.saturating_sub(at);
    if left > 0 && (until != end || buffer.len() - at > MAX_LINE) {
        return Ok(None);
    }
    Ok(Some(Checked { segment, end: from + u64::try_from(at).expect("because a length fits u64") }))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::audit::chain::Verified;
    use crate::domain::audit::entry::Entry;
    use crate::domain::event::Event;
    use crate::domain::id::Cid;

    fn journal(entries: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut prev = None;
        for seq in 0..entries {
            let entry = Entry {
                v: 1,
                log: "l".to_owned(),
                seq,
                prev,
                wall_ms: 1,
                boot: "b".to_owned(),
                mono_ms: seq,
                policy: None,
                members: None,
                subject: "x".repeat(usize::try_from(seq * 37 % 300).unwrap()),
                event: Event::CycleStarted { cause: "once".to_owned() },
            };
            let line = entry.line().unwrap();
            prev = Some(Cid::of(&line));
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
        }
        bytes
    }

    /// Line by line; `None` when something is wrong.
    fn plainly(bytes: &[u8]) -> Option<(Verified, usize)> {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut verifier = Verifier::new();
        for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            verifier.push(&line[..line.len() - 1]);
        }
        Some((verifier.finish().ok()?, bytes.len() - whole))
    }

    fn in_blocks(bytes: &[u8], block: u64) -> Option<(Verified, usize)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut verifier = Verifier::new();
        let torn = verify(&file, bytes.len() as u64, block, &mut verifier).unwrap()?;
        Some((verifier.finish().ok()?, usize::try_from(torn).unwrap()))
    }

    #[test]
    fn whatever_the_blocks_a_right_journal_is_verified_to_its_end() {
        let bytes = journal(90);
        let expect = plainly(&bytes);
        assert!(expect.is_some());
        for block in (1..40).chain([100, 333, 5000, 1 << 20]) {
            assert_eq!(in_blocks(&bytes, block * 7 + 400), expect, "block {block}");
        }
        assert_eq!(in_blocks(b"", 100), plainly(b""));
        let torn = &bytes[..bytes.len() - 9];
        assert_eq!(in_blocks(torn, BLOCK), plainly(torn));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_wrong_line_by_line_is_never_right_in_blocks(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            remove in 0..3_usize,
            block in 300..9000_u64,
        ) {
            let mut bytes = journal(40);
            let at = at.index(bytes.len());
            if remove == 0 {
                bytes[at] = byte;
            } else {
                bytes.drain(at..(at + remove * 150).min(at + bytes.len() - at));
            }
            if let Some(found) = in_blocks(&bytes, block) {
                prop_assert_eq!(Some(found), plainly(&bytes));
            }
        }
    }
}
