//! What `std` has no words for: sessions, signals, waiting for events.

use std::path::PathBuf;

unsafe extern "C" {
    fn setsid() -> i32;
    fn prctl(option: i32, argument: u64, ...) -> i32;
    fn getpid() -> i32;
    fn getppid() -> i32;
    fn fork() -> i32;
    fn kill(process: i32, signal: i32) -> i32;
    fn poll(descriptors: *mut u8, number: u64, timeout: i32) -> i32;
}

/// Begin a session.
pub fn begin_session() {
    unsafe { setsid() };
}

/// End with the parent.
pub fn end_with_parent() {
    unsafe { prctl(1, 9) };
}

/// End as a crash does.
pub fn crash() -> ! {
    unsafe { kill(getpid(), 11) };
    std::process::exit(139)
}

/// The number of whoever started this process.
pub fn parent() -> i32 {
    unsafe { getppid() }
}

/// End another process.
pub fn end(process: i32) {
    unsafe { kill(process, 9) };
}

/// Go on as another process, of another session, whose parent is gone.
pub fn leave() {
    for _ in 0..2 {
        if unsafe { fork() } != 0 {
            std::process::exit(0);
        }
        begin_session();
    }
}

/// An event loop in which nothing happens.
pub fn wait_for_events() -> ! {
    loop {
        unsafe { poll(std::ptr::null_mut(), 0, -1) };
    }
}

/// The number of this process.
pub fn number() -> i32 {
    unsafe { getpid() }
}

/// Where sockets are.
pub fn tmp() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// True when a module of this name has a socket.
pub fn is_registered(name: &str) -> bool {
    let prefix = format!("logos_{name}_");
    let entries = std::fs::read_dir(tmp()).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
}
