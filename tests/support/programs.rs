//! The example programs that decide, built from `tests/programs`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A built example, `soak` or `two_teams`; nothing where Rust's `wasm32-unknown-unknown` is not
/// installed, which is said on stderr.
pub(crate) fn program(name: &str) -> Option<Vec<u8>> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let directory = BUILT.get_or_init(build).as_deref()?;
    Some(std::fs::read(directory.join(format!("{name}.wasm"))).expect("it was built"))
}

fn build() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", "wasm32-unknown-unknown"]);
    let libraries = output(&mut rustc)?;
    if !Path::new(String::from_utf8_lossy(&libraries).trim()).is_dir() {
        eprintln!("SKIPPED: example programs: rustup target add wasm32-unknown-unknown");
        return None;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--offline",
        "--target",
        "wasm32-unknown-unknown",
    ]);
    cargo.arg("--manifest-path").arg(root.join("tests/programs/Cargo.toml")).arg("--target-dir").arg(&target);
    // What is set for our own build is not for this one.
    for set in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(set);
    }
    let built = cargo.output().expect("cargo starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(target.join("wasm32-unknown-unknown/release"))
}

fn output(command: &mut Command) -> Option<Vec<u8>> {
    match command.output() {
        Ok(output) if output.status.success() => Some(output.stdout),
        _ => {
            eprintln!("SKIPPED: example programs: rustc says nothing about wasm32-unknown-unknown");
            None
        }
    }
}
