//! The snapshot beside real git: equal where it must be, different where the documentation says so.
#![expect(clippy::disallowed_methods, reason = "these tests run real git beside us")]

mod equal;

mod differences;

mod drift;

mod hostile;

mod random;

mod world;
