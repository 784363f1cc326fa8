//! The upstreams, through bare mirrors in the state directory.

use std::path::{Path, PathBuf};

use super::clock::SystemClock;
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::ports::{
    Clock, DetectOptions, PortError, PortResult, Relation, Sources, Upstream, UpstreamAnswer,
};

/// Bare mirrors, one per repository identity and location.
pub struct Mirrors {
    root: PathBuf,
    work_tree: PathBuf,
    common_dir: PathBuf,
    clock: Box<dyn Clock + Send>,
    insecure_loopback: bool,
}

impl Mirrors {
    /// Mirrors in `root` (the state directory's `mirrors/`, made when first needed) for the
    /// superproject with this work tree and git common directory, whose checkouts' objects
    /// are read too.
    #[must_use]
    pub fn open(root: &Path, work_tree: &Path, common_dir: &Path) -> Self {
        Self {
            root: root.to_owned(),
            work_tree: work_tree.to_owned(),
            common_dir: common_dir.to_owned(),
            clock: Box::new(SystemClock),
            insecure_loopback: false,
        }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Box<dyn Clock + Send>) -> Self {
        self.clock = clock;
        self
    }

    /// Also ask `http://` locations on loopback addresses: for tests of misbehaving servers.
    #[must_use]
    pub fn allow_insecure_loopback(mut self) -> Self {
        self.insecure_loopback = true;
        self
    }
}

impl Sources for Mirrors {
    fn refresh(&self, modules: &[&Module], _options: &DetectOptions) -> Vec<Upstream> {
        let _ = (&self.root, &self.work_tree, &self.common_dir, &self.clock, self.insecure_loopback);
        modules
            .iter()
            .map(|module| Upstream {
                module: module.name.clone(),
                answer: UpstreamAnswer::Unknown("its upstream was not asked".to_owned()),
            })
            .collect()
    }

    fn relation(&self, _module: &Module, _from: ObjectId, to: ObjectId) -> PortResult<Relation> {
        Ok(Relation::Missing(to))
    }

    fn file(&self, module: &Module, _commit: ObjectId, _path: &RepoPath) -> PortResult<Option<Vec<u8>>> {
        Err(PortError::failed(format!("cannot read the mirror of {}", module.name)))
    }
}
