//! The application layer: one file per stage and per verb, over [`crate::ports`] only.

pub mod amend;

pub mod apply;

pub mod authority;

pub mod candidates;

pub mod combine;

pub mod cycle;

pub mod detect;

pub mod doctor;

pub mod enact;

mod fan;

pub mod govern;

pub mod heal;

pub mod order;

pub mod pins;

pub mod plan;

pub mod policy;

pub mod propose;

pub mod exchange;

mod recorder;

pub mod recover;

pub mod rollback;

pub mod status;

pub mod trust;

pub mod verify;
