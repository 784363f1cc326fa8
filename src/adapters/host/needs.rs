//! What a module needs to be loaded before it, and where the built plugins of that are.
//!
//! In: the names in a module's metadata. Out: plugins, each after what it needs itself; or why one is
//! not to be had. A name is looked for in what was built of the module itself, in the directories of
//! modules of the settings, and among the scene's modules by what *their* metadata calls them: these
//! are then built as the scene has them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::metadata::Metadata;
use super::plugin::{self, Plugin};
use super::{Held, Host, ModuleFiles};
use crate::domain::health::{Outcome, Placed, Scene};
use crate::domain::id::{ModuleName, ObjectId, RepoPath};
use crate::ports::Derivations;

/// Most modules that one needs, in all.
const MOST: usize = 512;

/// What modules call themselves, by name and revision: it cannot change.
pub(super) type Called = BTreeMap<(ModuleName, ObjectId), Option<Metadata>>;

/// Where a module's own plugin was found.
pub(super) struct Own<'a> {
    pub(super) plugin: &'a Plugin,
    pub(super) metadata: &'a Metadata,
    /// What it was found below.
    pub(super) roots: &'a [PathBuf],
    /// It was built; else it is in the module's own tree.
    pub(super) built: bool,
}

/// What a module needs, found.
#[derive(Default)]
pub(super) struct Found {
    /// The plugins, each after what it needs itself.
    pub(super) plugins: Vec<Plugin>,
    /// The directories that they are in.
    pub(super) roots: Vec<PathBuf>,
    /// What keeps some of those there.
    pub(super) held: Vec<Held>,
}

/// What is found on the way.
struct Search<'a, 'h> {
    host: &'a Host<'h>,
    scene: &'a Scene,
    own: &'a Own<'a>,
    found: Found,
    /// Every name that was begun: needs may go in circles.
    begun: Vec<String>,
}

impl Host<'_> {
    /// The plugins that a module needs, in the order in which they are loaded, and the directories
    /// that they are in.
    ///
    /// # Errors
    /// The outcome of the step: what is missing is unknown.
    pub(super) fn needed(&self, scene: &Scene, own: &Own<'_>) -> Result<Found, Outcome> {
        let begun = vec![own.plugin.name.clone()];
        let mut search = Search { host: self, scene, own, found: Found::default(), begun };
        match search.all(&own.metadata.dependencies) {
            Ok(()) => Ok(search.found),
            Err(reason) => Err(Outcome::Unknown { reason }),
        }
    }

    /// What a module's metadata says, at a revision; `None` when it has none that can be read.
    pub(super) fn called(&self, placed: &Placed) -> Option<Metadata> {
        let key = (placed.module.name.clone(), placed.pin);
        let known = self.called.lock().ok().and_then(|called| called.get(&key).cloned());
        if let Some(known) = known {
            return known;
        }
        let bytes = metadata_file(self.files.as_ref(), placed).ok()?;
        let read = bytes.and_then(|bytes| Metadata::read(&bytes).ok());
        if let Ok(mut called) = self.called.lock() {
            called.insert(key, read.clone());
        }
        read
    }
}

/// A module's `metadata.json` at its pin.
pub(super) fn metadata_file(files: &dyn ModuleFiles, placed: &Placed) -> Result<Option<Vec<u8>>, String> {
    files
        .file(&placed.module, placed.pin, &RepoPath::from("metadata.json"))
        .map_err(|error| format!("its metadata.json cannot be read: {error}"))
}

impl Search<'_, '_> {
    fn all(&mut self, names: &[String]) -> Result<(), String> {
        for name in names {
            if self.begun.contains(name) {
                continue;
            }
            if self.begun.len() > MOST {
                return Err(format!("needs more than {MOST} modules"));
            }
            self.begun.push(name.clone());
            self.one(name)?;
        }
        Ok(())
    }

    fn one(&mut self, name: &str) -> Result<(), String> {
        let plain = Metadata { name: name.to_owned(), ..Metadata::default() };
        let dir = self.host.settings.modules_dir.as_deref();
        let beside = plugin::find(&plain, self.own.roots, dir)
            .map(|plugin| (plugin, self.own.roots.to_vec()))
            .or_else(|| {
                let ready = &self.host.settings.modules;
                plugin::find(&plain, ready, None).map(|plugin| (plugin, ready.clone()))
            });
        if let Some((plugin, roots)) = beside {
            let metadata = beside_plugin(&plugin.modules, name);
            return self.take(plugin, &metadata.unwrap_or(plain), roots);
        }
        let named = |placed: &&Placed| self.host.called(placed).is_some_and(|it| it.name == name);
        let Some(placed) = self.scene.modules.values().find(named) else {
            return Err(format!("needs {name}, which was not built: no module here is called so"));
        };
        let metadata = self.host.called(placed).unwrap_or(plain);
        let module = &placed.module.name;
        let roots = if self.own.built {
            let built = self.host.builder.build(self.scene, placed, &Derivations::new());
            plugin::in_order(&built.outputs)
        } else {
            let tree = self.host.files.tree(placed);
            let tree = tree.map_err(|why| format!("needs {name} of {module}: {why}"))?;
            let root = tree.as_ref().as_ref().to_owned();
            self.found.held.push(tree);
            vec![root]
        };
        let Some(plugin) = plugin::find(&metadata, &roots, dir) else {
            return Err(format!("needs {name} of {module}, which was not built"));
        };
        self.take(plugin, &metadata, roots)
    }

    fn take(&mut self, plugin: Plugin, metadata: &Metadata, roots: Vec<PathBuf>) -> Result<(), String> {
        self.all(&metadata.dependencies)?;
        self.found.roots.extend(roots);
        self.found.plugins.push(plugin);
        Ok(())
    }
}

/// The metadata that lies with a plugin.
fn beside_plugin(modules: &Path, name: &str) -> Option<Metadata> {
    let bytes = std::fs::read(modules.join(name).join("metadata.json")).ok()?;
    Metadata::read(&bytes).ok().filter(|metadata| metadata.name == name)
}
