//! The journal as data: entries, and the chain that links them.
//!
//! The file `audit.jsonl`, version 1: one [`entry`] a line, canonical JSON without white space, at most
//! 65,535 bytes and a newline. `prev` holds the identity of the line before, without its newline:
//!
//! ```text
//! {"body":{"cause":"once"},"boot":"…","log":"…","members":null,"mono_ms":5,"policy":null,"prev":"bafkrei…","seq":1,"subject":"cycle","type":"cycle.started","v":1,"wall_ms":7}
//! ```
//!
//! The promise: `v` 1 keeps these twelve fields and their meaning. A newer minor program may add
//! *types* of entries and fields of bodies. Such a journal is still read, shown and verified by an older
//! program, which refuses to *write* to it, because what the unknown entries mean is not in its
//! [`State`](crate::domain::state::State). Another `v` is refused altogether.

pub mod entry;

pub mod chain;
