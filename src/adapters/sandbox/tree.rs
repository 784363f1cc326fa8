//! What a tree of processes uses, from `/proc`. A process that ends while it is looked at counts
//! as gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Pid;

/// What all processes of a tree use together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Processes and threads.
    pub(super) tasks: u64,
    /// Memory that is in no file, bytes; what several share counts for each.
    pub(super) memory_bytes: u64,
    /// Processor time, of children that have ended too.
    pub(super) cpu: Duration,
    /// The processes, each with the time it was started at, in ticks since boot.
    pub(super) processes: Vec<(Pid, u64)>,
}

/// One line of `/proc/PID/stat`, as far as it is needed (see proc(5)).
struct Stat {
    state: u8,
    parent: i32,
    threads: u64,
    ticks: u64,
    started: u64,
}

fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name is whatever the program says, parentheses included; its end is the last one.
    let rest = &text[text.iter().rposition(|byte| *byte == b')')? + 2..];
    let fields: Vec<&str> = std::str::from_utf8(rest).ok()?.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let cpu = [11, 12, 13, 14].into_iter().filter_map(number).sum();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        ticks: cpu,
        threads: number(17)?,
        started: number(19)?,
    })
}

/// All processes that are seen here.
fn all() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The children of a process, by the kernel's own list; `None` where it keeps none.
fn listed_children(pid: Pid) -> Option<Vec<Pid>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).ok()?.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => {
                found.extend(list.split_ascii_whitespace().filter_map(|it| Pid::from_raw(it.parse().ok()?)));
            }
            // The thread may be gone; the file is missing where the kernel is built without it.
            Err(_) if Path::new("/proc/thread-self/children").exists() => {}
            Err(_) => return None,
        }
    }
    Some(found)
}

/// The children of a process.
pub(super) fn children(pid: Pid) -> Vec<Pid> {
    listed_children(pid).unwrap_or_else(|| {
        let number = pid.as_raw_nonzero().get();
        all().into_iter().filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == number)).collect()
    })
}

/// Everything that a process started, and what that started, for as long as it is its parent.
pub(super) fn descendants(root: Pid) -> Vec<Pid> {
    // The kernel's list may miss one while children end; a walk over all processes does not, as
    // long as parents are read no later than their children. Small trees do not need it.
    if let Some(mut found) = listed_children(root) {
        let mut at = 0;
        while let Some(&pid) = found.get(at) {
            found.extend(listed_children(pid).unwrap_or_default());
            at += 1;
        }
        if !found.is_empty() {
            return found;
        }
    }
    let mut parents: BTreeMap<i32, Vec<Pid>> = BTreeMap::new();
    for pid in all() {
        if let Some(stat) = stat(pid) {
            parents.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut queue = vec![root];
    while let Some(pid) = queue.pop() {
        for child in parents.remove(&pid.as_raw_nonzero().get()).unwrap_or_default() {
            found.push(child);
            queue.push(child);
        }
    }
    found
}

/// How many processes of this pid namespace still run besides the caller, its first.
pub(super) fn others() -> u64 {
    let running = all().into_iter().filter(|pid| pid.as_raw_nonzero().get() != 1);
    running.filter(|pid| stat(*pid).is_some_and(|stat| stat.state != b'Z')).count() as u64
}

/// What everything below a process uses.
pub(super) fn usage(root: Pid) -> Usage {
    let tick = rustix::param::clock_ticks_per_second().max(1);
    let mut usage = Usage::default();
    let mut ticks = stat(root).map_or(0, |stat| stat.ticks);
    for pid in descendants(root) {
        let Some(stat) = stat(pid) else { continue };
        if stat.state == b'Z' {
            ticks += stat.ticks;
            continue;
        }
        usage.tasks += stat.threads;
        ticks += stat.ticks;
        usage.memory_bytes += own_memory(pid);
        usage.processes.push((pid, stat.started));
    }
    usage.cpu = Duration::from_millis(ticks.saturating_mul(1000) / tick);
    usage
}

/// Memory of a process that is in no file, as it counts itself.
fn own_memory(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    ["RssAnon:", "RssShmem:", "VmSwap:"].iter().map(|name| kibibytes(&text, name)).sum()
}

/// The bytes that a line of a file of `/proc` gives in kibibytes; 0 when there is no such line.
fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// The memory of these processes where pages that several share count once; for one that may not
/// be looked into, what it has.
pub(super) fn fair_memory(processes: &[(Pid, u64)]) -> u64 {
    let of = |pid: &Pid| {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero())).ok()?;
        Some(["Pss_Anon:", "Pss_Shmem:", "SwapPss:"].iter().map(|name| kibibytes(&text, name)).sum::<u64>())
    };
    processes.iter().map(|(pid, _)| of(pid).unwrap_or_else(|| own_memory(*pid))).sum()
}

/// How many processes and threads the caller's user has, everywhere.
pub(super) fn tasks_of_user() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let user = rustix::process::getuid().as_raw();
    let own = all().into_iter().filter(|pid| {
        fs::metadata(format!("/proc/{}", pid.as_raw_nonzero())).is_ok_and(|meta| meta.uid() == user)
    });
    own.filter_map(stat).map(|stat| stat.threads).sum()
}

/// Memory that the machine could still give, and all of it, bytes.
pub(super) fn machine_memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let (available, all) = (kibibytes(&text, "MemAvailable:"), kibibytes(&text, "MemTotal:"));
    (all > 0).then_some((available, all))
}

/// True while this very process runs: the number may be another's by now.
pub(super) fn runs(pid: Pid, started: u64) -> bool {
    stat(pid).is_some_and(|stat| stat.started == started && stat.state != b'Z')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_below_its_parent() {
        let own = rustix::process::getpid();
        let parent = rustix::process::getppid().expect("a test has a parent");
        assert!(descendants(parent).contains(&own));
        let usage = usage(parent);
        assert!(usage.tasks >= 1 && usage.memory_bytes > 0 && usage.tasks < 1_000_000);
        let found = usage.processes.iter().find(|(pid, _)| *pid == own);
        let (_, started) = *found.expect("a process is below its parent");
        assert!(runs(own, started) && !runs(own, 1));
        assert!(fair_memory(&usage.processes) > 0);
    }

    #[test]
    fn the_machine_has_memory() {
        let (available, all) = machine_memory().expect("/proc/meminfo is there");
        assert!(available > 0 && available <= all);
    }
}
