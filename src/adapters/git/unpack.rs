//! A source written out as files: what its archive would unfold to.
//!
//! In: any tree that answers [`Source`], and a place where nothing is yet. Out: directories, files
//! and links there, with the one bit of rights that an archive keeps. Nothing is written through a
//! link: each name is made once, in a directory that was made here.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::domain::flake::nar::{NarError, Node, Source};

/// What an entry costs besides its name and content, so that a bomb of empty files ends too.
const ENTRY: u64 = 128;

/// Write the tree at `root` to `to`; at most `max_bytes` of it.
pub(super) fn unpack<S: Source>(
    source: &S,
    root: S::Reference,
    to: &Path,
    max_bytes: u64,
) -> Result<(), NarError<S::Error>> {
    let mut left = max_bytes;
    let mut open: Vec<(PathBuf, S::Reference)> = vec![(to.to_owned(), root)];
    while let Some((path, reference)) = open.pop() {
        let node = source.open(reference).map_err(NarError::Source)?;
        let cost = match &node {
            Node::Directory(_) | Node::Symlink(_) => 0,
            Node::File { content, .. } => content.as_ref().len() as u64,
        };
        let cost = cost.saturating_add(ENTRY).saturating_add(path.as_os_str().len() as u64);
        left = left.checked_sub(cost).ok_or(NarError::TooLarge(max_bytes))?;
        match node {
            Node::Directory(entries) => {
                DirBuilder::new().mode(0o755).create(&path).map_err(NarError::Write)?;
                for (name, reference) in entries {
                    if matches!(&name[..], b"" | b"." | b"..") || name.iter().any(|b| matches!(b, 0 | b'/')) {
                        return Err(NarError::BadName(name));
                    }
                    open.push((path.join(OsStr::from_bytes(&name)), reference));
                }
            }
            Node::File { executable, content } => {
                let mode = if executable { 0o755 } else { 0o644 };
                let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
                file.and_then(|mut file| file.write_all(content.as_ref())).map_err(NarError::Write)?;
            }
            Node::Symlink(target) => {
                std::os::unix::fs::symlink(OsStr::from_bytes(&target), &path).map_err(NarError::Write)?;
            }
        }
    }
    Ok(())
}

/// Remove what was written, whatever rights it has by now; what is left is the temporary directory's.
pub(super) fn remove(path: &Path) {
    let _ = fs::remove_dir_all(path);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[derive(Clone)]
    enum Tree {
        Dir(Vec<(&'static str, Tree)>),
        File(bool, &'static str),
        Link(&'static str),
    }

    struct InMemory;

    impl Source for InMemory {
        type Reference = Tree;
        type Content = &'static str;
        type Error = Infallible;

        fn open(&self, tree: Tree) -> Result<Node<Tree, &'static str>, Infallible> {
            Ok(match tree {
                Tree::Dir(entries) => Node::Directory(
                    entries
                        .into_iter()
                        .map(|(name, tree)| (name.as_bytes().to_vec(), tree))
                        .collect::<BTreeMap<_, _>>(),
                ),
                Tree::File(executable, content) => Node::File { executable, content },
                Tree::Link(target) => Node::Symlink(target.as_bytes().to_vec()),
            })
        }
    }

    #[test]
    fn files_links_and_directories_come_out_as_they_are() {
        let temp = tempfile::tempdir().expect("made");
        let to = temp.path().join("out");
        let tree = Tree::Dir(vec![
            ("empty", Tree::Dir(vec![])),
            ("run", Tree::File(true, "x")),
            ("sub", Tree::Dir(vec![("plain", Tree::File(false, "y")), ("up", Tree::Link("../run"))])),
        ]);
        unpack(&InMemory, tree, &to, 1 << 20).expect("written");
        assert!(to.join("empty").is_dir());
        let mode = |name: &str| fs::metadata(to.join(name)).expect("there").permissions().mode() & 0o100;
        assert_eq!((mode("run"), mode("sub/plain")), (0o100, 0));
        assert_eq!(fs::read_link(to.join("sub/up")).expect("a link"), Path::new("../run"));
        assert_eq!(fs::read(to.join("sub/plain")).expect("read"), b"y");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused_and_size_is_bounded() {
        let temp = tempfile::tempdir().expect("made");
        for bad in ["..", ".", "a/b", ""] {
            let tree = Tree::Dir(vec![(bad, Tree::File(false, "x"))]);
            let result = unpack(&InMemory, tree, &temp.path().join(format!("bad{}", bad.len())), 1 << 20);
            assert!(matches!(result, Err(NarError::BadName(_))), "{bad:?}: {result:?}");
            remove(&temp.path().join(format!("bad{}", bad.len())));
        }
        let tree = Tree::Dir(vec![("a", Tree::File(false, "0123456789"))]);
        let result = unpack(&InMemory, tree, &temp.path().join("big"), 300);
        assert!(matches!(result, Err(NarError::TooLarge(300))), "{result:?}");
    }

    #[test]
    fn nothing_that_is_there_is_written_over() {
        let temp = tempfile::tempdir().expect("made");
        fs::write(temp.path().join("there"), "old").expect("written");
        let result = unpack(&InMemory, Tree::File(false, "new"), &temp.path().join("there"), 1 << 20);
        assert!(matches!(result, Err(NarError::Write(_))), "{result:?}");
        assert_eq!(fs::read(temp.path().join("there")).expect("read"), b"old");
    }
}
