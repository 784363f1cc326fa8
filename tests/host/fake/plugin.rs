//! The text files that stand for plugins.

use std::path::{Path, PathBuf};

/// What a plugin file says.
#[derive(Debug, Clone, Default)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// What it needs.
    pub depends: Vec<String>,
    /// The protocol it was built for.
    pub protocol: Option<String>,
    /// How it behaves, in words.
    pub behaviour: Vec<String>,
    /// A file with a number that the test counts up.
    pub counter: Option<PathBuf>,
}

impl Plugin {
    /// Read one; `None` when it is none.
    pub fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let mut lines = text.lines();
        let first = lines.next()?.trim();
        if let Some(product) = first.strip_prefix("product ") {
            // What a sample workspace's modules build.
            return Some(Self { name: product.to_owned(), ..Self::default() });
        }
        if first != "fake plugin" {
            return None;
        }
        let mut plugin = Self::default();
        for line in lines {
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.trim().to_owned();
            match key.trim() {
                "name" => plugin.name = value,
                "depends" => plugin.depends = value.split(',').map(|name| name.trim().to_owned()).collect(),
                "protocol" => plugin.protocol = Some(value),
                "behaviour" => plugin.behaviour = value.split_whitespace().map(str::to_owned).collect(),
                "counter" => plugin.counter = Some(value.into()),
                _ => {}
            }
        }
        Some(plugin)
    }

    /// Where a module is in directories of modules.
    pub fn find(name: &str, dirs: &[String]) -> Option<PathBuf> {
        let files = [format!("{name}_plugin.so"), format!("{name}_plugin.dylib"), format!("{name}.so")];
        dirs.iter()
            .flat_map(|dir| [Path::new(dir).join(name), PathBuf::from(dir)])
            .flat_map(|dir| files.each_ref().map(|file| dir.join(file)))
            .find(|file| file.is_file())
    }

    /// As `lm` shows it.
    pub fn to_json(&self) -> String {
        let depends: Vec<String> = self.depends.iter().map(|name| format!("\"{name}\"")).collect();
        let protocol = self
            .protocol
            .as_ref()
            .map_or_else(String::new, |protocol| format!(",\"logos_protocol_version\":\"{protocol}\""));
        format!(
            "{{\"name\":\"{}\",\"version\":\"1.0.0\",\"type\":\"core\",\"dependencies\":[{}]{protocol}}}",
            self.name,
            depends.join(",")
        )
    }
}
