//! What modules' commits hold and say of themselves: what the rules of a policy that look into modules judge.
//!
//! ```text
//! files of a commit's tree   → Held, Described, Signed   what is there, and what it says of itself
//! commit and tag objects     → Voucher                   which keys vouch for a revision
//! paths that differ          → Touch                     what a change touches, under every name
//! ```
//!
//! Bytes come in as git has them and may be hostile. Nothing here reads them from anywhere, and nothing
//! decides: rules do, in [`crate::domain::policy`].

pub mod held;

pub mod described;

pub mod signed;

pub mod vouched;

pub mod touched;

pub mod pinned;
