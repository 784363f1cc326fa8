//! What happens to the workspace beside lambda-os: upstreams move, machines sleep, people work.

use std::collections::BTreeMap;

use lambda_os::domain::change::PathContent;
use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::flake::relock::{Request, Update, relock};
use lambda_os::domain::id::{ObjectId, RepoPath};

use super::fault::locked;
use super::git::{Git, Lock as IndexLock, Tree};
use super::health::Trouble;
use super::machine::Machine;
use super::random::Random;
use super::upstream::{Flakes, Nature};

const README: &str = "README.md";

/// Something happens, or nothing; said in a few words.
pub(crate) fn change(machine: &Machine, random: &mut Random) -> String {
    if random.chance(35)
        && let Some(said) = ends(machine)
    {
        return said;
    }
    match random.below(100) {
        0..30 => upstream(machine, random),
        30..34 => rewind(machine, random),
        34..39 => {
            let mut upstreams = locked(&machine.upstreams);
            let count = upstreams.len();
            let upstream = &mut upstreams[random.below(count)];
            upstream.reachable = !upstream.reachable;
            format!("{} answers: {}", upstream.name, upstream.reachable)
        }
        39..60 => time(machine, random),
        60..63 => {
            let all = [Trouble::HostFails, Trouble::HostHangs, Trouble::NoBuilder, Trouble::Nothing];
            let trouble = all[random.below(4)];
            locked(&machine.bench).trouble = Some(trouble);
            format!("the machine is in trouble: {trouble:?}")
        }
        63 => {
            locked(&machine.bench).version += 1;
            "programs are renewed".to_owned()
        }
        _ => by_hand(&mut locked(&machine.git), machine, random),
    }
}

/// What people began they end, or put back.
fn ends(machine: &Machine) -> Option<String> {
    if let Some(upstream) = locked(&machine.upstreams).iter_mut().find(|upstream| !upstream.reachable) {
        upstream.reachable = true;
        return Some(format!("{} answers again", upstream.name));
    }
    if let Some(trouble) = locked(&machine.bench).trouble.take() {
        return Some(format!("the machine is well again: {trouble:?}"));
    }
    let mut git = locked(&machine.git);
    if git.lock == Some(IndexLock::Foreign) {
        git.lock = None;
        return Some("the other git ends".to_owned());
    }
    if git.merging {
        git.merging = false;
        return Some("the merge ends".to_owned());
    }
    if git.detached.is_some() {
        git.detached = None;
        return Some("HEAD names the branch again".to_owned());
    }
    if git.lock.is_none() && git.differs("flake.lock", "flake.nix") {
        tidy(&mut git);
        return Some("changes of the flake are put back".to_owned());
    }
    None
}

fn upstream(machine: &Machine, random: &mut Random) -> String {
    let mut upstreams = locked(&machine.upstreams);
    let count = upstreams.len();
    let number = random.below(count);
    let levels: Vec<u32> = upstreams.iter().map(|upstream| upstream.revisions[&upstream.tip].level).collect();
    let mut inputs = upstreams[number].revisions[&upstreams[number].tip].inputs.clone();
    if random.chance(15) && number > 0 {
        let other = random.below(number);
        match inputs.iter().position(|input| *input == other) {
            Some(at) => drop(inputs.remove(at)),
            None => inputs.push(other),
        }
    }
    let nature = match random.below(20) {
        0..10 => Nature::Good,
        10 => Nature::Silent,
        11 | 12 => Nature::Broken,
        13 => Nature::Fails,
        14 => Nature::Hangs,
        15 | 16 => Nature::Flaky,
        17 => Nature::Obscure,
        _ => Nature::Needs(inputs.first().map_or(0, |input| levels[*input])),
    };
    let words_alone = random.chance(10);
    let upstream = &mut upstreams[number];
    let id = upstream.push(nature, words_alone, inputs);
    format!("{} has {} ({:?})", upstream.name, id.short(), upstream.revisions[&id].nature)
}

fn rewind(machine: &Machine, random: &mut Random) -> String {
    let mut upstreams = locked(&machine.upstreams);
    let count = upstreams.len();
    let upstream = &mut upstreams[random.below(count)];
    let Some(parent) = upstream.revisions[&upstream.tip].parent else { return "nothing".to_owned() };
    upstream.tip = parent;
    if random.chance(70) {
        let inputs = upstream.revisions[&parent].inputs.clone();
        upstream.push(Nature::Good, false, inputs);
    }
    format!("{} is rewritten to {}", upstream.name, upstream.tip.short())
}

fn time(machine: &Machine, random: &mut Random) -> String {
    let mut time = locked(&machine.time);
    let minutes = [1, 5, 20, 60, 600, 1_500, 5_000][random.below(7)];
    let passed = minutes * 60_000;
    time.mono_ms += passed;
    let wall = i64::try_from(passed).expect("because it is a few days");
    time.wall_ms += if random.chance(6) { -wall } else { wall };
    if random.chance(5) {
        time.boot += 1;
        time.mono_ms = 1_000;
    }
    format!("{minutes} minutes pass, wall {}", time.wall_ms)
}

/// What people do with git.
fn by_hand(git: &mut Git, machine: &Machine, random: &mut Random) -> String {
    if let Some(lock) = git.lock {
        // Whoever holds the lock ends; a lock of a dead landing is sometimes removed by hand.
        let frees = match lock {
            IndexLock::Foreign => random.chance(60),
            IndexLock::Ours(_) => random.chance(8),
        };
        if frees {
            git.lock = None;
            return format!("the lock {lock:?} is gone");
        }
        return "git says that the index is locked".to_owned();
    }
    let said = match random.below(20) {
        0 => {
            git.lock = Some(IndexLock::Foreign);
            "another git holds the index"
        }
        1..4 => {
            let number = random.next();
            git.work.insert(README.into(), format!("edited {number}\n").into_bytes());
            "README.md is edited"
        }
        4 => {
            let number = random.next();
            git.work.insert("notes.txt".into(), format!("noted {number}\n").into_bytes());
            "notes.txt is edited"
        }
        5..8 => return commit(git, random),
        8 => {
            let path = RepoPath::from(if random.chance(50) { "flake.lock" } else { "flake.nix" });
            let mut content = git.work.get(&path).cloned().unwrap_or_default();
            content.push(b'\n');
            git.work.insert(path, content);
            "the flake is edited"
        }
        9 | 10 => {
            tidy(git);
            "changes of the flake are put back"
        }
        11 | 12 => {
            let paths: Vec<RepoPath> = git.checkouts.keys().cloned().collect();
            if let Some(path) = random.pick(&paths)
                && let Some(checkout) = git.checkouts.get_mut(path)
            {
                checkout.dirty = !checkout.dirty;
            }
            "someone works in a submodule"
        }
        13 => return check_out(git, machine, random),
        14 => {
            git.merging = !git.merging;
            "a merge begins or ends"
        }
        15 => {
            git.detached = if git.detached.is_some() { None } else { Some(git.main) };
            "HEAD is detached, or not any more"
        }
        16 => {
            let parent = git.commits[&git.main].parent;
            let Some(parent) = parent.filter(|_| git.detached.is_none()) else { return "nothing".to_owned() };
            git.main = parent;
            git.by_hand += 1;
            git.reset(parent);
            "the branch is reset to the commit before"
        }
        17 => {
            let content = git.work.get(&RepoPath::from(README)).cloned().unwrap_or_default();
            git.index.insert(README.into(), PathContent::File { executable: false, content });
            "README.md is staged"
        }
        _ => return move_pin(git, machine, random),
    };
    said.to_owned()
}

/// `git commit -a`, of everything or of one file.
fn commit(git: &mut Git, random: &mut Random) -> String {
    if git.detached.is_some() || git.merging {
        return "nothing".to_owned();
    }
    let mut tree = git.index.clone();
    for (path, content) in &mut tree {
        if let PathContent::File { content, .. } = content
            && let Some(work) = git.work.get(path)
        {
            work.clone_into(content);
        }
    }
    git.index = tree.clone();
    let message = format!("by hand {}\n", random.next());
    git.main = git.commit(Some(git.main), tree, message.as_bytes());
    git.by_hand += 1;
    format!("the operator commits {}", git.main.short())
}

/// A pin is moved by hand and committed: with the lock, as a careful person does, or its gitlink alone.
fn move_pin(git: &mut Git, machine: &Machine, random: &mut Random) -> String {
    if git.detached.is_some() || git.merging || git.differs("flake.lock", "flake.nix") {
        return "nothing".to_owned();
    }
    let (name, to) = {
        let upstreams = locked(&machine.upstreams);
        let upstream = &upstreams[random.below(upstreams.len())];
        let fetched: Vec<_> = upstream.mirror.iter().copied().collect();
        let newest = upstream.mirror_tip.filter(|_| random.chance(70));
        let Some(to) = newest.or_else(|| random.pick(&fetched).copied()) else { return "nothing".to_owned() };
        (upstream.name.clone(), to)
    };
    let path = RepoPath::from(format!("repos/{name}").as_str());
    let Some(head) = git.tree(git.main) else { return "nothing".to_owned() };
    let mut tree = head.as_ref().clone();
    tree.insert(path.clone(), PathContent::Gitlink(to));
    let careful = random.chance(65);
    if let Some(content) = careful.then(|| locked_by_hand(machine, &tree, &name, to)).flatten() {
        let lock = PathContent::File { executable: false, content: content.clone() };
        tree.insert("flake.lock".into(), lock.clone());
        git.index.insert("flake.lock".into(), lock);
        git.work.insert("flake.lock".into(), content);
    }
    git.index.insert(path.clone(), PathContent::Gitlink(to));
    if let Some(checkout) = git.checkouts.get_mut(&path).filter(|checkout| careful && !checkout.dirty) {
        checkout.head = to;
    }
    git.main = git.commit(Some(git.main), tree, format!("pin by hand {}\n", random.next()).as_bytes());
    git.by_hand += 1;
    format!("{name} is pinned to {} by hand, with the lock: {careful}", to.short())
}

/// The lock with one input moved; `None` where `flake.nix` names another revision.
fn locked_by_hand(machine: &Machine, tree: &Tree, name: &str, to: ObjectId) -> Option<Vec<u8>> {
    let file = |path: &str| match tree.get(&RepoPath::from(path)) {
        Some(PathContent::File { content, .. }) => Some(content.clone()),
        _ => None,
    };
    let (flake_nix, lock) = (file("flake.nix")?, Lock::parse(&file("flake.lock")?).ok()?);
    let updates = BTreeMap::from([(vec![name.to_owned()], Update::Revision(to.to_string()))]);
    let request =
        Request { flake_nix: &flake_nix, dir: "", lock: Some(&lock), updates: &updates, strict: false };
    let made = relock(request, &Flakes(&machine.upstreams)).ok()?;
    let is_there = made.lock.root_inputs().any(|(input, node)| {
        input == name && node.is_some_and(|node| made.lock.node(node).rev() == Some(&to.to_string()))
    });
    is_there.then(|| made.lock.to_json().into_bytes())
}

fn check_out(git: &mut Git, machine: &Machine, random: &mut Random) -> String {
    let upstreams = locked(&machine.upstreams);
    let upstream = &upstreams[random.below(upstreams.len())];
    let fetched: Vec<_> = upstream.mirror.iter().copied().collect();
    let path = RepoPath::from(format!("repos/{}", upstream.name).as_str());
    if let (Some(to), Some(checkout)) = (random.pick(&fetched), git.checkouts.get_mut(&path))
        && !checkout.dirty
    {
        checkout.head = *to;
    }
    format!("{} is checked out elsewhere", upstream.name)
}

/// The flake as HEAD has it.
pub(crate) fn tidy(git: &mut Git) {
    let head = git.tree(git.head()).cloned();
    for path in ["flake.nix", "flake.lock"] {
        let path = RepoPath::from(path);
        if let Some(PathContent::File { executable, content }) =
            head.as_ref().and_then(|tree| tree.get(&path))
        {
            git.work.insert(path.clone(), content.clone());
            git.index.insert(path, PathContent::File { executable: *executable, content: content.clone() });
        }
    }
}

/// Everything that disturbs ends: machines answer, nobody holds a lock, nothing is under way.
pub(crate) fn calm(machine: &Machine) {
    for upstream in locked(&machine.upstreams).iter_mut() {
        upstream.reachable = true;
    }
    locked(&machine.bench).trouble = None;
    let mut git = locked(&machine.git);
    if git.lock == Some(IndexLock::Foreign) {
        git.lock = None;
    }
    (git.detached, git.merging) = (None, false);
}
