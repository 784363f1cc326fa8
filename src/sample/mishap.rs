//! Trouble in work trees, after everything was checked out as it should be.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use git2::{IndexEntryExtendedFlag, IndexEntryFlag, Repository};

use super::{Sample, SampleModule, SampleSpec, Trouble, disk, hostile};
use crate::ports::{PortError, PortResult};

/// Do to the workspace what the specification asks.
pub(super) fn happen(spec: &SampleSpec, sample: &mut Sample) -> PortResult<()> {
    let victims: BTreeMap<Trouble, SampleModule> =
        sample.victims.iter().map(|(trouble, name)| (*trouble, sample.module(name).clone())).collect();
    for trouble in &spec.trouble {
        let root = &sample.superproject;
        match (trouble, victims.get(trouble)) {
            (Trouble::DirtyModule, Some(module)) => {
                disk::write(&module.checkout.join("README.md"), b"# Edited and not committed\n")?;
                disk::remove_file(&module.checkout.join("src/state.txt"))?;
                disk::set_mode(&module.checkout.join("scripts/build.sh"), 0o644)?;
            }
            (Trouble::UntrackedModule, Some(module)) => {
                disk::write(&module.checkout.join("notes.txt"), b"nobody committed this\n")?;
                disk::write(&module.checkout.join("src/new/part.cpp"), b"int part;\n")?;
                disk::write(&module.checkout.join("build/ignored.o"), b"ignored\n")?;
            }
            (Trouble::StagedModule, Some(module)) => {
                disk::write(&module.checkout.join("src/state.txt"), b"staged\n")?;
                disk::write(&module.checkout.join("src/staged.txt"), b"staged\n")?;
                stage(&module.checkout, &["src/state.txt", "src/staged.txt"])?;
            }
            (Trouble::HiddenEntries, Some(module)) => {
                hide(&module.checkout, "src/state.txt", "README.md")?;
                disk::write(&module.checkout.join("src/state.txt"), b"edited behind git's back\n")?;
                disk::write(&module.checkout.join("README.md"), b"# Edited behind git's back\n")?;
            }
            (Trouble::HostileFileNames, Some(module)) => {
                for name in hostile::file_names() {
                    let path = [b"untracked/", &name[..]].concat();
                    disk::write(&module.checkout.join(std::ffi::OsStr::from_bytes(&path)), b"untracked\n")?;
                }
            }
            (Trouble::HostileConfig, Some(module)) => {
                disk::create_dir(&sample.canaries)?;
                hostile::configure(&module.git_dir, &sample.canaries, "module")?;
                hostile::configure(&module.upstream, &sample.canaries, "upstream")?;
                hostile::configure(&root.join(".git"), &sample.canaries, "superproject")?;
            }
            (Trouble::HostileModules, _) => {
                disk::create_dir(&sample.canaries)?;
                hostile::after_checkout(root)?;
            }
            (Trouble::DirtySuperproject, _) => {
                disk::write(&root.join("README.md"), b"# Edited and not committed\n")?;
            }
            (Trouble::UntrackedSuperproject, _) => {
                disk::write(&root.join(".env"), b"TOKEN=not-a-real-token\n")?;
                disk::write(&root.join("notes/todo.txt"), b"nobody committed this\n")?;
            }
            (Trouble::StagedSuperproject, _) => {
                disk::write(&root.join("docs/staged.md"), b"# Staged\n")?;
                stage(root, &["docs/staged.md"])?;
            }
            (Trouble::UpstreamRewound, Some(module)) => {
                // So far that the pin is gone too.
                sample.rewind_upstream(&module.name, module.behind + 1)?;
            }
            // The others are in what was committed and cloned.
            _ => {}
        }
    }
    Ok(())
}

fn failed(work_tree: &Path) -> impl Fn(git2::Error) -> PortError + '_ {
    move |error| {
        PortError::failed(format!("cannot change the index of {}", work_tree.display())).because(error)
    }
}

fn stage(work_tree: &Path, paths: &[&str]) -> PortResult<()> {
    let staged = || {
        let repository = Repository::open(work_tree)?;
        let mut index = repository.index()?;
        paths.iter().try_for_each(|path| index.add_path(Path::new(path)))?;
        index.write()
    };
    staged().map_err(failed(work_tree))
}

/// One path becomes assume-unchanged, the other skip-worktree.
fn hide(work_tree: &Path, assumed: &str, skipped: &str) -> PortResult<()> {
    let hidden = || {
        let repository = Repository::open(work_tree)?;
        let mut index = repository.index()?;
        for (path, flags, extended) in [
            (assumed, IndexEntryFlag::VALID.bits(), 0),
            (skipped, 0, IndexEntryExtendedFlag::SKIP_WORKTREE.bits()),
        ] {
            let mut entry = index
                .get_path(Path::new(path), 0)
                .ok_or_else(|| git2::Error::from_str("the file is not in the index"))?;
            entry.flags |= flags;
            entry.flags_extended |= extended;
            index.add(&entry)?;
        }
        index.write()
    };
    hidden().map_err(failed(work_tree))
}
