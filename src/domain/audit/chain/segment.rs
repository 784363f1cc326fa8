//! A run of lines, checked apart from what stands before it, so that several are checked at once.
//!
//! Only for lines that are right: whoever meets [`Unlinked`] reads line by line with a
//! [`Verifier`], which says what is wrong and where.

use sha2::{Digest as _, Sha256};

use super::{Verifier, cid_text};
use crate::domain::audit::entry::Fields;
use crate::domain::event::Event;

/// Lines that are entries, each naming the one before it.
#[derive(Debug, Clone)]
pub struct Segment {
    first: u64,
    /// What the first line names as the one before it.
    prev: Option<Vec<u8>>,
    log: Vec<u8>,
    next: u64,
    /// Of the last line.
    digest: [u8; 32],
    unknown: Option<(u64, String)>,
    /// Digests of the lines that an anchor names.
    anchored: Vec<(u64, [u8; 32])>,
}

/// Something among the lines, or between them and what stands before, is not right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlinked;

impl Segment {
    /// Check these lines, without their newlines; `None` when there are none. `anchors` are the
    /// sequences that [`Verifier::anchored`] gives.
    ///
    /// # Errors
    /// When a line is no entry, or does not follow from the one before it.
    pub fn of<'l>(lines: impl Iterator<Item = &'l [u8]>, anchors: &[u64]) -> Result<Option<Self>, Unlinked> {
        let mut segment: Option<Self> = None;
        for line in lines {
            let fields = Fields::read(line).map_err(|_| Unlinked)?;
            let digest: [u8; 32] = Sha256::digest(line).into();
            let whole = match &mut segment {
                Some(whole) => {
                    let named = fields.prev.is_some_and(|prev| cid_text(&whole.digest) == prev);
                    if fields.seq != whole.next || !named || fields.log != whole.log {
                        return Err(Unlinked);
                    }
                    whole.digest = digest;
                    whole.next += 1;
                    whole
                }
                None => segment.insert(Self {
                    first: fields.seq,
                    prev: fields.prev.map(<[u8]>::to_vec),
                    log: fields.log.to_vec(),
                    next: fields.seq + 1,
                    digest,
                    unknown: None,
                    anchored: Vec::new(),
                }),
            };
            if anchors.contains(&fields.seq) {
                whole.anchored.push((fields.seq, digest));
            }
            if whole.unknown.is_none() && !Event::TYPES.iter().any(|known| known.as_bytes() == fields.kind) {
                whole.unknown = Some((fields.seq, String::from_utf8_lossy(fields.kind).into_owned()));
            }
        }
        Ok(segment)
    }
}

impl Verifier {
    /// The sequences of the anchors.
    #[must_use]
    pub fn anchored(&self) -> Vec<u64> {
        self.anchors.iter().map(|anchor| anchor.head.seq).collect()
    }

    /// The next lines, checked already.
    ///
    /// # Errors
    /// When they do not follow from what stands before them, or an anchor names other bytes; then
    /// this verifier is as it was.
    pub fn push_segment(&mut self, segment: &Segment) -> Result<(), Unlinked> {
        let linked = match (&self.digest, &segment.prev) {
            (None, None) => true,
            (Some(before), Some(prev)) => {
                cid_text(before).as_slice() == prev.as_slice() && segment.log == self.log
            }
            _ => false,
        };
        let as_kept = self.anchors.iter().all(|kept| {
            segment
                .anchored
                .iter()
                .all(|(seq, digest)| *seq != kept.head.seq || digest == kept.head.cid.sha256())
        });
        if !self.is_intact() || !linked || !as_kept || segment.first != self.next {
            return Err(Unlinked);
        }
        self.log.clone_from(&segment.log);
        if self.unknown.is_none() {
            self.unknown.clone_from(&segment.unknown);
        }
        self.digest = Some(segment.digest);
        self.next = segment.next;
        Ok(())
    }
}
