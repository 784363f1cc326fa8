//! Submodule names, paths and branches that can do no harm, on any file system.
//!
//! A name becomes a directory below `.git/modules`, a path one in the work tree. What the
//! checks keep out: CVE-2018-11235 (`../` in a name), CVE-2018-17456 (leading `-`),
//! CVE-2019-1352/1353 and CVE-2014-9390 (`.git` in the spellings of NTFS and HFS+),
//! CVE-2024-32002 (case clashes, links), CVE-2025-48384 (trailing CR).

/// Why a submodule's name is refused, as the end of "its name …".
pub(super) fn check_name(name: &[u8]) -> Result<&str, &'static str> {
    check_components(name)?;
    std::str::from_utf8(name).map_err(|_| "is not UTF-8")
}

/// Why a submodule's path is refused, as the end of "its path …".
pub(super) fn check_path(path: &[u8]) -> Result<(), &'static str> {
    check_components(path)
}

fn check_components(text: &[u8]) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() > 4096 {
        return Err("is longer than 4096 bytes");
    }
    if text.iter().any(u8::is_ascii_control) {
        return Err("holds control bytes or line ends");
    }
    if text.starts_with(b"-") {
        return Err("begins with \"-\", which programs take for an option");
    }
    if text.starts_with(b"/") || text.starts_with(b"\\") || has_drive(text) {
        return Err("is absolute");
    }
    for component in text.split(|byte| matches!(byte, b'/' | b'\\')) {
        match component {
            b"" => return Err("has an empty component"),
            b"." | b".." => return Err("has a \".\" or \"..\" component"),
            _ if is_dot_git(component) => return Err("has a component that is .git on some file system"),
            _ => {}
        }
    }
    Ok(())
}

/// `C:` and the like.
fn has_drive(text: &[u8]) -> bool {
    matches!(text, [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// True for `.git` as any file system may read it: letter case, NTFS short names, trailing
/// dots and spaces, stream names, and the code points that HFS+ ignores.
pub(super) fn is_dot_git(component: &[u8]) -> bool {
    let visible: Vec<u8> = match std::str::from_utf8(component) {
        Ok(text) => text.chars().filter(|c| !hfs_ignores(*c)).collect::<String>().into_bytes(),
        Err(_) => component.to_vec(),
    };
    let stem = visible.split(|byte| *byte == b':').next().unwrap_or_default();
    let end = stem.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map_or(0, |last| last + 1);
    let stem = stem[..end].to_ascii_lowercase();
    stem == b".git" || stem == b"git~1"
}

/// Source: git's `utf8.c: next_hfs_char`.
fn hfs_ignores(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// What a file system without case makes of a path: two paths with one fold clash.
pub(super) fn fold(path: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(path) {
        Ok(text) => {
            text.chars().filter(|c| !hfs_ignores(*c)).flat_map(char::to_lowercase).collect::<String>().into()
        }
        Err(_) => path.to_ascii_lowercase(),
    }
}

/// Every directory above a path, the nearest first.
pub(super) fn directories_above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at])
}

/// A branch name that git accepts (git-check-ref-format(1)) and that no program takes for
/// an option.
pub(super) fn check_branch(branch: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(branch).ok()?;
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c) || c == '\u{7f}';
    let valid = !name.is_empty()
        && name.len() <= 255
        && name != "@"
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains(forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && name.split('/').all(|part| {
            !part.is_empty() && !part.starts_with('.') && !part.to_ascii_lowercase().ends_with(".lock")
        });
    valid.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_and_paths_are_refused_each_for_its_reason() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "empty"),
            (b"../x", ".."),
            (b"a/../../x", ".."),
            (b"a\\..\\x", ".."),
            (b"./x", "."),
            (b"a//b", "empty component"),
            (b"a/", "empty component"),
            (b"/etc", "absolute"),
            (b"\\\\srv\\x", "absolute"),
            (b"C:x", "absolute"),
            (b"-u./evil", "option"),
            (b"x\r", "control"),
            (b"x\n", "control"),
            (b"x\x1b[2J", "control"),
            (b"x\0", "control"),
            (b".git", ".git"),
            (b".GIT/hooks", ".git"),
            (b"a/.Git", ".git"),
            (b"git~1", ".git"),
            (b"a/GIT~1/x", ".git"),
            (b".git. .", ".git"),
            (b".git::$INDEX_ALLOCATION", ".git"),
            (".g\u{200c}it".as_bytes(), ".git"),
            (".git\u{feff}/x".as_bytes(), ".git"),
        ];
        for (text, wanted) in cases {
            let reason = check_path(text).expect_err(&String::from_utf8_lossy(text));
            assert!(reason.contains(wanted), "{reason} for {}", String::from_utf8_lossy(text));
            assert!(check_name(text).is_err());
        }
    }

    #[test]
    fn ordinary_and_odd_but_harmless_ones_are_accepted() {
        for text in
            [&b"repos/x"[..], b"a b", b".github/x", b"git", b"\xff\xfe", "ж/ü".as_bytes(), b"a-b", b"..."]
        {
            assert_eq!(check_path(text), Ok(()), "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(check_name(b"\xff"), Err("is not UTF-8"));
    }

    #[test]
    fn branches_follow_check_ref_format() {
        for good in ["main", "release/1.x", "feat#1", "ü"] {
            assert_eq!(check_branch(good.as_bytes()), Some(good));
        }
        for bad in [
            "", "-x", "a..b", "a b", "a~", "a^", "a:b", "a?", "a*", "a[", "a\\", "/a", "a/", "a//b", ".a",
            "a/.b", "a.lock", "a.lock/b", "a.", "@", "a@{b", "a\nb",
        ] {
            assert_eq!(check_branch(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
