//! What every test here needs: a sandbox of either kind, an untrusted program, and something
//! outside that must not be touched.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use lambda_os::adapters::sandbox::{Confined, Layers, Limits, Look, Profile, Sandbox, Watch};
use tempfile::TempDir;

/// The program whose hidden verb is the keeper.
pub(crate) fn launcher() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lambda-os"))
}

/// The sandboxes that can be had here: with namespaces, and without. Says which one cannot.
pub(crate) fn sandboxes() -> &'static [(&'static str, Sandbox)] {
    static FOUND: OnceLock<Vec<(&'static str, Sandbox)>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut found = Vec::new();
        for (name, layers) in [("namespaces", Layers::Best), ("inner walls", Layers::InnerAlone)] {
            let sandbox = Sandbox::probe_for(layers, launcher(), None);
            let outer = sandbox.report().layers.first().map(String::as_str);
            match sandbox.fingerprint() {
                Err(why) => eprintln!("skipped with {name}: {why}"),
                Ok(_) if layers == Layers::Best && outer != Some("bubblewrap") => {
                    eprintln!("skipped with {name}: {:?}", sandbox.report().missing);
                }
                Ok(_) => found.push((name, sandbox)),
            }
        }
        found
    })
}

/// The untrusted program, compiled once: `hostile ATTACK ARGUMENTS…`.
pub(crate) fn hostile() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/hostile.c");
        let directory =
            tempfile::Builder::new().prefix("lambda-os-hostile-").tempdir().expect("a directory").keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("opened");
        let program = directory.join("hostile");
        let made =
            Command::new("cc").arg("-O1").arg("-pthread").arg("-o").arg(&program).arg(&source).output();
        let made = made.expect("a C compiler is there, as Rust needs one to link");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        program
    })
}

/// A place outside, with things in it that no program may touch.
pub(crate) struct Outside {
    pub(crate) temp: TempDir,
}

impl Outside {
    pub(crate) fn new() -> Self {
        let temp = tempfile::Builder::new().prefix("lambda-os-outside-").tempdir().expect("a directory");
        // Open to all, as `/home` of a machine with one user may be: not rights keep it, walls do.
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o777)).expect("opened");
        for (name, mode) in [("canary", 0o666), ("key", 0o644)] {
            let file = temp.path().join(name);
            fs::write(&file, "SECRET-ALIVE").expect("written");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("opened");
        }
        let module = temp.path().join("module");
        fs::create_dir(&module).expect("made");
        fs::write(module.join("file"), "of the module").expect("written");
        Self { temp }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.temp.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Panics unless everything is as it was made.
    pub(crate) fn untouched(&self) {
        let mut names: Vec<String> = fs::read_dir(self.temp.path())
            .expect("there")
            .map(|entry| entry.expect("there").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        assert_eq!(names, ["canary", "key", "module"], "something was made or removed outside");
        for (name, mode) in [("canary", 0o666), ("key", 0o644)] {
            let file = self.temp.path().join(name);
            assert_eq!(fs::read(&file).expect("there"), b"SECRET-ALIVE", "{name} was written");
            assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o7777, mode, "{name}");
        }
        assert_eq!(fs::read(self.temp.path().join("module/file")).expect("there"), b"of the module");
        assert_eq!(fs::read_dir(self.temp.path().join("module")).expect("there").count(), 1);
    }
}

/// Small bounds, so that every attack meets one soon.
pub(crate) fn limits() -> Limits {
    Limits {
        deadline: Duration::from_secs(20),
        memory_bytes: 256 << 20,
        processes: 64,
        cpu: Duration::from_secs(10),
        file_bytes: 64 << 20,
        tmp_bytes: 32 << 20,
        tmp_files: 2000,
        output_bytes: 4 << 20,
        open_files: 64,
    }
}

/// Run an attack in a sandbox, with what belongs to every attack checked afterwards: nothing
/// outside is touched, no process is left.
pub(crate) fn attack(sandbox: &Sandbox, limits: Limits, outside: &Outside, words: &[&str]) -> Confined {
    attack_watched(sandbox, limits, outside, words, &mut |_| Watch::GoOn)
}

pub(crate) fn attack_watched(
    sandbox: &Sandbox,
    limits: Limits,
    outside: &Outside,
    words: &[&str],
    watch: &mut dyn FnMut(&Look<'_>) -> Watch,
) -> Confined {
    let marker = marker();
    let profile = Profile::new(limits).read(outside.path("module")).env("MARKER", &marker);
    let argv: Vec<OsString> =
        std::iter::once(hostile().into()).chain(words.iter().map(OsString::from)).collect();
    let confined = sandbox.run(&profile, &argv, b"", watch);
    outside.untouched();
    assert_eq!(left(&marker), [] as [String; 0], "processes are left");
    confined
}

/// A text that no other process has in its environment.
pub(crate) fn marker() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("sandbox-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Processes whose environment holds a marker.
pub(crate) fn left(marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Ok(environ) = fs::read(entry.path().join("environ")) else { continue };
        if environ.windows(marker.len()).any(|window| window == marker.as_bytes()) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    found
}

/// What it wrote to its standard output.
pub(crate) fn said(confined: &Confined) -> String {
    String::from_utf8_lossy(&confined.stdout.bytes).into_owned()
}
