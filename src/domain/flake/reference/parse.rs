//! The text form of a flake reference, and what Nix demands of its attributes.
//!
//! Source: `libflake/flakeref.cc` and the `inputFromURL` and `inputFromAttrs` of
//! `libfetchers/{git,github,path,indirect,mercurial,tarball}.cc`, as Nix 2.34 has them.

use std::collections::{BTreeMap, BTreeSet};

use super::uri::{Authority, Bad, Uri, fragment, query, scheme_of, text};
use super::{Attr, Attrs, SharedStr, is_flake_id};

/// Why something is no reference.
enum Trouble {
    /// Nix then tries the text as a path.
    NoUrl(String),
    /// Nix stops.
    Refused(String),
}

impl From<Bad> for Trouble {
    fn from(why: Bad) -> Self {
        Self::NoUrl(why.to_owned())
    }
}

fn refused(why: impl Into<String>) -> Trouble {
    Trouble::Refused(why.into())
}

/// The attributes of a reference as `url` in `flake.nix` has it. `is_flake` is false for
/// `flake = false`, where an address without an archive's name is a file.
pub(super) fn reference(whole: &str, is_flake: bool) -> Result<Attrs, String> {
    if whole.chars().any(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    if let Some((id, rest)) = flake_id(whole) {
        if !rest.is_empty() {
            return Err("has a fragment".to_owned());
        }
        return indirect(&id.split('/').map(str::to_owned).collect::<Vec<_>>()).map_err(
            |trouble| match trouble {
                Trouble::NoUrl(why) | Trouble::Refused(why) => why,
            },
        );
    }
    match Uri::parse(whole).map_err(Trouble::from).and_then(|uri| from_uri(uri, is_flake)) {
        Ok((attrs, rest)) if rest.is_empty() => Ok(attrs),
        Ok(_) => Err("has a fragment".to_owned()),
        Err(Trouble::Refused(why)) => Err(why),
        // Nix takes a broken URL for a relative path of that name, which is then not there.
        Err(Trouble::NoUrl(why)) if scheme_of(whole).is_some() => Err(why),
        Err(Trouble::NoUrl(_)) => bare_path(whole),
    }
}

/// `id`, `id/ref`, `id/rev` or `id/ref/rev`, and the fragment.
fn flake_id(whole: &str) -> Option<(&str, Vec<u8>)> {
    let (place, rest) = whole.split_once('#').unwrap_or((whole, ""));
    let (id, name) = match place.split_once('/') {
        Some((id, name)) => (id, Some(name)),
        None => (place, None),
    };
    let of_ref = |byte: u8| byte.is_ascii_alphanumeric() || b"_./@+-".contains(&byte);
    let named = name.is_none_or(|name| {
        name.bytes().all(of_ref) && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '@')
    });
    (is_flake_id(id) && named).then(|| fragment(rest.as_bytes()).ok()).flatten().map(|rest| (place, rest))
}

fn from_uri(mut uri: Uri, is_flake: bool) -> Result<(Attrs, Vec<u8>), Trouble> {
    let dir = uri.query.remove("dir").unwrap_or_default();
    let rest = std::mem::take(&mut uri.fragment);
    let mut attrs = scheme(uri, is_flake)?;
    if !dir.is_empty() {
        attrs.insert("dir".to_owned(), Attr::Str(text(&dir)?.into()));
    }
    Ok((attrs, rest))
}

/// The first fetcher that takes the URL, in the order in which Nix asks them.
fn scheme(uri: Uri, is_flake: bool) -> Result<Attrs, Trouble> {
    let archive = uri.path.last().is_some_and(|name| is_archive(name));
    let (application, transport) = uri.schemes();
    let by_curl = matches!(transport, "file" | "http" | "https");
    match (application, uri.scheme.as_str()) {
        (Some("file"), _) if by_curl => Ok(curl("file", uri)?),
        (None, _) if by_curl && !is_flake && !archive => Ok(curl("file", uri)?),
        (Some("git"), _) | (_, "git") => git(uri),
        (_, "github" | "gitlab" | "sourcehut") => forge(&uri),
        (_, "hg+http" | "hg+https" | "hg+ssh" | "hg+file") => mercurial(uri),
        (_, "flake") => indirect(&uri.segments()?),
        (_, "path") => {
            if uri.authority.as_ref().is_some_and(|authority| !authority.is_local()) {
                return Err(refused("is a path with a host"));
            }
            path(&joined(&uri.path)?, &uri)
        }
        (Some("tarball") | None, _) if by_curl => Ok(curl("tarball", uri)?),
        (Some("file"), "file+git") => Err(refused("has the scheme \"file+git\"; did you mean \"git+file\"?")),
        _ => Err(refused("has a scheme that Nix does not know")),
    }
}

fn string(attrs: &mut Attrs, name: &str, value: impl Into<String>) {
    attrs.insert(name, Attr::Str(SharedStr::from(value.into())));
}

fn of_type(kind: &str) -> Attrs {
    Attrs::from([(SharedStr::fixed("type"), Attr::Str(kind.into()))])
}

/// Nix's `hasTarballExtension`.
fn is_archive(name: &[u8]) -> bool {
    [".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst"]
        .iter()
        .any(|end| name.ends_with(end.as_bytes()))
}

/// `tarball` and `file`.
fn curl(kind: &str, mut uri: Uri) -> Result<Attrs, Bad> {
    let mut attrs = of_type(kind);
    for name in ["narHash", "rev"] {
        if let Some(value) = uri.query.get(name) {
            string(&mut attrs, name, text(value)?);
        }
    }
    for name in ["revCount", "lastModified"] {
        if let Some(number) = uri.query.get(name).and_then(|value| number(value)) {
            attrs.insert(name.to_owned(), Attr::Int(number));
        }
    }
    for name in ["url", "narHash", "name", "unpack", "rev", "revCount", "lastModified"] {
        uri.query.remove(name);
    }
    uri.scheme = uri.schemes().1.to_owned();
    string(&mut attrs, "url", uri.show());
    Ok(attrs)
}

/// As `string2Int<uint64_t>`: digits alone.
fn number(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

const VERIFIED: [&str; 4] = ["verifyCommit", "keytype", "publicKey", "publicKeys"];
const FLAGS: [&str; 5] = ["shallow", "submodules", "lfs", "exportIgnore", "allRefs"];

fn git(mut uri: Uri) -> Result<Attrs, Trouble> {
    let mut attrs = of_type("git");
    for (name, value) in std::mem::take(&mut uri.query) {
        if name == "rev" || name == "ref" || VERIFIED.contains(&name.as_str()) {
            string(&mut attrs, &name, text(&value)?);
        } else if FLAGS.contains(&name.as_str()) {
            attrs.insert(name, Attr::Bool(value == b"1"));
        } else {
            uri.query.insert(name, value);
        }
    }
    string(&mut attrs, "url", uri.show());
    checked_git(attrs)
}

fn checked_git(mut attrs: Attrs) -> Result<Attrs, Trouble> {
    if let Some(name) = attrs.keys().find(|name| VERIFIED.contains(&name.as_str())) {
        return Err(refused(format!("has {name}, which needs the experimental feature verified-fetches")));
    }
    if text_of(&attrs, "ref")?.is_some_and(|name| !is_ref_name(name)) {
        return Err(Trouble::NoUrl("has an invalid branch or tag name".to_owned()));
    }
    let url = text_of(&attrs, "url")?.ok_or_else(|| refused("lacks the attribute \"url\""))?;
    let url = git_url(url)?;
    for flag in ["shallow", "submodules", "allRefs"] {
        if attrs.get(flag).is_some_and(|value| !matches!(value, Attr::Bool(_))) {
            return Err(refused(format!("has the attribute \"{flag}\", which is not a Boolean")));
        }
    }
    string(&mut attrs, "url", url);
    Ok(attrs)
}

/// `fixGitURL`: git's `user@host:path`, a path, or a URL, always written as a URL.
fn git_url(url: &str) -> Result<String, Trouble> {
    let scp = url.rmatch_indices('@').find(|(at, _)| !url[..*at].contains('/') && url[*at..].contains(':'));
    let rewritten = scp.and_then(|(at, _)| {
        let (host, path) = url[at + 1..].rsplit_once(':')?;
        Some(format!("ssh://{}@{host}/{path}", &url[..at]))
    });
    let url = rewritten.as_deref().unwrap_or(url);
    let scheme = scheme_of(url).map(|scheme| scheme.strip_prefix("git+").unwrap_or(scheme));
    if !url.contains("://") && scheme != Some("file") {
        if url.contains(':') {
            return Err(Trouble::NoUrl(
                "is in a form of git's that needs a user: write ssh://host/path".to_owned(),
            ));
        }
        let path = url.split('/').map(|part| part.as_bytes().to_vec()).collect();
        let authority = url.starts_with('/').then(Authority::local);
        let (scheme, query, fragment) = ("file".to_owned(), BTreeMap::new(), Vec::new());
        return Ok(Uri { scheme, authority, path, query, fragment }.show());
    }
    let mut uri = Uri::parse(url)?;
    if let (Some("git"), transport) = uri.schemes() {
        uri.scheme = transport.to_owned();
    }
    Ok(uri.show())
}

fn mercurial(mut uri: Uri) -> Result<Attrs, Trouble> {
    let mut attrs = of_type("hg");
    uri.scheme.drain(..3);
    for (name, value) in std::mem::take(&mut uri.query) {
        if name == "rev" || name == "ref" {
            string(&mut attrs, &name, text(&value)?);
        } else {
            uri.query.insert(name, value);
        }
    }
    string(&mut attrs, "url", uri.show());
    checked_mercurial(attrs)
}

fn checked_mercurial(attrs: Attrs) -> Result<Attrs, Trouble> {
    let url = text_of(&attrs, "url")?.ok_or_else(|| refused("lacks the attribute \"url\""))?;
    Uri::parse(url)?;
    let valid = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '@')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./@+-".contains(&byte))
    };
    if text_of(&attrs, "ref")?.is_some_and(|name| !valid(name)) {
        return Err(Trouble::NoUrl("has an invalid branch or tag name".to_owned()));
    }
    Ok(attrs)
}

/// `owner/repo[/ref-or-rev]`.
fn forge(uri: &Uri) -> Result<Attrs, Trouble> {
    let segments = uri.segments()?;
    let [owner, repo, more @ ..] = segments.as_slice() else {
        return Err(Trouble::NoUrl("names no owner and repository".to_owned()));
    };
    let mut attrs = of_type(&uri.scheme);
    string(&mut attrs, "owner", owner);
    string(&mut attrs, "repo", repo);
    match more {
        [] => {}
        [rev] if is_sha1(rev) => string(&mut attrs, "rev", rev),
        more => string(&mut attrs, "ref", more.join("/")),
    }
    for (name, value) in &uri.query {
        let several = match name.as_str() {
            "rev" => "has several revisions",
            "ref" => "has several branch or tag names",
            "host" | "narHash" => "",
            // Newer versions than 2.34 refuse what they do not know.
            _ => continue,
        };
        if !several.is_empty() && attrs.contains_key(name) {
            return Err(Trouble::NoUrl(several.to_owned()));
        }
        string(&mut attrs, name, text(value)?);
    }
    checked_forge(attrs)
}

fn checked_forge(attrs: Attrs) -> Result<Attrs, Trouble> {
    for name in ["owner", "repo"] {
        text_of(&attrs, name)?.ok_or_else(|| refused(format!("lacks the attribute \"{name}\"")))?;
    }
    let (name, rev) = (text_of(&attrs, "ref")?, text_of(&attrs, "rev")?);
    let no_url = |why: &str| Err(Trouble::NoUrl(why.to_owned()));
    if name.is_some() && rev.is_some() {
        return no_url("has both a revision and a branch or tag name");
    }
    if rev.is_some_and(|rev| !is_any_sha1(rev)) {
        return Err(refused("has a revision that is not a full commit hash"));
    }
    if name.is_some_and(|name| !is_ref_name(name)) {
        return no_url("has neither a commit hash nor a branch or tag name after the repository");
    }
    let of_host = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if text_of(&attrs, "host")?.is_some_and(|host| !host.chars().all(of_host)) {
        return no_url("has a host that is none");
    }
    Ok(attrs)
}

fn indirect(parts: &[String]) -> Result<Attrs, Trouble> {
    let mut attrs = of_type("indirect");
    let no_url = |why: &str| Err(Trouble::NoUrl(why.to_owned()));
    let neither = "has neither a commit hash nor a branch or tag name after the identifier";
    let id = match parts {
        [id] => id,
        [id, rev] if is_sha1(rev) => {
            string(&mut attrs, "rev", rev.to_ascii_lowercase());
            id
        }
        [id, name] if is_ref_name(name) => {
            string(&mut attrs, "ref", name);
            id
        }
        [id, name, rev] if is_ref_name(name) && is_sha1(rev) => {
            string(&mut attrs, "ref", name);
            string(&mut attrs, "rev", rev.to_ascii_lowercase());
            id
        }
        _ => return no_url(neither),
    };
    if !is_flake_id(id) {
        return no_url("has an identifier that the registry cannot have");
    }
    string(&mut attrs, "id", id);
    Ok(attrs)
}

/// A path as `std::filesystem` joins segments: no empty ones inside.
fn joined(segments: &[Vec<u8>]) -> Result<String, Trouble> {
    let mut path = String::new();
    for (at, segment) in segments.iter().enumerate() {
        let segment = text(segment)?;
        if segment.contains(['/', '\0']) {
            return Err(Trouble::NoUrl("has an encoded slash or NUL in its path".to_owned()));
        }
        if at == 0 && segment.is_empty() {
            path.push('/');
            continue;
        }
        if !path.is_empty() && !path.ends_with('/') {
            path.push('/');
        }
        path.push_str(&segment);
    }
    Ok(path)
}

fn path(place: &str, uri: &Uri) -> Result<Attrs, Trouble> {
    let mut attrs = of_type("path");
    string(&mut attrs, "path", place);
    for (name, value) in &uri.query {
        match name.as_str() {
            "rev" | "narHash" => string(&mut attrs, name, text(value)?),
            "revCount" | "lastModified" => {
                let number = number(value).ok_or_else(|| refused(format!("has an invalid \"{name}\"")))?;
                attrs.insert(name.clone(), Attr::Int(number));
            }
            _ => return Err(refused("is a path with a parameter that paths do not have")),
        }
    }
    Ok(attrs)
}

/// What is neither an identifier nor a URL.
fn bare_path(whole: &str) -> Result<Attrs, String> {
    let (place, rest) = whole.split_once('#').unwrap_or((whole, ""));
    if !rest.is_empty() {
        return Err("has a fragment".to_owned());
    }
    let (place, parameters) = place.split_once('?').unwrap_or((place, ""));
    let mut segments: Vec<Vec<u8>> = place.split('/').map(|part| part.as_bytes().to_vec()).collect();
    if place.starts_with('/') {
        segments.retain(|part| !part.is_empty());
        segments.insert(0, Vec::new());
        if place.ends_with('/') {
            segments.push(Vec::new());
        }
    }
    let uri = Uri {
        scheme: "path".to_owned(),
        authority: None,
        path: segments,
        query: query(parameters.as_bytes())?,
        fragment: Vec::new(),
    };
    from_uri(uri, true).map(|(attrs, _)| attrs).map_err(|trouble| match trouble {
        Trouble::NoUrl(why) | Trouble::Refused(why) => why,
    })
}

fn text_of<'a>(attrs: &'a Attrs, name: &str) -> Result<Option<&'a str>, Trouble> {
    match attrs.get(name) {
        None => Ok(None),
        Some(Attr::Str(text)) => Ok(Some(text)),
        Some(_) => Err(refused(format!("has the attribute \"{name}\", which is not a string"))),
    }
}

/// What a fetcher demands of its attributes, beside their names.
type Checker = fn(Attrs) -> Result<Attrs, Trouble>;

/// Attributes as `flake.nix` may have them instead of a URL (`FlakeRef::fromAttrs`): what the
/// fetcher of their `type` demands. Those of an unknown type are kept, as Nix does (2.34 crashes when it then fetches one).
pub(super) fn attributes(mut attrs: Attrs) -> Result<Attrs, String> {
    let checked = (|| {
        let kind = text_of(&attrs, "type")?.unwrap_or_default().to_owned();
        let known: (&[&str], Checker) = match kind.as_str() {
            "github" | "gitlab" | "sourcehut" => (
                &["owner", "repo", "ref", "rev", "narHash", "lastModified", "host", "treeHash"],
                checked_forge,
            ),
            "git" => (
                &[
                    "url",
                    "ref",
                    "rev",
                    "shallow",
                    "submodules",
                    "lfs",
                    "exportIgnore",
                    "lastModified",
                    "revCount",
                    "narHash",
                    "allRefs",
                    "name",
                    "dirtyRev",
                    "dirtyShortRev",
                    "verifyCommit",
                    "keytype",
                    "publicKey",
                    "publicKeys",
                ],
                checked_git,
            ),
            "hg" => (&["url", "ref", "rev", "revCount", "narHash", "name"], checked_mercurial),
            "path" => (&["path", "rev", "revCount", "lastModified", "narHash"], |attrs| {
                text_of(&attrs, "path")?.ok_or_else(|| refused("lacks the attribute \"path\""))?;
                Ok(attrs)
            }),
            "indirect" => (&["id", "ref", "rev", "narHash"], |attrs| {
                let id = text_of(&attrs, "id")?.ok_or_else(|| refused("lacks the attribute \"id\""))?;
                if is_flake_id(id) {
                    Ok(attrs)
                } else {
                    Err("has an identifier that the registry cannot have".into())
                }
            }),
            "tarball" | "file" => {
                (&["url", "narHash", "name", "unpack", "rev", "revCount", "lastModified"], Ok)
            }
            _ => (&[], Ok),
        };
        let is_known = !known.0.is_empty();
        let allowed: BTreeSet<&str> = known.0.iter().copied().chain(["type", "__final"]).collect();
        let dir = text_of(&attrs, "dir")?.map(str::to_owned);
        attrs.remove("dir");
        if is_known && let Some(name) = attrs.keys().find(|name| !allowed.contains(name.as_str())) {
            let shown = crate::domain::text::quoted(name);
            return Err(refused(format!("has the attribute {shown}, which the type {kind} does not have")));
        }
        text_of(&attrs, "ref")?;
        for name in ["revCount", "lastModified"] {
            if attrs.get(name).is_some_and(|value| !matches!(value, Attr::Int(_))) {
                return Err(refused(format!("has the attribute \"{name}\", which is not a number")));
            }
        }
        let mut checked = known.1(attrs.clone())?;
        if let Some(dir) = dir.filter(|dir| !dir.is_empty()) {
            string(&mut checked, "dir", dir);
        }
        Ok(checked)
    })();
    checked.map_err(|trouble| match trouble {
        Trouble::NoUrl(why) | Trouble::Refused(why) => why,
    })
}

/// Nix's `revRegex`.
fn is_sha1(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A SHA-1 in any form that Nix reads: base 16, its own base 32, base 64, with or without prefix.
fn is_any_sha1(text: &str) -> bool {
    if let Some(sri) = text.strip_prefix("sha1-") {
        return is_base64(sri);
    }
    let bare = text.strip_prefix("sha1:").unwrap_or(text);
    match bare.len() {
        40 => is_sha1(bare),
        32 => bare.bytes().all(|byte| b"0123456789abcdfghijklmnpqrsvwxyz".contains(&byte)),
        28 => is_base64(bare),
        _ => false,
    }
}

fn is_base64(text: &str) -> bool {
    data_encoding::BASE64.decode(text.as_bytes()).is_ok_and(|raw| raw.len() == 20)
}

/// Nix's `isLegalRefName`: what libgit2 takes as the name of a branch, a tag or a reference.
#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "git's rule is about exactly these bytes"
)]
fn is_ref_name(text: &str) -> bool {
    !text.is_empty()
        && text != "@"
        && !text.starts_with(['/', '.'])
        && (text.contains('/') || !text.starts_with('-'))
        && !text.ends_with(['/', '.'])
        && ["..", "//", "@{", "/."].iter().all(|bad| !text.contains(bad))
        && !text.split('/').any(|part| part.ends_with(".lock"))
        && !text.bytes().any(|byte| byte.is_ascii_control() || b" ~^:?*[\\".contains(&byte))
}
