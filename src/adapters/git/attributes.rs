//! Which conversions apply to a path: gitattributes(5), patterns by `gix-attributes`.
//!
//! Only asked for files that must be hashed, so nothing is read before. Order, weakest first:
//! built in, system, the user's, each `.gitattributes` from the top down (from the index where
//! the work tree has none), `info/attributes`.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use gix_attributes::search::{MetadataCollection, Outcome};
use gix_attributes::{Search, StateRef};
use gix_glob::pattern::Case;
use rustix::fs::OFlags;

use super::config::{Config, Environment};
use super::convert::{Encoding, Eol, Rules};
use super::files::{self, MAX_TEXT, Read, Trouble, directory_beneath};
use super::index::Index;
use super::objects::Objects;
use crate::domain::id::{ObjectId, RepoPath};

/// The attributes that decide about conversions.
const WANTED: [&str; 6] = ["text", "crlf", "eol", "ident", "filter", "working-tree-encoding"];

/// A stand-in for the top of the work tree: patterns are relative to it.
const ROOT: &str = "/";

/// Files that hold for the whole repository.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    pub(super) global: Vec<PathBuf>,
    pub(super) info: PathBuf,
    pub(super) fold: bool,
}

impl Sources {
    pub(super) fn new(config: &Config, environment: &Environment, work: &Path, common_dir: &Path) -> Self {
        let user = config
            .path("core", "attributesfile", work, environment)
            .or_else(|| environment.xdg_config.as_ref().map(|dir| dir.join("git/attributes")));
        Self {
            global: environment.system_attributes.iter().cloned().chain(user).collect(),
            info: common_dir.join("info/attributes"),
            fold: config.boolean("core", "ignorecase").unwrap_or(false),
        }
    }
}

/// The attributes of one directory's files, kept for its next file.
#[derive(Default)]
pub(super) struct Attributes {
    directory: Option<Vec<u8>>,
    search: Search,
    names: MetadataCollection,
}

/// Where attributes files are read.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) root: BorrowedFd<'a>,
    pub(super) index: &'a Index,
    pub(super) objects: &'a Objects,
    pub(super) config: &'a Config,
    pub(super) sources: &'a Sources,
}

impl Attributes {
    /// The conversions for a path.
    pub(super) fn rules(&mut self, path: &[u8], place: Place<'_>) -> Read<Rules> {
        let directory = path.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |slash| &path[..slash]);
        if self.directory.as_deref() != Some(directory) {
            self.load(directory, place)?;
            self.directory = Some(directory.to_vec());
        }
        let mut found = Outcome::default();
        found.initialize_with_selection(&self.names, WANTED);
        let case = if place.sources.fold { Case::Fold } else { Case::Sensitive };
        self.search.pattern_matching_relative_path(path.into(), case, Some(false), &mut found);
        let states: Vec<StateRef<'_>> = found.iter_selected().map(|hit| hit.assignment.state).collect();
        let [text, crlf, eol, ident, filter, encoding] = states.as_slice() else {
            return Err(Trouble(format!("cannot tell the attributes of {}", RepoPath::new(path))));
        };
        let mut rules = Rules {
            eol: line_endings(*text, *crlf, *eol, place.config),
            ident: *ident == StateRef::Set,
            ..Rules::default()
        };
        rules.writes_crlf = rules.eol != Eol::Keep && checked_out_crlf(*eol, place.config);
        if let StateRef::Value(driver) = filter {
            let driver: &[u8] = driver.as_bstr();
            rules.foreign = ["clean", "process"].iter().any(|key| place.config.has("filter", driver, key))
                || place.config.has("filter", driver, "required");
            rules.smudge = ["smudge", "process"].iter().any(|key| place.config.has("filter", driver, key));
        }
        match encoding {
            StateRef::Value(name) => match Encoding::parse(name.as_bstr()) {
                Ok(known) => rules.encoding = known,
                Err(()) => rules.foreign = true,
            },
            StateRef::Set | StateRef::Unset | StateRef::Unspecified => {}
        }
        // `attr.tree` takes attributes from a commit instead of the files: not followed.
        rules.foreign |= place.config.string("attr", None, "tree").is_some();
        Ok(rules)
    }

    fn load(&mut self, directory: &[u8], place: Place<'_>) -> Read<()> {
        self.search = Search::default();
        self.names = MetadataCollection::default();
        self.add(b"[attr]binary -diff -merge -text", Path::new("builtin"), false, true)?;
        for file in &place.sources.global {
            if let Some(content) = files::read(file, MAX_TEXT)? {
                self.add(&content, file, false, true)?;
            }
        }
        let mut ends: Vec<usize> = vec![0];
        ends.extend(directory.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at));
        if !directory.is_empty() {
            ends.push(directory.len());
        }
        for end in ends {
            if let Some(content) = attributes_file(&directory[..end], place)? {
                use std::os::unix::ffi::OsStrExt;
                let source = Path::new(ROOT)
                    .join(std::ffi::OsStr::from_bytes(&directory[..end]))
                    .join(".gitattributes");
                self.add(&content, &source, true, end == 0)?;
            }
        }
        if let Some(content) = files::read(&place.sources.info, MAX_TEXT)? {
            self.add(&content, &place.sources.info, false, true)?;
        }
        Ok(())
    }

    fn add(&mut self, content: &[u8], source: &Path, rooted: bool, macros: bool) -> Read<()> {
        let root = rooted.then_some(Path::new(ROOT));
        self.search
            .add_patterns_buffer(content, source.to_owned(), root, &mut self.names, macros)
            .map_err(|error| Trouble::with("parse", source, error))
    }
}

/// `.gitattributes` of a directory: the work tree's, else the index's.
fn attributes_file(directory: &[u8], place: Place<'_>) -> Read<Option<Vec<u8>>> {
    let name = if directory.is_empty() {
        b".gitattributes".to_vec()
    } else {
        [directory, b"/.gitattributes"].concat()
    };
    let parent = if directory.is_empty() { None } else { directory_beneath(place.root, directory).ok() };
    let dir = match &parent {
        Some(dir) => Some(std::os::fd::AsFd::as_fd(dir)),
        None if directory.is_empty() => Some(place.root),
        None => None,
    };
    if let Some(dir) = dir {
        let found = files::read_at(dir, c".gitattributes", OFlags::NOFOLLOW, MAX_TEXT)
            .map_err(|error| Trouble(format!("cannot read {}: {error}", RepoPath::new(name.clone()))))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    let Some(entry) = place.index.entry(&name) else { return Ok(None) };
    match ObjectId::from_bytes(entry.id.as_slice()) {
        Some(id) if entry.mode == gix_index::entry::Mode::FILE => place.objects.blob(id),
        _ => Ok(None),
    }
}

/// `convert.c: convert_attrs`, as far as it decides the way into the repository.
fn line_endings(text: StateRef<'_>, crlf: StateRef<'_>, eol: StateRef<'_>, config: &Config) -> Eol {
    let auto_crlf = match config.string("core", None, "autocrlf") {
        Some(value) if value.eq_ignore_ascii_case(b"input") => true,
        _ => config.boolean("core", "autocrlf").unwrap_or(false),
    };
    for state in [text, crlf] {
        match state {
            StateRef::Set => return Eol::Text,
            StateRef::Unset => return Eol::Keep,
            StateRef::Value(value) if value.as_bstr() == "input" => return Eol::Text,
            StateRef::Value(value) if value.as_bstr() == "auto" => return Eol::Auto,
            StateRef::Value(_) | StateRef::Unspecified => {}
        }
    }
    match eol {
        StateRef::Value(value) if value.as_bstr() == "lf" || value.as_bstr() == "crlf" => Eol::Text,
        _ if auto_crlf => Eol::Auto,
        _ => Eol::Keep,
    }
}

/// `convert.c: output_eol`: whether text gets CRLF when it is checked out.
fn checked_out_crlf(eol: StateRef<'_>, config: &Config) -> bool {
    match eol {
        StateRef::Value(value) if value.as_bstr() == "crlf" => return true,
        StateRef::Value(value) if value.as_bstr() == "lf" => return false,
        _ => {}
    }
    match config.string("core", None, "autocrlf") {
        Some(value) if value.eq_ignore_ascii_case(b"input") => false,
        _ if config.boolean("core", "autocrlf") == Some(true) => true,
        _ => config.string("core", None, "eol").is_some_and(|value| value.eq_ignore_ascii_case(b"crlf")),
    }
}
