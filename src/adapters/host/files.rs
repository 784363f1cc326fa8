//! What a host needs to know of modules' own files, out of git objects.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::ModuleFiles;
use crate::adapters::materials::{Material, Materials};
use crate::adapters::mirrors::Mirrors;
use crate::domain::health::Placed;
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::ports::{PortError, PortResult};

/// Files of modules from their mirrors and checkouts.
pub struct GitFiles<'a> {
    materials: Arc<Materials>,
    mirrors: &'a Mirrors,
    /// What was given out stays for as long as this does.
    held: Mutex<Vec<Material>>,
}

impl<'a> GitFiles<'a> {
    /// These materials, and what these mirrors know.
    #[must_use]
    pub fn new(materials: Arc<Materials>, mirrors: &'a Mirrors) -> Self {
        Self { materials, mirrors, held: Mutex::default() }
    }
}

impl ModuleFiles for GitFiles<'_> {
    fn file(&self, module: &Module, commit: ObjectId, path: &RepoPath) -> PortResult<Option<Vec<u8>>> {
        let shown = path.to_string();
        self.mirrors.local([module]).module_file(module, commit, &shown).map_err(|error| {
            PortError::failed(format!("cannot read {shown} of {} at {}", module.name, commit.short()))
                .because(error)
        })
    }

    fn tree(&self, placed: &Placed) -> Result<PathBuf, String> {
        let material = self.materials.of(&placed.module, placed.pin)?;
        let path = material.path().to_owned();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.iter().all(|known| known.path() != path) {
            held.push(material);
        }
        Ok(path)
    }
}
