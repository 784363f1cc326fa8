//! `.gitmodules` as values: bytes in, one [`Section`] for each submodule name out.
//!
//! git's own rules for the syntax (by `gix-config`), and two of ours: includes are not
//! followed, whatever they say, and a key that is given twice with different values makes
//! its section ambiguous, where git would take the last.

use std::collections::BTreeMap;

/// The largest file that is read. A thousand modules need 0.2 MB.
const MAX_BYTES: usize = 4 << 20;

/// What one submodule's sections say together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Section {
    pub(super) path: Option<Vec<u8>>,
    pub(super) url: Option<Vec<u8>>,
    pub(super) branch: Option<Vec<u8>>,
    pub(super) update: Option<Vec<u8>>,
    /// A key that has two different values.
    pub(super) ambiguous: Option<&'static str>,
}

/// Every `[submodule "name"]` by name (bytes), or why the file cannot be read.
pub(super) fn parse(bytes: &[u8]) -> Result<BTreeMap<Vec<u8>, Section>, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!(".gitmodules is larger than {MAX_BYTES} bytes"));
    }
    if bytes.contains(&0) {
        return Err(".gitmodules holds a NUL byte".to_owned());
    }
    let file = gix_config::File::from_bytes_no_includes(
        bytes,
        gix_config::file::Metadata::api(),
        gix_config::file::init::Options { lossy: true, ..Default::default() },
    )
    .map_err(|_| ".gitmodules is not in git's configuration syntax".to_owned())?;
    let mut sections: BTreeMap<Vec<u8>, Section> = BTreeMap::new();
    for part in file.sections() {
        let header = part.header();
        let name: &[u8] = header.name();
        let Some(submodule) = header.subsection_name().filter(|_| name.eq_ignore_ascii_case(b"submodule"))
        else {
            continue;
        };
        let section = sections.entry(submodule.to_vec()).or_default();
        let body = part.body();
        for (key, place) in [
            ("path", &mut section.path),
            ("url", &mut section.url),
            ("branch", &mut section.branch),
            ("update", &mut section.update),
        ] {
            for value in body.values(key) {
                let value: Vec<u8> = value.into();
                if place.as_ref().is_some_and(|known| *known != value) {
                    section.ambiguous = section.ambiguous.or(Some(key));
                }
                *place = Some(value);
            }
        }
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Section {
        let sections = parse(text.as_bytes()).expect("it parses");
        assert_eq!(sections.len(), 1, "{sections:?}");
        sections.into_values().next().expect("one section")
    }

    #[test]
    fn values_are_read_as_git_reads_them() {
        let section = one("# c\n[submodule \"a b\"]\n\tpath = \"x \\\" y\" ; c\n\tURL=https://h/p\\\nq\n");
        assert_eq!(section.path.as_deref(), Some(&b"x \" y"[..]));
        assert_eq!(section.url.as_deref(), Some(&b"https://h/pq"[..]));
        assert_eq!(section.ambiguous, None);
    }

    #[test]
    fn sections_of_one_name_are_one_and_contradictions_are_said() {
        let section = one("[submodule \"a\"]\npath = x\n[submodule \"a\"]\nurl = u\npath = x\n");
        assert_eq!((section.ambiguous, section.url.as_deref()), (None, Some(&b"u"[..])));
        assert_eq!(one("[submodule \"a\"]\npath = x\npath = y\n").ambiguous, Some("path"));
    }

    #[test]
    fn a_key_without_value_takes_no_other_keys_value() {
        let section = one("[submodule \"a\"]\npath\nurl = u\n");
        assert_eq!(section.path.as_deref(), Some(&b""[..]));
    }

    #[test]
    fn includes_are_not_followed_and_broken_files_are_said() {
        let text = "[include]\npath = /etc/passwd\n[submodule \"a\"]\npath = x\n";
        assert_eq!(one(text).path.as_deref(), Some(&b"x"[..]));
        for broken in ["[submodule \"a\"\npath=x", "[submodule \"a\"]\npath = \"x", "[a]\nb=\0"] {
            assert!(parse(broken.as_bytes()).is_err(), "{broken:?}");
        }
    }
}
