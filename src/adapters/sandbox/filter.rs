//! seccomp: which system calls a program may make. A list of what is refused, because the programs
//! are not ours to know: everything that reaches other processes, the kernel's own parts, mounts,
//! namespaces, keys and terminals; without namespaces also the network, other programs' sockets,
//! shared memory and the attributes of files, which Landlock does not hold.
//!
//! Put around one thread, and so around everything that this thread starts.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

/// Refused wherever it runs.
const REFUSED: &[i64] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // The kernel's own parts.
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_fanotify_init,
    libc::SYS_open_by_handle_at,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Keys.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Memory that belongs to no process, so that nobody can count whose it is.
    libc::SYS_shmget,
    libc::SYS_memfd_secret,
    // What follows is x86-64's alone.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
];

/// Said not to exist, so that programs do without: their arguments are out of a filter's sight
/// (`clone3`, `openat2`), or what they do is (`io_uring`), or what they hold is nobody's (`memfd`).
const ABSENT: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_openat2,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_memfd_create,
];

/// Refused where no namespace keeps it in: what other programs share, and what Landlock lets pass
/// (attributes of files, even of those that may only be read).
const REFUSED_ALONE: &[i64] = &[
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
];

/// Flags of `clone` that make a namespace.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Where a mode for a new or changed file stands in the arguments: setuid and setgid are refused.
const MODES: &[(i64, u8)] = &[
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (libc::SYS_fchmodat2, 2),
    (libc::SYS_openat, 3),
    (libc::SYS_mknodat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, 1),
];

/// What the filter depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walls {
    /// No namespaces.
    pub(super) alone: bool,
    /// Connecting to sockets by path is allowed.
    pub(super) connect: bool,
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Put the calling thread behind the filter.
pub(super) fn apply(walls: Walls) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| format!("the system call filter cannot be set up: {error}");
    let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(|error| said(&error))?;
    let refused = rules(walls).map_err(|error| said(&error))?;
    let absent: Rules = ABSENT.iter().map(|call| (*call, Vec::new())).collect();
    for (rules, errno) in [(refused, libc::EPERM), (absent, libc::ENOSYS)] {
        let action = SeccompAction::Errno(errno.unsigned_abs());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch)
            .and_then(BpfProgram::try_from)
            .map_err(|error| said(&error))?;
        apply_filter(&filter).map_err(|error| said(&error))?;
    }
    #[cfg(target_arch = "x86_64")]
    apply_filter(&other_numbers()).map_err(|error| said(&error))?;
    Ok(())
}

/// x86-64 kernels may know every call by a second number (x32), which the lists do not name.
#[cfg(target_arch = "x86_64")]
fn other_numbers() -> BpfProgram {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| seccompiler::sock_filter {
        code: u16::try_from(code).expect("because codes of classic BPF have 16 bits"),
        jt,
        jf,
        k,
    };
    vec![
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, 0x4000_0000),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// What is refused with "not permitted".
fn rules(walls: Walls) -> Result<Rules, seccompiler::BackendError> {
    let is = |argument, op, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value);
    let bits = |argument, mask: u64| is(argument, SeccompCmpOp::MaskedEq(mask), mask);
    let number = |value: i32| u64::from(value.unsigned_abs());
    let mut rules: Rules = BTreeMap::new();
    let mut when = |call: i64, conditions: Vec<SeccompCondition>| -> Result<(), seccompiler::BackendError> {
        rules.entry(call).or_default().push(SeccompRule::new(conditions)?);
        Ok(())
    };
    for (call, argument) in MODES {
        for bit in [0o4000, 0o2000] {
            when(*call, vec![bits(*argument, bit)?])?;
        }
    }
    for flag in NAMESPACES {
        when(libc::SYS_clone, vec![bits(0, number(flag))?])?;
    }
    // The upper half of the request is ignored by the kernel, so it is here (CVE-2019-10063).
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        when(libc::SYS_ioctl, vec![is(1, SeccompCmpOp::Eq, request)?])?;
    }
    let families: &[i32] = if walls.alone {
        &[libc::AF_UNIX]
    } else {
        &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]
    };
    let other: Result<Vec<_>, _> =
        families.iter().map(|family| is(0, SeccompCmpOp::Ne, number(*family))).collect();
    when(libc::SYS_socket, other?)?;
    if walls.alone {
        // Bounds of other processes of this user; 0 is the caller itself.
        when(libc::SYS_prlimit64, vec![is(0, SeccompCmpOp::Ne, 0)?])?;
        if !walls.connect {
            // A datagram can be sent to a path that stands in memory, where no filter looks.
            let kind = SeccompCmpOp::MaskedEq(0xf);
            when(libc::SYS_socket, vec![is(1, kind, number(libc::SOCK_DGRAM))?])?;
        }
    }
    let mut always: Vec<i64> = REFUSED.to_vec();
    if walls.alone {
        always.extend(REFUSED_ALONE);
        if !walls.connect {
            always.push(libc::SYS_connect);
        }
    }
    rules.extend(always.into_iter().map(|call| (call, Vec::new())));
    Ok(rules)
}
