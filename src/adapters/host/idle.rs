//! Whether a program waits for events, as a host that has loaded its module does.
//!
//! A host that registers no socket and one that hangs while loading look the same by living on.
//! What the kernel says tells most of them apart: a host that is up waits in its event loop, one
//! that hangs sleeps, spins or waits for a lock. It speaks against a module only: the module's code
//! can wait for events too, and so this never makes a verdict strong.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

/// What a program and everything that it started do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Doing {
    /// The first thread of each waits for events.
    WaitsForEvents,
    /// Some does something else.
    SomethingElse,
    /// The kernel does not say.
    NotSeen,
}

/// The numbers of the system calls that wait for events: `poll`, `select`, `epoll_wait`, `accept`
/// and their kin.
#[cfg(target_arch = "x86_64")]
const WAITING: &[u64] = &[7, 23, 43, 232, 270, 271, 281, 288, 441];
#[cfg(target_arch = "aarch64")]
const WAITING: &[u64] = &[22, 72, 73, 202, 242, 441];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const WAITING: &[u64] = &[];

/// What the process with this number and its descendants do now.
pub(super) fn doing(process: i32) -> Doing {
    let parents = parents();
    let mut family = vec![process];
    let mut at = 0;
    while let Some(&parent) = family.get(at) {
        at += 1;
        let children = parents.iter().filter(|(child, of)| **of == parent && !family.contains(child));
        let children: Vec<i32> = children.map(|(child, _)| *child).collect();
        family.extend(children);
    }
    for member in family {
        // The text is `running`, or the call's number and its arguments.
        let Ok(call) = fs::read_to_string(format!("/proc/{member}/syscall")) else { return Doing::NotSeen };
        let number: Option<u64> = call.split_whitespace().next().and_then(|number| number.parse().ok());
        if !number.is_some_and(|number| WAITING.contains(&number)) {
            return Doing::SomethingElse;
        }
    }
    Doing::WaitsForEvents
}

/// Every process that can be seen, with its parent.
fn parents() -> BTreeMap<i32, i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let processes = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes
        .filter_map(|process: i32| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            // The name is in brackets and may hold anything: what follows its last one counts.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((process, parent))
        })
        .collect()
}
