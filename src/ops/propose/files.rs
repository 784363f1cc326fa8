//! Changes that are no pin's: files of the superproject's own tree, each from one content to another.
//!
//! In: what a change says of its files, their bytes from where they are stored, and a commit. Out: the
//! same change on that commit, or why it is none there: on each path the content must stand that the
//! change starts from. Nothing is merged: whoever approved it saw both ends.

use crate::domain::change::{DELTA_VERSION, Delta, FileContent, FileDelta, MAX_FILES, PathContent, PathEdit};
use crate::domain::id::{Cid, ObjectId};
use crate::domain::module::Module;
use crate::domain::proposal::Track;
use crate::domain::text;
use crate::ports::{FailureKind, PortError, PortResult, Sources, Stored, Superproject};

use crate::ops::amend;

use super::derive::{Ask, Derived, NotDerived};
use super::derive_one;

/// By which rules a change of files is decided: what it affects, nobody computes.
pub const FILES_TRACK: Track = Track::Core;

/// Derive a change again on a commit, whatever kind it is: what approving, showing, importing and
/// applying it begin with. The bytes of its files come from `stored`.
///
/// # Errors
/// As [`derive_one`]; integrity when a content is missing or is not what the change names.
pub fn derive_delta(
    superproject: &dyn Superproject,
    sources: &dyn Sources,
    modules: &[Module],
    stored: &(impl Stored + ?Sized),
    delta: &Delta,
    base: ObjectId,
) -> PortResult<Result<Derived, NotDerived>> {
    if let Some(document) = &delta.document {
        return amend::derive_document(superproject, stored, &delta.workspace, base, document);
    }
    if delta.files.is_empty() {
        let asks: Vec<Ask> =
            delta.pins.iter().map(|pin| Ask { module: pin.module.clone(), to: pin.to.commit }).collect();
        return derive_one(superproject, sources, modules, &delta.workspace, base, &asks);
    }
    let content = |content: &Cid| {
        stored.stored(content)?.ok_or_else(|| {
            PortError::failed(format!(
                "cannot read the new content {content} of a file: it is not in the state directory's objects/"
            ))
            .kind(FailureKind::Integrity)
            .hint("nothing was changed; restore objects/ from a copy, and look with: lambda-os audit verify")
        })
    };
    derive_files(superproject, &delta.workspace, base, &delta.files, content)
}

/// Derive a change of these files on a commit. `content` gives the bytes of a new content.
///
/// # Errors
/// When the superproject's objects or a content cannot be read.
pub fn derive_files(
    superproject: &dyn Superproject,
    workspace: &str,
    base: ObjectId,
    files: &[FileDelta],
    content: impl Fn(&Cid) -> PortResult<Vec<u8>>,
) -> PortResult<Result<Derived, NotDerived>> {
    if files.len() > MAX_FILES {
        return Ok(Err(NotDerived::TooManyFiles(files.len())));
    }
    if !files.windows(2).all(|pair| pair[0].path < pair[1].path) {
        return Ok(Err(NotDerived::FilesNotInOrder));
    }
    let mut edits = Vec::with_capacity(files.len());
    for file in files {
        let path = &file.path;
        if path.as_bytes().eq_ignore_ascii_case(b".gitmodules") {
            return Ok(Err(NotDerived::NoFile {
                path: path.clone(),
                why: "it says which modules there are".to_owned(),
            }));
        }
        let no_file = |why: String| NotDerived::NoFile { path: path.clone(), why };
        let old = match superproject.content(base, path) {
            Ok(Some(PathContent::Gitlink(_))) => {
                return Ok(Err(no_file("a submodule stands there".to_owned())));
            }
            Ok(old) => old,
            Err(error) => return Ok(Err(no_file(said(&error)))),
        };
        let found = old.as_ref().and_then(FileContent::of);
        if found != file.old {
            let shown = |content: Option<FileContent>| {
                content.map_or_else(|| "nothing".to_owned(), |content| content.to_string())
            };
            let (path, found, wanted) = (path.clone(), shown(found), shown(file.old));
            return Ok(Err(NotDerived::OtherContent { path, found, wanted }));
        }
        if found == Some(file.new) {
            return Ok(Err(NotDerived::Nothing));
        }
        let new = PathContent::File { executable: file.new.executable, content: content(&file.new.content)? };
        if FileContent::of(&new) != Some(file.new) {
            return Err(PortError::failed(format!("the new content of {path} is not what the change names"))
                .kind(FailureKind::Integrity)
                .hint("nothing was changed; look with: lambda-os audit verify"));
        }
        edits.push(PathEdit { path: path.clone(), old, new });
    }
    let delta = Delta {
        v: DELTA_VERSION,
        workspace: workspace.to_owned(),
        pins: Vec::new(),
        edits: Vec::new(),
        files: files.to_vec(),
        document: None,
    };
    let change = match delta.id() {
        Ok(change) => change,
        Err(error) => return Ok(Err(error.into())),
    };
    let tree = superproject.tree_with(base, &edits)?;
    Ok(Ok(Derived { delta, change, edits, tree, pins: Vec::new(), notes: Vec::new() }))
}

/// An error with its causes, inert.
fn said(error: &PortError) -> String {
    let mut said = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    text::inert(&said)
}
