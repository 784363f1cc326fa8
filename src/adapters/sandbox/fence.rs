//! Landlock: which files a program may touch, whatever its user may. Put around one thread, and
//! so around everything that this thread starts.

use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, LandlockStatus, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};

/// The newest version whose rights are handled; what an older kernel lacks is left out.
const NEWEST: ABI = ABI::V9;

/// The version from which signals and abstract sockets are kept in.
pub(super) const SCOPES: i32 = 6;

/// The version from which sockets by path are kept in.
pub(super) const SOCKETS: i32 = 9;

/// Files of `/dev` that programs write to.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Terminals: in a `/dev` of its own they are the sandbox's, in ours they are people's.
const TERMINALS: [&str; 3] = ["/dev/tty", "/dev/ptmx", "/dev/pts"];

/// Put the calling thread behind the fence, and give the version of Landlock that holds it; 0 when
/// the kernel has none.
pub(super) fn raise(read: &[PathBuf], write: &[PathBuf], alone: bool) -> Result<i32, String> {
    let said = |error: &dyn std::fmt::Display| format!("Landlock cannot be set up: {error}");
    let reading = AccessFs::from_read(NEWEST);
    let device: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate | IoctlDev});
    // Device nodes cannot be made without privileges anyway; here they are refused to root too.
    let writing = AccessFs::from_all(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let terminals: &[&str] = if alone { &[] } else { &TERMINALS };
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|ruleset| ruleset.scope(Scope::AbstractUnixSocket | Scope::Signal))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(read, reading)))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(write, writing)))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(DEVICES, device)))
        .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(terminals, device)))
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|error| said(&error))?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } if status.ruleset != RulesetStatus::NotEnforced => {
            effective_abi as i32
        }
        _ => 0,
    })
}
