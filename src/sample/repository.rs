//! Git repositories on disk, as `gitrepository-layout(5)` has them.
//!
//! Written directly, because then no user's or system's configuration or template has a part
//! in it.

use std::fmt::Write as _;
use std::path::Path;

use super::disk;
use crate::domain::id::ObjectId;
use crate::ports::PortResult;

/// What a new repository holds besides objects.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// The content of `HEAD` without its newline.
    pub(super) head: String,
    /// The content of `config`.
    pub(super) config: String,
    /// Refs as files, full names.
    pub(super) loose: Vec<(String, ObjectId)>,
    /// Refs in `packed-refs`, full names.
    pub(super) packed: Vec<(String, ObjectId)>,
    /// Symbolic refs and their targets.
    pub(super) symbolic: Vec<(String, String)>,
}

/// Make the git directory.
pub(super) fn create(git_dir: &Path, layout: &Layout) -> PortResult<()> {
    for dir in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "hooks", "info"] {
        disk::create_dir(&git_dir.join(dir))?;
    }
    disk::write(&git_dir.join("HEAD"), format!("{}\n", layout.head).as_bytes())?;
    disk::write(&git_dir.join("config"), layout.config.as_bytes())?;
    disk::write(&git_dir.join("description"), b"Part of a sample workspace.\n")?;
    disk::write(&git_dir.join("info/exclude"), b"# Patterns of files that only this repository ignores.\n")?;
    for (name, id) in &layout.loose {
        disk::write(&git_dir.join(name), format!("{id}\n").as_bytes())?;
    }
    for (name, target) in &layout.symbolic {
        disk::write(&git_dir.join(name), format!("ref: {target}\n").as_bytes())?;
    }
    if !layout.packed.is_empty() {
        let mut rows = layout.packed.clone();
        rows.sort();
        let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
        for (name, id) in rows {
            let _ = writeln!(text, "{id} {name}");
        }
        disk::write(&git_dir.join("packed-refs"), text.as_bytes())?;
    }
    Ok(())
}

/// A value in double quotes, as git's configuration needs it (`git-config(1)`, Syntax).
pub(super) fn config_quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
    format!("\"{escaped}\"")
}
