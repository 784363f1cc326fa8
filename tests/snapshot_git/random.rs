//! Random edit sequences: after every step our answer and git's must be equal.
//!
//! `LAMBDA_OS_RANDOM_CASES` sets how many steps (default 150), `LAMBDA_OS_RANDOM_SEED` the seed.

use super::world::World;

/// `SplitMix64`: the same seed gives the same sequence everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let at = self.roll(from.len() as u64);
        from[usize::try_from(at).unwrap_or(0)]
    }
}

const NAMES: &[&str] = &[
    "a",
    "b.txt",
    "d",
    "d/c",
    "d/e/f",
    "d.x",
    "d/e",
    "new",
    "n/e/w",
    "x.o",
    "keep.o",
    "ü",
    "d/.gitignore",
    "m/x",
    "m/u",
    "deep/n/x",
];
const CONTENTS: &[&str] = &["one\n", "two\n", "one\r\n", "a longer line\n", "", "*.o\n!keep.o\n", "e/\n"];
const PLACES: &[&str] = &["w", "w", "w", "w/m", "w/deep/n"];

fn number(key: &str, default: u64) -> u64 {
    std::env::var(key).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// One edit; what cannot be done at the moment is no edit.
fn edit(world: &World, dice: &mut Dice) -> String {
    let name = dice.pick(NAMES);
    let path = world.path("w").join(name);
    let place = dice.pick(PLACES);
    match dice.roll(20) {
        0..=5 => {
            let content = dice.pick(CONTENTS);
            if let Some(parent) = path.parent() {
                let _ = std::fs::create_dir_all(parent);
            }
            let _ = std::fs::write(&path, content);
            format!("write {name} {content:?}")
        }
        6 => {
            let _ = std::fs::remove_file(&path);
            format!("remove {name}")
        }
        7 => {
            let _ = std::fs::remove_dir_all(&path);
            format!("remove tree {name}")
        }
        8 => {
            let _ = std::fs::remove_file(&path);
            let _ = std::os::unix::fs::symlink(dice.pick(&["a", "d", "no/such/place"]), &path);
            format!("link {name}")
        }
        9 => {
            use std::os::unix::fs::PermissionsExt;
            let mode = if dice.roll(2) == 0 { 0o755 } else { 0o644 };
            if path.is_file() {
                let _ = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
            }
            format!("chmod {mode:o} {name}")
        }
        10 => {
            let file = dice.pick(&[".gitignore", ".gitattributes", ".git/info/exclude"]);
            let rules =
                dice.pick(&["*.o\n", "d/\n", "!a\n", "* text=auto\n", "*.txt text eol=crlf\n", "/n\n", ""]);
            let _ = std::fs::write(world.path("w").join(file), rules);
            format!("rules {file} {rules:?}")
        }
        11 | 12 => git(world, place, &["add", "-A", "--ignore-errors"]),
        13 => git(world, "w", &["add", "-f", name]),
        14 => git(world, "w", &["rm", "-r", "-q", "--cached", "--ignore-unmatch", name]),
        15 => git(world, place, &["commit", "-q", "-a", "-m", "step"]),
        16 => git(world, "w", &["add", "-N", name]),
        17 => git(world, place, &["reset", "-q", dice.pick(&["--soft", "--mixed", "--hard"])]),
        18 => {
            if let Ok(file) = std::fs::File::options().append(true).open(&path) {
                let _ = file.set_modified(std::time::SystemTime::UNIX_EPOCH);
            }
            format!("touch {name}")
        }
        _ => match dice.roll(4) {
            0 => git(world, "w", &["submodule", "--quiet", "update", "--init", "--force", "--recursive"]),
            1 => git(world, "w", &["submodule", "--quiet", "deinit", "-f", dice.pick(&["m", "deep/n"])]),
            2 => git(world, "w", &["init", "-q", dice.pick(&["nested", "d/nested"])]),
            _ => git(world, "w", &["stash", "-q"]),
        },
    }
}

fn git(world: &World, dir: &str, args: &[&str]) -> String {
    // A place without a repository of its own would mean the one above it.
    if world.path(dir).join(".git").exists() {
        world.try_git(dir, args);
    }
    format!("git -C {dir} {args:?}")
}

#[test]
fn random_edits_are_seen_as_git_sees_them() {
    let mut left = number("LAMBDA_OS_RANDOM_CASES", 150);
    let mut seed = number("LAMBDA_OS_RANDOM_SEED", 1);
    while left > 0 {
        let world = World::with_submodules();
        let mut dice = Dice(seed);
        let mut history = format!("seed {seed}");
        for _ in 0..left.min(60) {
            history.push('\n');
            history.push_str(&edit(&world, &mut dice));
            if world.try_git("w", &["--no-optional-locks", "status", "--porcelain"]).status.success() {
                world.assert_same_after("w", &history);
            }
            left -= 1;
        }
        seed += 1;
    }
}
