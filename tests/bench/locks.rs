//! A lock like that of a large workspace: `github:` inputs with everything that Nix records of
//! them, overrides and `follows` on most, and the suffixes (`nixpkgs_61`) that repeated names get.

use std::fmt::Write as _;

use lambda_os::domain::flake::lock::Lock;

/// The names that workspaces repeat at every level.
const NAMES: [&str; 8] = [
    "logos-liblogos",
    "logos-cpp-sdk",
    "logos-module-builder",
    "logos-package-manager-module",
    "logos-capability-module",
    "nix-bundle-dir",
    "nix-bundle-lgx",
    "logos-design-system",
];

/// A flake and its lock.
pub(crate) struct Made {
    pub(crate) flake_nix: String,
    /// As Nix writes it.
    pub(crate) lock: String,
    pub(crate) nodes: usize,
}

struct Growing {
    nodes: Vec<String>,
    most: usize,
    state: u64,
}

impl Growing {
    fn word(&mut self, digits: usize) -> String {
        let mut word = String::new();
        while word.len() < digits {
            self.state =
                self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let _ = write!(word, "{:016x}", self.state ^ (self.state >> 29));
        }
        word.truncate(digits);
        word
    }

    /// A node; gives its name in the file, which means nothing.
    fn node(&mut self, owner: &str, repo: &str, inputs: &[String]) -> String {
        let (hash, rev, key) = (self.word(43), self.word(40), format!("node{}", self.nodes.len()));
        let inputs = if inputs.is_empty() {
            String::new()
        } else {
            format!("\"inputs\": {{{}}}, ", inputs.join(", "))
        };
        self.nodes.push(format!(
            "\"{key}\": {{{inputs}\"locked\": {{\"lastModified\": 17{}, \"narHash\": \"sha256-{hash}=\", \"owner\": \"{owner}\", \
             \"repo\": \"{repo}\", \"rev\": \"{rev}\", \"type\": \"github\"}}, \
             \"original\": {{\"owner\": \"{owner}\", \"repo\": \"{repo}\", \"type\": \"github\"}}}}",
            60_000_000 + self.nodes.len()
        ));
        key
    }

    /// A module's dependency and what it brings, down to a depth.
    fn below(&mut self, module: &str, name: &str, depth: usize) -> String {
        let mut inputs = Vec::new();
        for (name, path) in [
            ("logos-nix", &["logos-nix"][..]),
            ("nixpkgs", &["logos-nix", "nixpkgs"]),
            ("process-stats", &["logos-nix", "process-stats"]),
        ] {
            let path: Vec<String> = [module].iter().chain(path).map(|name| format!("\"{name}\"")).collect();
            inputs.push(format!("\"{name}\": [{}]", path.join(", ")));
        }
        if depth < 3 {
            for at in 0..4 {
                if self.nodes.len() < self.most {
                    let name = NAMES[(depth * 3 + at * 2 + name.len()) % NAMES.len()];
                    let key = self.below(module, name, depth + 1);
                    inputs.push(format!("\"{name}\": \"{key}\""));
                }
            }
        }
        inputs.sort();
        inputs.dedup_by_key(|input| input.split(':').next().map(str::to_owned));
        self.node("logos-co", name, &inputs)
    }

    fn module(&mut self, name: &str, overridden: bool) -> String {
        let nixpkgs = self.node("NixOS", "nixpkgs", &[]);
        let stats = self.node("logos-co", "process-stats", &[]);
        let nix = [format!("\"nixpkgs\": \"{nixpkgs}\""), format!("\"process-stats\": \"{stats}\"")];
        let nix = self.node("logos-co", "logos-nix", &nix);
        let mut inputs = vec![format!("\"logos-nix\": \"{nix}\"")];
        if overridden {
            inputs.push("\"nixpkgs\": [\"nixpkgs\"]".to_owned());
        }
        for dependency in NAMES {
            if self.nodes.len() < self.most {
                let key = self.below(name, dependency, 1);
                inputs.push(format!("\"{dependency}\": \"{key}\""));
            }
        }
        self.node("logos-co", name, &inputs)
    }

    fn finish(mut self, flake_nix: String, root: &[String]) -> Made {
        self.nodes.push(format!("\"root\": {{\"inputs\": {{{}}}}}", root.join(", ")));
        let file =
            format!("{{\"nodes\": {{{}}}, \"root\": \"root\", \"version\": 7}}", self.nodes.join(", "));
        let lock = Lock::parse(file.as_bytes()).expect("it is well formed").to_json();
        let nodes = Lock::parse(lock.as_bytes()).expect("it is a lock").nodes().count();
        Made { flake_nix, lock, nodes }
    }
}

/// A workspace's: `nixpkgs`, and as many modules as make so many nodes.
pub(crate) fn workspace(most: usize) -> Made {
    let mut all = Growing { nodes: Vec::new(), most: most - 1, state: 7 };
    let nixpkgs = all.node("NixOS", "nixpkgs", &[]);
    let mut root = vec![format!("\"nixpkgs\": \"{nixpkgs}\"")];
    let mut flake_nix = "{\ninputs.nixpkgs.url = \"github:NixOS/nixpkgs\";\n".to_owned();
    while all.nodes.len() < all.most {
        let name = format!("logos-module-{}", root.len() - 1);
        let _ = write!(
            flake_nix,
            "inputs.{name} = {{\n  url = \"github:logos-co/{name}\";\n  inputs.nixpkgs.follows = \"nixpkgs\";\n}};\n"
        );
        let key = all.module(&name, true);
        root.push(format!("\"{name}\": \"{key}\""));
    }
    flake_nix.push_str("outputs = _: { };\n}\n");
    all.finish(flake_nix, &root)
}

/// A module's own flake and lock, of so many nodes.
pub(crate) fn module(most: usize) -> Made {
    let mut all = Growing { nodes: Vec::new(), most: most - 1, state: 11 };
    let mut root = vec![];
    let mut flake_nix = "{\n".to_owned();
    for name in ["nixpkgs", "logos-nix"].into_iter().chain(NAMES) {
        let owner = if name == "nixpkgs" { "NixOS" } else { "logos-co" };
        let _ = writeln!(flake_nix, "inputs.{name}.url = \"github:{owner}/{name}\";");
        let key = if name == "nixpkgs" || all.nodes.len() >= all.most {
            all.node(owner, name, &[])
        } else {
            all.module(name, false)
        };
        root.push(format!("\"{name}\": \"{key}\""));
    }
    flake_nix.push_str("outputs = _: { };\n}\n");
    all.finish(flake_nix, &root)
}
