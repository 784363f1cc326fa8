//! What happens to a sample after it was made: upstreams move, and are rewound.

use git2::{Commit, ObjectType, Oid, Repository, Signature, Time};

use super::{Sample, SampleModule};
use crate::domain::id::ObjectId;
use crate::ports::{PortError, PortResult};

impl Sample {
    /// Push one commit to a module's upstream branch; gives it.
    ///
    /// # Errors
    /// When the upstream cannot be written.
    ///
    /// # Panics
    /// When there is no such module.
    pub fn push_commit(&mut self, name: &str, message: &str) -> PortResult<ObjectId> {
        self.move_upstream(name, 0, message)
    }

    /// Push one commit that breaks the module to its upstream branch; gives it. The first line of its
    /// `src/state.txt` begins with `broken`, and it builds no more.
    ///
    /// # Errors
    /// When the upstream cannot be written.
    ///
    /// # Panics
    /// When there is no such module.
    pub fn push_broken(&mut self, name: &str, what: &str) -> PortResult<ObjectId> {
        self.move_upstream(name, 0, &format!("broken: {what}"))
    }

    /// Force-push a module's upstream branch: its newest `commits` commits are gone, and there
    /// is another one in their place; gives it.
    ///
    /// # Errors
    /// When the upstream cannot be written or has no such history.
    ///
    /// # Panics
    /// When there is no such module.
    pub fn rewind_upstream(&mut self, name: &str, commits: u32) -> PortResult<ObjectId> {
        self.move_upstream(name, commits, "history: told otherwise")
    }

    fn move_upstream(&mut self, name: &str, rewind: u32, message: &str) -> PortResult<ObjectId> {
        let at = self
            .modules
            .iter()
            .position(|module| module.name == name)
            .unwrap_or_else(|| panic!("the sample has no module {name}"));
        let module = &mut self.modules[at];
        move_branch(module, rewind, message).map_err(|error| {
            PortError::failed(format!(
                "cannot move the branch {} of {}",
                module.branch,
                module.upstream.display()
            ))
            .because(error)
        })
    }
}

fn move_branch(module: &mut SampleModule, rewind: u32, message: &str) -> Result<ObjectId, git2::Error> {
    let repository = Repository::open_bare(&module.upstream)?;
    let name = format!("refs/heads/{}", module.branch);
    let mut base = repository.find_reference(&name)?.peel_to_commit()?;
    for _ in 0..rewind {
        base = base.parent(0)?;
    }
    let new = commit_on(&repository, &base, message)?;
    repository.reference(&name, new, true, "")?;
    module.tip = id(new);
    let pin = Oid::from_bytes(module.pinned.as_bytes())?;
    // The pin may be a commit that upstream never had: then what was known stays.
    if let Ok((behind, ahead)) = repository.graph_ahead_behind(new, pin) {
        module.behind = u32::try_from(behind).unwrap_or(u32::MAX);
        module.ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
    }
    Ok(id(new))
}

fn commit_on(repository: &Repository, base: &Commit<'_>, message: &str) -> Result<Oid, git2::Error> {
    let tree = base.tree()?;
    let source = tree.get_name("src").map(|entry| entry.to_object(repository)).transpose()?;
    let source = source.as_ref().and_then(git2::Object::as_tree);
    let content = format!("{message}\n{}\n", base.id());
    let mut inner = repository.treebuilder(source)?;
    inner.insert("state.txt", repository.odb()?.write(ObjectType::Blob, content.as_bytes())?, 0o100_644)?;
    let mut outer = repository.treebuilder(Some(&tree))?;
    outer.insert("src", inner.write()?, 0o40_000)?;
    let tree = repository.find_tree(outer.write()?)?;
    let time = Time::new(base.time().seconds() + 5400, 0);
    let person = Signature::new("Sample Author", "author@sample.example", &time)?;
    repository.commit(None, &person, &person, &format!("{message}\n"), &tree, &[base])
}

fn id(oid: Oid) -> ObjectId {
    ObjectId::from_bytes(oid.as_bytes()).expect("because an object id of a SHA-1 repository is 20 bytes")
}
